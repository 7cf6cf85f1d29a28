package storagemanager

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// Main is the program: "storage-manager" serves until ctx ends, "storage-manager status" asks the one that serves on this machine.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "status" {
		return askStatus(ctx, stdout, stderr)
	}
	if len(args) > 0 && args[0] == "make-home" {
		if err := fileserver.MakeHome(ctx, args[1:]); err != nil {
			fmt.Fprintln(stderr, "storage-manager:", err)
			return 1
		}
		return 0
	}
	o := options{log: slog.New(slog.NewJSONHandler(stderr, nil))}
	f := flag.NewFlagSet("storage-manager", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.config, "config", "/etc/pai-storage/storage-manager/storage-manager.yaml", "`file` with the section storage-manager of the cluster's configuration, without its passwords")
	f.StringVar(&o.passwords, "passwords", "/etc/pai-storage/passwords", "`directory` with one file for each password, named after its key")
	f.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "`name` of this node")
	f.StringVar(&o.run, "run", "/run/pai-storage", "`directory` for what is gone with the container")
	f.BoolVar(&o.alone, "no-cluster", false, "serve without a Kubernetes: whom the configuration names, and the shared account")
	f.DurationVar(&o.memberEvery, "check-domain-every", memberEvery, "how often to ask whether this machine is still in its domain")
	f.StringVar(&o.memory, "memory", "/var/lib/pai-storage", "`directory` for what this machine remembers of its disks")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig `file`; none when running in a pod")
	f.StringVar(&o.local, "local", "127.0.0.1:9187", "`address` for this machine's probes and status")
	f.StringVar(&o.metrics, "metrics", ":9188", "`address` of /metrics")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "storage-manager: unknown argument %q\n", f.Arg(0))
		return 2
	}
	if err := o.serve(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errAnew) {
		o.log.Error("storage-manager ends", "cause", err.Error())
		lastWords(err)
		return 1
	}
	return 0
}

type options struct {
	alone       bool
	memberEvery time.Duration

	config, passwords, node, run, memory, kubeconfig, local, metrics string
	log                                                              *slog.Logger
}

func (o options) serve(ctx context.Context) error {
	settings, err := o.read()
	if err != nil {
		return err
	}
	err = layout{settings.LocalPath}.recognise(o.memory)
	var noRoom noRoomError
	if full := errors.As(err, &noRoom); err != nil && !full {
		return err
	} else if full { // users have to get at their files to make room
		o.log.Warn("the directory is served all the same, and to remember it is tried again every minute", "error", err.Error())
	}
	m := &manager{layout: layout{settings.LocalPath}, run: o.run, etc: "/etc", node: o.node, log: o.log, settings: settings, changed: make(chan struct{}, 1), memberEvery: o.memberEvery, heard: make(chan struct{})}
	if err := m.prepare(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.serve(ctx) })
	group.Go(func() error { return o.follow(ctx, m) })
	if noRoom.err != nil {
		group.Go(func() error {
			again := time.NewTicker(time.Minute)
			defer again.Stop()
			return m.layout.recogniseLater(ctx, o.memory, o.log, again.C)
		})
	}
	if o.alone {
		m.hearOnce.Do(func() { close(m.heard) })
	} else {
		group.Go(func() error { return o.followCluster(ctx, m) })
	}
	group.Go(func() error { return serveHTTP(ctx, o.local, m.handler()) })
	group.Go(func() error { return serveHTTP(ctx, o.metrics, m.metricsHandler()) })
	return group.Wait()
}

// lastWords leaves the cause where the kubelet looks for it, so that the pod's status says it. Outside a pod there is no such file.
func lastWords(cause error) {
	file, err := os.OpenFile("/dev/termination-log", os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = io.WriteString(file, cause.Error()) // the log has it as well
}

func serveHTTP(ctx context.Context, address string, h http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}

// askStatus prints what the storage manager of this machine says of itself, as JSON.
func askStatus(ctx context.Context, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9187/status", nil)
	if err == nil {
		var answer *http.Response
		if answer, err = http.DefaultClient.Do(request); err == nil {
			defer answer.Body.Close()
			_, err = io.Copy(stdout, answer.Body)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "storage-manager: it does not answer here:", err)
		return 1
	}
	return 0
}
