// Command rest-server serves the REST API of PAI Storage.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pai-storage/pai-storage/internal/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(daemon.RestServer(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
