// Command task-init makes the personal folders of a task before it starts. It is the program of a container that the REST server puts
// before tasks which mount personal storages.
package main

import (
	"os"

	"github.com/pai-storage/pai-storage/internal/taskinit"
)

func main() { os.Exit(taskinit.Main(os.Args[1:], os.Stdout, os.Stderr)) }
