package cli

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/localcluster"
)

type nodeExecOptions struct {
	streams *Streams
	cluster clusterFlags
}

func newNode(s *Streams) *cobra.Command {
	cmd := &cobra.Command{Use: "node", Short: "Work with the workers", Args: cobra.NoArgs}
	cmd.AddCommand(newNodeList(s), newNodeCheck(s), newNodePrepare(s), newNodeExec(s))
	return cmd
}

func newNodeExec(s *Streams) *cobra.Command {
	o := &nodeExecOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "exec WORKER -- COMMAND [ARGUMENT...]",
		Short: "Run a command as root on a worker of the local cluster",
		Long: `Run a command as root on a worker of the local cluster. It goes through the virtual machine's serial
port, so it works when the worker's network or kubelet does not. The exit status is the command's.`,
		Example: `  paictl node exec worker1 -- ls -l /share/data
  paictl node exec worker2 -- tail /var/log/pai/kubelet.log`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNodeExec(cmd.Context(), o, cmd, args[0], args[1:])
		},
	}
	o.cluster.add(cmd)
	return cmd
}

func runNodeExec(ctx context.Context, o *nodeExecOptions, cmd *cobra.Command, worker string, argv []string) error {
	cfg, err := o.cluster.config()
	if err != nil {
		return err
	}
	if cfg, err = localcluster.Load(cfg.StateDir); err != nil {
		return err
	}
	result, err := localcluster.Exec(ctx, cfg, worker, argv, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", worker, err)
	}
	value := map[string]any{
		"worker": worker, "stdout": string(result.Stdout), "stderr": string(result.Stderr), "exitStatus": result.ExitCode,
	}
	err = printResult(o.streams, cmd, value, func() error {
		_, err := o.streams.Out.Write(result.Stdout)
		_, fault := o.streams.Err.Write(result.Stderr)
		return cmp.Or(err, fault)
	})
	if err != nil {
		return err
	}
	if result.ExitCode != 0 {
		return exitStatus(result.ExitCode)
	}
	return nil
}
