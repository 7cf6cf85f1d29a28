package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
)

type jobLogsOptions struct {
	streams *Streams
	request pai.LogRequest
}

func newJobLogs(s *Streams) *cobra.Command {
	o := &jobLogsOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print what a task of a job wrote",
		Long: `Print what a task of a job wrote. JOB is USER~NAME, or the NAME alone of one of your own. With --follow, wait for the
task to start, and go on until it ends.`,
		Example: `  paictl job logs train-7
  paictl job logs train-7 --follow
  paictl job logs alice~train-7 --task-role worker --task-index 1 --tail 100`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobLogs(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().BoolVarP(&o.request.Follow, "follow", "f", false, "wait for the task to start, and go on until it ends")
	cmd.Flags().StringVar(&o.request.Role, "task-role", "", "task role (default: the first)")
	completeFlag(cmd, "task-role", roleNames)
	cmd.Flags().IntVar(&o.request.Task, "task-index", 0, "task of the role")
	cmd.Flags().IntVar(&o.request.Tail, "tail", 0, "the last so many lines only")
	return cmd
}

func runJobLogs(ctx context.Context, o *jobLogsOptions, cmd *cobra.Command, arg string) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	if o.request.Job, err = jobArgument(arg, t.user); err != nil {
		return err
	}
	log, err := c.Log(ctx, o.request)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := io.Copy(o.streams.Out, log); err != nil {
		return fmt.Errorf("log of job %s broke off: %w", o.request.Job, err)
	}
	return nil
}
