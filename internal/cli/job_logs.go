package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
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
task to start, and go on until it ends; until it starts, standard error has how the job is, and why it waits. Interrupting
ends that, not the job.

With --output json the document has "job", "taskIndex" and "lines". With --follow it is JSON Lines: a document for each
line of the log as it comes, with "line" in place of "lines", and one more with "message" and "exitStatus" when something
goes wrong.

Exit status: 0 well, 1 failed, 2 wrong usage, 3 not signed in or not allowed, 4 no such job, task or log, 130 interrupted.`,
		Example: `  paictl job logs train-7
  paictl job logs train-7 --follow
  paictl job logs train-7 --follow --output json | jq -r .line
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

// logOf is the log of a task for programs: all of it, or with --follow a document for each line.
type logOf struct {
	Job       string   `json:"job"`
	TaskRole  string   `json:"taskRole,omitempty"` // as it was asked for
	TaskIndex int      `json:"taskIndex"`
	Lines     []string `json:"lines,omitzero"`
	Line      *string  `json:"line,omitempty"`
}

func runJobLogs(ctx context.Context, o *jobLogsOptions, cmd *cobra.Command, arg string) error {
	if o.request.Follow && outputFormat(cmd) == "yaml" {
		return usageError{errors.New("--follow --output yaml: choose json, which prints a document for each line")}
	}
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	o.request.Job = id
	o.streams.lines = o.request.Follow
	watch := newJobWatch(o.streams, c, func(id pai.JobID) string { return again(cmd, o.words(id)...) })
	log, err := o.open(ctx, watch)
	if err == nil {
		defer log.Close()
		if err = o.copy(cmd, log); err != nil && ctx.Err() == nil {
			return fmt.Errorf("log of job %s broke off: %w", id, err)
		}
	}
	if err != nil && ctx.Err() != nil && o.request.Follow {
		going := watch.ended(id, client.Job{}, context.Cause(ctx))
		going.what = "following its log"
		return going
	}
	return err
}

// words are the command that follows the log of that task.
func (o *jobLogsOptions) words(id pai.JobID) []string {
	words := []string{"job", "logs", word(id.String()), "--follow"}
	if o.request.Role != "" {
		words = append(words, "--task-role", word(o.request.Role))
	}
	if o.request.Task != 0 {
		words = append(words, "--task-index", strconv.Itoa(o.request.Task))
	}
	return words
}

// open opens the log. While the task has not started, how the job is and why it waits stands on standard error.
func (o *jobLogsOptions) open(ctx context.Context, watch *jobWatch) (io.ReadCloser, error) {
	if !o.request.Follow {
		return watch.client.Log(ctx, o.request)
	}
	watching, opened := context.WithCancel(ctx)
	var shown sync.WaitGroup
	shown.Go(func() {
		if watch.pause(watching, firstPause) == nil { // most logs are there at once
			_, _ = watch.until(watching, o.request.Job, pai.JobState.Done) // the request for the log fails, too
		}
	})
	log, err := watch.client.Log(ctx, o.request)
	opened()
	shown.Wait()
	return log, err
}

// copy prints the log.
func (o *jobLogsOptions) copy(cmd *cobra.Command, log io.Reader) error {
	if outputFormat(cmd) == "table" {
		_, err := io.Copy(o.streams.Out, log)
		return err
	}
	all := logOf{Job: o.request.Job.String(), TaskRole: o.request.Role, TaskIndex: o.request.Task}
	one := all
	all.Lines = []string{}
	lines := &lineWriter{emit: func(line string) error { all.Lines = append(all.Lines, line); return nil }}
	if o.request.Follow {
		lines.emit = func(line string) error { one.Line = &line; return printLine(o.streams, one) }
	}
	_, err := io.Copy(lines, log)
	err = cmp.Or(err, lines.end())
	if o.request.Follow {
		return err
	}
	return cmp.Or(err, printResult(o.streams, cmd, all, nil))
}
