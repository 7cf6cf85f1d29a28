// pai-mount mounts volumes on the machine that it runs on: as FlexVolume driver, and for the node agent.
package main

import (
	"context"
	"os"

	"github.com/pai-storage/pai-storage/internal/mounter"
)

func main() {
	os.Exit(mounter.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
