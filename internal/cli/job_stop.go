package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

type jobStopOptions struct {
	streams *Streams
	wait    bool
}

func newJobStop(s *Streams) *cobra.Command {
	o := &jobStopOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "stop JOB...",
		Short: "Stop jobs",
		Long: `Stop jobs: their tasks end, and what they wrote stays, their logs, too. A job that is done stays as it is. With --wait,
wait until all of them are done: a task that has begun to start is told to end (SIGTERM), and has 30 seconds to do so.

A job that cannot be stopped does not keep the others from it. Exit status: 0 all were told to stop (with --wait: all are done),
1 failed, 2 wrong usage, 3 not signed in or not allowed, 4 no such job.`,
		Example: `  paictl job stop train-7
  paictl job stop train-7 alice~train-8 --wait`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeNames(0, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobStop(cmd.Context(), o, cmd, args) },
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until they are done")
	return cmd
}

// jobStopResult is what became of the jobs.
type jobStopResult struct {
	Stopping []string                `json:"stopping"`         // told to stop
	States   map[string]pai.JobState `json:"states,omitempty"` // with --wait: how they ended
}

func runJobStop(ctx context.Context, o *jobStopOptions, cmd *cobra.Command, args []string) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	ids, err := jobArguments(args, t.user)
	if err != nil {
		return err
	}
	var result jobStopResult
	var faults []error
	result.Stopping, faults = eachJob(ctx, ids, c.StopJob)
	if o.wait {
		if result.States, err = o.waitFor(ctx, cmd, c, result.Stopping); err != nil {
			faults = append(faults, err)
		}
	}
	if err := printResult(o.streams, cmd, result, func() error { return o.print(result) }); err != nil {
		return err
	}
	return errors.Join(faults...)
}

func (o *jobStopOptions) waitFor(ctx context.Context, cmd *cobra.Command, c *client.Client, names []string) (map[string]pai.JobState, error) {
	states := map[string]pai.JobState{}
	for _, name := range names {
		id, err := pai.ParseJobID(name)
		if err != nil {
			return states, err
		}
		job, err := newJobWatch(o.streams, c, jobGoal{word: "stopped"}.again(cmd)).until(ctx, id, pai.JobState.Done)
		if err != nil {
			return states, err
		}
		states[name] = job.JobStatus.State
	}
	return states, nil
}

func (o *jobStopOptions) print(r jobStopResult) error {
	for _, name := range r.Stopping {
		text := "is told to stop"
		if state, ended := r.States[name]; ended {
			text = "is " + string(state)
		}
		if _, err := fmt.Fprintf(o.streams.Out, "job %s %s\n", name, text); err != nil {
			return err
		}
	}
	return nil
}
