package fileserver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// answering is a server that answers each call with the given words after the call's number.
func answering(t *testing.T, words ...uint32) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				call := make([]byte, 44)
				if _, err := io.ReadFull(conn, call); err != nil || words == nil {
					io.Copy(io.Discard, conn) // silent until the other side gives up
					return
				}
				reply := binary.BigEndian.AppendUint32(nil, 1<<31|uint32(4+4*len(words)))
				reply = append(reply, call[4:8]...)
				for _, w := range words {
					reply = binary.BigEndian.AppendUint32(reply, w)
				}
				conn.Write(reply)
			}()
		}
	}()
	return listener.Addr().String()
}

func TestReachNFS(t *testing.T) {
	ctx := t.Context()
	if err := fileserver.ReachNFS(ctx, answering(t, 1, 0, 0, 0, 0), 4); err != nil {
		t.Errorf("a server that answers: %v", err)
	}
	if err := fileserver.ReachNFS(ctx, answering(t, 1, 0, 0, 0, 2, 4, 4), 3); !errors.Is(err, fileserver.ErrVersion) {
		t.Errorf("a server of another version: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := fileserver.ReachNFS(short, answering(t), 4); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a server that says nothing: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	for name, err := range map[string]error{
		"nfs": fileserver.ReachNFS(ctx, listener.Addr().String(), 4), "tcp": fileserver.ReachTCP(ctx, listener.Addr().String()),
	} {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: nobody listens: %v", name, err)
		}
	}
	if err := fileserver.ReachTCP(ctx, answering(t)); err != nil {
		t.Error(err)
	}
}
