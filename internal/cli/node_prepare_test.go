package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/rollout"
)

// fakePreparer has one worker, and brings it what its commands bring.
type fakePreparer struct {
	before, after rollout.Preparation
	failure       error
	ran           int
}

func (f *fakePreparer) Preparation(_ context.Context, node string) (rollout.Preparation, error) {
	if node != f.before.Node {
		return rollout.Preparation{}, fmt.Errorf("%w in this cluster: %s", rollout.ErrNoNode, node)
	}
	return f.before, nil
}

func (f *fakePreparer) Prepare(_ context.Context, _ rollout.Preparation, out io.Writer) (rollout.Preparation, error) {
	f.ran++
	fmt.Fprintln(out, "Setting up nfs-common")
	return f.after, f.failure
}

// TestNodePrepare: what must not happen first, then what is printed, and the exit status.
func TestNodePrepare(t *testing.T) {
	worker := func(commands []string, lacks ...rollout.Lack) rollout.Preparation {
		return rollout.Preparation{Node: "worker1", OS: "Ubuntu 24.04\x1b[31m", Kernel: "6.8.0", Reported: time.Now().Add(-20*time.Hour - 30*time.Minute), Lacks: lacks, Commands: commands}
	}
	nfs := rollout.Lack{What: "mount.nfs", Types: []pai.StorageType{pai.StorageNFS}, Package: "nfs-common"}
	cifs := rollout.Lack{What: "kernel module cifs", Types: []pai.StorageType{pai.StorageSamba, pai.StorageAzureFile}, Advice: "boot another kernel"}
	lacking, ready := worker([]string{"apt-get update", "apt-get install nfs-common"}, nfs, cifs), worker(nil)
	const head = "node worker1 (Ubuntu 24.04?[31m, kernel 6.8.0), by what its agent said 20h ago"
	const plan = head + "\nLACKS               NEEDED FOR       BROUGHT BY\nmount.nfs           nfs              nfs-common\nkernel module cifs  samba,azureFile  boot another kernel\n" +
		"\nrun as root on worker1, or: paictl node prepare worker1 --apply\n  apt-get update\n  apt-get install nfs-common\n"
	const well = head + ": it has all that storages are mounted with\n"
	for _, c := range []struct {
		name      string
		args      []string
		services  fakePreparer
		status    int
		ran       int
		out, said string
	}{
		{name: "no such node", args: []string{"worker9"}, services: fakePreparer{before: lacking}, status: exitNotFound, said: "no such node"},
		{name: "nobody to ask", args: []string{"worker1", "--apply"}, services: fakePreparer{before: lacking}, status: exitUsage, said: "  apt-get install nfs-common\npaictl: no terminal to ask at: say --yes to go on"},
		{name: "yes to nothing", args: []string{"worker1", "--yes"}, services: fakePreparer{before: lacking}, status: exitUsage, said: "--apply"},
		{name: "no time", args: []string{"worker1", "--timeout", "-1s"}, services: fakePreparer{before: lacking}, status: exitUsage, said: "--timeout"},
		{name: "plan", args: []string{"worker1"}, services: fakePreparer{before: lacking}, out: plan},
		{name: "ready", args: []string{"worker1", "--apply"}, services: fakePreparer{before: ready}, out: well},
		{name: "applied", args: []string{"worker1", "--apply", "--yes"}, services: fakePreparer{before: lacking, after: ready}, ran: 1, out: well, said: "Setting up nfs-common\n"},
		{name: "not everything", args: []string{"worker1", "--apply", "--yes"}, services: fakePreparer{before: lacking, after: worker(nil, cifs)}, status: exitFailed, ran: 1,
			out: head + "\nLACKS               NEEDED FOR       BROUGHT BY\nkernel module cifs  samba,azureFile  boot another kernel\n"},
		{name: "failed", args: []string{"worker1", "--apply", "--yes"}, services: fakePreparer{before: lacking, failure: errors.New("prepare worker1: exit status 100")}, status: exitFailed, ran: 1, said: "exit status 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, said strings.Builder
			streams := &Streams{In: strings.NewReader(""), Out: &out, Err: &said}
			o := &nodePrepareOptions{streams: streams, connect: func() (preparer, func(), error) { return &c.services, func() {}, nil }}
			root := &cobra.Command{Use: "paictl", SilenceErrors: true, SilenceUsage: true}
			root.AddCommand(o.command())
			root.SetArgs(append([]string{"prepare"}, c.args...))
			status := streams.end(root, "table", root.ExecuteContext(t.Context()))
			if status != c.status || c.services.ran != c.ran || out.String() != c.out || !strings.Contains(said.String(), c.said) {
				t.Errorf("got %d, ran %d times\n%s\n%s\nwant %d, %d\n%s\n%s", status, c.services.ran, out.String(), said.String(), c.status, c.ran, c.out, c.said)
			}
		})
	}
}
