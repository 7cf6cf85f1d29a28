// Package mounter is the program pai-mount, which works in the machine's own namespaces: the kubelet calls it as FlexVolume driver, the node
// agent for its CSI driver and its checks, and people to see what object store mounts do.
//
// Use it from cmd/pai-mount alone. Its rules: what it is to do comes as JSON on standard input, so that a secret is in no command line but
// the kubelet's own call, which is replaced at once; it starts in milliseconds, so it has the standard library and little else.
//
// Example:
//
//	$ pai-mount list
//	alive  0 files to upload  images at /var/lib/kubelet/plugins/...
package mounter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/pai-storage/pai-storage/internal/flexvolume"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/plural"
)

const help = `Usage:
  pai-mount list [--output json]             mounts of object stores on this machine, and what they have not uploaded yet
  pai-mount run                              one operation, as JSON on standard input (for the node agent)
  pai-mount enter PROCESS PROGRAM [ARG...]   run a program in the namespaces of a process, such as /proc/1 (for the node agent)
  pai-mount flexvolume DRIVER ARG...         a call of the kubelet's

Exit status: 0, or 1 when it did not work, 2 when it was called wrongly.
`

// Main is the program.
func Main(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	engine := &mount.Engine{}
	switch {
	case len(args) == 1 && args[0] == "run":
		return exit(mount.Serve(ctx, engine, in, out), errs)
	case len(args) >= 3 && args[0] == "enter":
		return exit(mount.Enter(args[1], args[2], args[3:]), errs)
	case len(args) >= 2 && args[0] == "flexvolume":
		self, err := os.Executable()
		if err != nil {
			return exit(err, errs)
		}
		call, err := flexvolume.Conceal(self, args[:2], args[2:], in)
		if err != nil {
			return flexvolume.Refuse(err, out)
		}
		return flexvolume.Main(ctx, args[1], call, &mount.Host{Program: self}, out)
	case len(args) >= 1 && args[0] == "list":
		return exit(list(ctx, engine, args[1:], out), errs)
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h" || args[0] == "help"):
		fmt.Fprint(out, help)
		return 0
	}
	fmt.Fprint(errs, help)
	return 2
}

func exit(err error, errs io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "pai-mount:", err)
	return 1
}

func list(ctx context.Context, m mount.Mounter, args []string, out io.Writer) error {
	served, err := m.Served(ctx)
	if err != nil {
		return err
	}
	if len(args) == 2 && args[0] == "--output" && args[1] == "json" {
		if served == nil {
			served = []mount.Served{}
		}
		return json.NewEncoder(out).Encode(served)
	}
	if len(args) > 0 {
		return fmt.Errorf("unknown argument %q", args[0])
	}
	for _, s := range served {
		state := map[bool]string{true: "alive", false: "gone "}[s.Alive]
		if s.Lost {
			state = "lost "
		}
		fmt.Fprintf(out, "%s  %s to upload  %s at %s\n", state, plural.Of(s.Pending, "file"), s.Volume.Source, s.Target)
	}
	return nil
}
