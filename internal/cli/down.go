package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/localcluster"
)

type downOptions struct {
	streams *Streams
	cluster clusterFlags
	purge   bool
}

func newDown(s *Streams) *cobra.Command {
	o := &downOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop a local cluster and everything that belongs to it",
		Long: `Stop a local cluster: its processes, virtual machines and network go. What it stored stays (users,
storages, jobs, files) and is there again after the next "paictl up"; --purge deletes that, too.

It also cleans up after an "up" that was killed.`,
		Example: `  paictl down
  paictl down --name second --purge`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDown(cmd.Context(), o, cmd) },
	}
	o.cluster.add(cmd)
	cmd.Flags().BoolVar(&o.purge, "purge", false, "delete what the cluster stored")
	return cmd
}

func runDown(ctx context.Context, o *downOptions, cmd *cobra.Command) error {
	cfg, err := o.cluster.config()
	if err != nil {
		return err
	}
	if err := localcluster.Down(ctx, cfg, o.purge); err != nil {
		return err
	}
	value := map[string]any{"name": cfg.Name, "stateDir": cfg.StateDir, "purged": o.purge}
	return printResult(o.streams, cmd, value, func() error {
		text := "is stopped; what it stored is kept in " + cfg.StateDir
		if o.purge {
			text = "is gone, with all that it stored"
		}
		_, err := fmt.Fprintf(o.streams.Out, "cluster %q %s\n", cfg.Name, text)
		return err
	})
}
