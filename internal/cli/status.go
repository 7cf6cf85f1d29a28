package cli

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/localcluster"
)

type statusOptions struct {
	streams *Streams
	cluster clusterFlags
}

func newStatus(s *Streams) *cobra.Command {
	o := &statusOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show a local cluster: addresses, workers, processes",
		Long: `Show a local cluster. Exit status: 0 when it is ready, 1 when it is not, 4 when there is none of
that name.`,
		Example: `  paictl status
  paictl status --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStatus(cmd.Context(), o, cmd) },
	}
	o.cluster.add(cmd)
	return cmd
}

func runStatus(ctx context.Context, o *statusOptions, cmd *cobra.Command) error {
	cfg, err := o.cluster.config()
	if err != nil {
		return err
	}
	status, err := localcluster.GetStatus(ctx, cfg)
	if err != nil {
		return err
	}
	if err := printStatus(o.streams, cmd, status); err != nil {
		return err
	}
	if !status.Ready {
		return errSilent
	}
	return nil
}

// shellLine is what to type to have paictl and kubectl in a shell, for this cluster.
func shellLine(status localcluster.Status) string {
	program := "paictl"
	if self, err := os.Executable(); err == nil {
		program = word(self)
	}
	flags := ""
	if status.Name != localcluster.DefaultName {
		flags = " --name " + word(status.Name)
	}
	if cfg, err := (&clusterFlags{name: status.Name}).config(); err != nil || cfg.StateDir != status.StateDir {
		flags += " --state-dir " + word(status.StateDir)
	}
	return fmt.Sprintf(`eval "$(%s env%s)"`, program, flags)
}

func printStatus(s *Streams, cmd *cobra.Command, status localcluster.Status) error {
	return printResult(s, cmd, status, func() error {
		w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
		state := "ready"
		if !status.Ready {
			state = "not ready: " + status.Reason
		}
		fmt.Fprintf(w, "cluster %s\t%s\n", status.Name, state)
		fmt.Fprintf(w, "REST API and portal\t%s\n", status.API)
		fmt.Fprintf(w, "administrator\t%s, password in %s\n", status.AdminUser, status.AdminPasswordFile)
		fmt.Fprintf(w, "Kubernetes\t%s --kubeconfig %s\n", status.Kubectl, status.Kubeconfig)
		fmt.Fprintf(w, "your shell\t%s\n", shellLine(status))
		for _, worker := range status.Workers {
			state := "Ready"
			if !worker.Ready {
				state = "not ready: " + worker.Reason
			}
			if worker.Storage {
				state += ", NFS server"
			}
			fmt.Fprintf(w, "%s\t%s, %s\n", worker.Name, worker.Address, state)
		}
		for _, p := range status.Processes {
			if !p.Ready || p.Restarts > 0 {
				fmt.Fprintf(w, "%s\tprocess %d, ready: %t, restarts: %d %s\n", p.Name, p.PID, p.Ready, p.Restarts, p.LastExit)
			}
		}
		return w.Flush()
	})
}
