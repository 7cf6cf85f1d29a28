package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// waitLimit is the flag for how long to wait.
type waitLimit struct{ timeout time.Duration }

func (l *waitLimit) add(cmd *cobra.Command, usage string) {
	cmd.Flags().DurationVar(&l.timeout, "timeout", 0, usage+" (default: as long as it takes)")
}

func (l *waitLimit) check() error {
	if l.timeout < 0 {
		return usageError{fmt.Errorf("--timeout %s: takes what is more than nothing", l.timeout)}
	}
	return nil
}

// within is the context of the waiting.
func (l *waitLimit) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, l.timeout, fmt.Errorf("%s are over", l.timeout))
}

// jobGoal is what is waited for: a word of --for, and the states that are well then. Every job that is done ends the
// waiting.
type jobGoal struct {
	word string
	well []pai.JobState
}

var jobGoals = []jobGoal{
	{"done", []pai.JobState{pai.JobSucceeded}},
	{"running", []pai.JobState{pai.JobRunning, pai.JobSucceeded}},
	{"succeeded", []pai.JobState{pai.JobSucceeded}},
	{"failed", []pai.JobState{pai.JobFailed}},
	{"stopped", []pai.JobState{pai.JobStopped}},
}

func goalWords() (words []string) {
	for _, g := range jobGoals {
		words = append(words, g.word)
	}
	return words
}

func parseGoal(word string) (jobGoal, error) {
	i := slices.IndexFunc(jobGoals, func(g jobGoal) bool { return strings.EqualFold(g.word, word) })
	if i < 0 {
		return jobGoal{}, usageError{fmt.Errorf("--for %q: choose of %s", word, strings.Join(goalWords(), ", "))}
	}
	return jobGoals[i], nil
}

func (g jobGoal) enough(state pai.JobState) bool {
	return state.Done() || slices.Contains(g.well, state)
}

// endOf is the error of a job that did not come to what was waited for.
func (g jobGoal) endOf(id pai.JobID, job client.Job) error {
	state := job.JobStatus.State
	if slices.Contains(g.well, state) {
		return nil
	}
	fault := jobFailedError{id: id, state: state, why: whyOf(job)}
	if !slices.Contains(g.well, pai.JobSucceeded) {
		fault.wanted = g.well[0]
	}
	return fault
}

// again makes the command that goes on waiting.
func (g jobGoal) again(cmd *cobra.Command) func(pai.JobID) string {
	return func(id pai.JobID) string {
		words := []string{"job", "wait", word(id.String())}
		if g.word != "done" {
			words = append(words, "--for", g.word)
		}
		return again(cmd, words...)
	}
}

type jobWaitOptions struct {
	streams *Streams
	until   string
	limit   waitLimit
}

func newJobWait(s *Streams) *cobra.Command {
	o := &jobWaitOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "wait JOB",
		Short: "Wait until a job is done, or runs, or fails",
		Long: `Wait until a job is done, and show on standard error how it goes: its state, how many tasks are how far, and why it
waits. On a terminal that is one line that changes, elsewhere a new line whenever something changed. With --for running, wait
until it runs; with --for failed, succeeded or stopped, until it is done, and fail when it came to another end.
Interrupting ends the waiting, not the job.

Exit status: 0 succeeded (--for running: runs, or ran well; --for failed: failed; --for stopped: stopped), 1 another end or not in time,
2 wrong usage, 3 not signed in or not allowed, 4 no such job, 130 interrupted.`,
		Example: `  paictl job wait train-7
  paictl job wait train-7 --for running --timeout 10m && paictl job logs train-7 --follow`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobWait(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.until, "for", "done", "what to wait for: "+strings.Join(goalWords(), ", "))
	o.limit.add(cmd, "not longer than this, such as 10m")
	completeWords(cmd, "for", goalWords())
	return cmd
}

func runJobWait(ctx context.Context, o *jobWaitOptions, cmd *cobra.Command, arg string) error {
	goal, err := parseGoal(o.until)
	if err != nil {
		return err
	}
	if err := o.limit.check(); err != nil {
		return err
	}
	ctx, cancel := o.limit.within(ctx)
	defer cancel()
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	job, err := newJobWatch(o.streams, c, goal.again(cmd)).until(ctx, id, goal.enough)
	if job.Name != "" { // the server has answered
		if err := printResult(o.streams, cmd, job, noTable); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return goal.endOf(id, job)
}
