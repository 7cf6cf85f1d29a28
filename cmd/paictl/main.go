// Command paictl manages storages, jobs and clusters; see its --help.
package main

import (
	"context"
	"os"

	"github.com/pai-storage/pai-storage/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
