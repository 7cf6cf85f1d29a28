package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
)

type jobWaitOptions struct {
	streams *Streams
	until   string
	timeout time.Duration
}

func newJobWait(s *Streams) *cobra.Command {
	o := &jobWaitOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "wait JOB",
		Short: "Wait until a job is done, or runs",
		Long: `Wait until a job is done, and show on standard error how it goes: its state, how many tasks are how far, and why it
waits. On a terminal that is one line that changes, elsewhere a new line whenever something changed. With --for running, wait
until it runs.

Exit status: 0 succeeded (--for running: runs, or ran well), 1 failed, stopped or not in time, 2 wrong usage, 3 not signed in or not
allowed, 4 no such job.`,
		Example: `  paictl job wait train-7
  paictl job wait train-7 --for running --timeout 10m && paictl job logs train-7 --follow`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobWait(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.until, "for", "done", "what to wait for: done or running")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "not longer than this, such as 10m (default: as long as it takes)")
	completeWords(cmd, "for", []string{"done", "running"})
	return cmd
}

func runJobWait(ctx context.Context, o *jobWaitOptions, cmd *cobra.Command, arg string) error {
	enough, ok := map[string]func(pai.JobState) bool{
		"done":    pai.JobState.Done,
		"running": func(state pai.JobState) bool { return state == pai.JobRunning || state.Done() },
	}[o.until]
	switch {
	case !ok:
		return usageError{fmt.Errorf("--for %q: choose done or running", o.until)}
	case o.timeout < 0:
		return usageError{fmt.Errorf("--timeout %s: takes what is more than nothing", o.timeout)}
	case o.timeout > 0:
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("%s are over", o.timeout))
		defer cancel()
	}
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	job, err := newJobWatch(o.streams, c).until(ctx, id, enough)
	if err != nil {
		return err
	}
	if err := printResult(o.streams, cmd, job, func() error { return nil }); err != nil {
		return err
	}
	return endOf(id, job)
}
