// Command storage-manager makes this machine an NFS and SMB server.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pai-storage/pai-storage/internal/storagemanager"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(storagemanager.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
