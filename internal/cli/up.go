package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/localcluster"
	"github.com/pai-storage/pai-storage/internal/term"
)

// clusterFlags name the local cluster that a command is about.
type clusterFlags struct {
	name, stateDir string
}

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "name", localcluster.DefaultName, "name of the cluster; clusters of different names live side by side")
	cmd.Flags().StringVar(&f.stateDir, "state-dir", "", "directory of the cluster's state (default: $PAI_STATE_DIR/NAME, else ~/.local/state/pai-storage/NAME)")
}

func (f *clusterFlags) config() (localcluster.Config, error) {
	cfg := localcluster.Config{Name: f.name, StateDir: f.stateDir}
	if cfg.StateDir == "" {
		root, err := localcluster.StateRoot()
		if err != nil {
			return cfg, err
		}
		cfg.StateDir = filepath.Join(root, f.name)
	}
	var err error
	cfg.StateDir, err = filepath.Abs(cfg.StateDir)
	return cfg, err
}

type upOptions struct {
	streams    *Streams
	cluster    clusterFlags
	workers    int
	memory     int
	port       int
	kubePort   int
	kubeconfig string
	prepare    bool
}

func newUp(s *Streams) *cobra.Command {
	o := &upOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a local cluster with everything in it, or bring it back",
		Long: `Start a Kubernetes cluster of its own on this machine: a control plane, workers that are virtual
machines with a Linux kernel, an NFS server on the first of them, and the REST server.

What is missing is built first (Kubernetes from source, the workers' image from Debian's packages) and
kept in the cache. Running it again starts what has died and changes nothing else. It needs root.

With --kubeconfig it uses a cluster that you have instead: no virtual machines, no root. It then says
what is missing there and starts the REST server on this machine.`,
		Example: `  paictl up
  paictl up --workers 2
  paictl up --name second --workers 1
  paictl up --name work --kubeconfig ~/.kube/config`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUp(cmd.Context(), o, cmd) },
	}
	o.cluster.add(cmd)
	cmd.Flags().IntVar(&o.workers, "workers", 1, "number of workers")
	cmd.Flags().IntVar(&o.memory, "worker-memory", localcluster.DefaultMemory, "memory of a worker in MiB")
	cmd.Flags().IntVar(&o.port, "port", 0, fmt.Sprintf("port of the REST API and the portal on 127.0.0.1 (default: %d, for a cluster with another --name any free one)", localcluster.DefaultPort))
	cmd.Flags().IntVar(&o.kubePort, "kube-port", 0, "port of the Kubernetes API on 127.0.0.1 (default: any free one, kept)")
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "use the cluster of this kubeconfig instead of making one")
	cmd.Flags().BoolVar(&o.prepare, "prepare", false, "install and build what a cluster is made of, and start none")
	cmd.MarkFlagsMutuallyExclusive("kubeconfig", "prepare")
	return cmd
}

func runUp(ctx context.Context, o *upOptions, cmd *cobra.Command) error {
	cfg, err := o.cluster.config()
	if err != nil {
		return err
	}
	if err := o.fill(&cfg, cmd); err != nil {
		return err
	}
	if o.prepare {
		if err := localcluster.Prepare(ctx, cfg, term.NewProgress(o.streams.Err)); err != nil {
			return err
		}
		return printResult(o.streams, cmd, map[string]any{"prepared": true}, noTable)
	}
	status, err := localcluster.Up(ctx, cfg, term.NewProgress(o.streams.Err))
	if err != nil {
		return err
	}
	return printStatus(o.streams, cmd, status)
}

// fill takes what the flags say, else what the cluster was last started with, else the defaults.
func (o *upOptions) fill(cfg *localcluster.Config, cmd *cobra.Command) error {
	cfg.Workers, cfg.Memory, cfg.Port, cfg.KubePort = o.workers, o.memory, o.port, o.kubePort
	if o.kubeconfig != "" {
		var err error
		if cfg.Kubeconfig, err = filepath.Abs(o.kubeconfig); err != nil {
			return err
		}
	}
	kept, err := localcluster.Load(cfg.StateDir)
	switch {
	case errors.Is(err, localcluster.ErrAbsent):
		if cfg.Port == 0 && cfg.Name == localcluster.DefaultName {
			cfg.Port = localcluster.DefaultPort
		}
		return nil
	case err != nil:
		return err
	}
	if !cmd.Flags().Changed("workers") {
		cfg.Workers = kept.Workers
	}
	if !cmd.Flags().Changed("worker-memory") {
		cfg.Memory = kept.Memory
	}
	if !cmd.Flags().Changed("kubeconfig") {
		cfg.Kubeconfig = kept.Kubeconfig
	}
	return nil
}

func newSupervise() *cobra.Command {
	var stateDir string
	cmd := &cobra.Command{
		Use: "supervise", Hidden: true, Args: cobra.NoArgs,
		Short: "Keep a local cluster running; started by \"paictl up\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return localcluster.Supervise(cmd.Context(), stateDir)
		},
	}
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "directory of the cluster's state")
	return cmd
}
