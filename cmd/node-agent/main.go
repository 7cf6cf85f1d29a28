// Command node-agent runs on each worker: it installs drivers, tells what the worker can mount, and checks that storages really mount.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pai-storage/pai-storage/internal/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(agent.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
