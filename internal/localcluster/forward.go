package localcluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// forward hands every connection of a listener, which belongs to the machine's own network, to an
// address inside the cluster's, until ctx ends.
func forward(ctx context.Context, from net.Listener, to string) error {
	stop := context.AfterFunc(ctx, func() { from.Close() })
	defer stop()
	for {
		conn, err := from.Accept()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			slog.Warn("accept", "to", to, "error", err)
			time.Sleep(50 * time.Millisecond) // out of file descriptors, mostly
			continue
		}
		go pipe(ctx, conn, to)
	}
}

func pipe(ctx context.Context, client net.Conn, to string) {
	defer client.Close()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	server, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		slog.Warn("forward", "to", to, "error", err)
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { copyThenClose(server, client) })
	both.Go(func() { copyThenClose(client, server) })
	both.Wait()
}

// copyThenClose passes the end of one direction on, and leaves the other one open: kubectl exec
// closes its input long before its output ends.
func copyThenClose(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
