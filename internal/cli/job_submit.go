package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/jobspec"
	"github.com/pai-storage/pai-storage/internal/term"
)

type jobSubmitOptions struct {
	streams *Streams
	wait    bool
	name    string
}

// jobFailedError is a job that was waited for and did not succeed.
type jobFailedError struct {
	id      pai.JobID
	state   pai.JobState
	message string
}

func (e jobFailedError) Error() string {
	text := fmt.Sprintf("job %s is %s", e.id, e.state)
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

func newJobSubmit(s *Streams) *cobra.Command {
	o := &jobSubmitOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a job",
		Long: `Submit the job that a job protocol document (version 2, YAML) describes, and print its name, USER~JOB. "-" reads the
document from standard input. With --wait, show how the job goes until it is done.

Exit status: 0 submitted (with --wait: succeeded), 1 failed, 2 wrong usage, 3 not signed in or not allowed.`,
		Example: `  paictl job submit job.yaml
  paictl job submit --wait job.yaml
  paictl job submit --name train-7 job.yaml
  generate-job | paictl job submit -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runJobSubmit(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.name, "name", "", "name of the job, in place of the document's")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until the job is done")
	return cmd
}

func runJobSubmit(ctx context.Context, o *jobSubmitOptions, cmd *cobra.Command, file string) error {
	document, err := readDocument(o.streams, file)
	if err != nil {
		return err
	}
	if document, err = o.rename(document); err != nil {
		return err
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	id, err := c.SubmitJob(ctx, document)
	if err != nil {
		return err
	}
	printName := func() error { _, err := fmt.Fprintln(o.streams.Out, id); return err }
	if !o.wait {
		return printResult(o.streams, cmd, map[string]any{"job": id.String()}, printName)
	}
	if outputFormat(cmd) == "table" {
		if err := printName(); err != nil {
			return err
		}
	}
	job, err := waitForJob(ctx, o.streams, c, id)
	if err != nil {
		return err
	}
	if err := printResult(o.streams, cmd, job, func() error { return nil }); err != nil {
		return err
	}
	if st := job.JobStatus; st.State != pai.JobSucceeded {
		return jobFailedError{id: id, state: st.State, message: st.Message}
	}
	return nil
}

func (o *jobSubmitOptions) rename(document []byte) ([]byte, error) {
	if o.name == "" {
		return document, nil
	}
	name, err := pai.ParseJobName(o.name)
	if err != nil {
		return nil, usageError{fmt.Errorf("--name: %w", err)}
	}
	return jobspec.Rename(document, name)
}

func readDocument(s *Streams, file string) ([]byte, error) {
	in := s.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the job: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, jobspec.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	return text, nil
}

// waitForJob shows on standard error how a job goes until it is done.
func waitForJob(ctx context.Context, s *Streams, c *client.Client, id pai.JobID) (client.Job, error) {
	const pause = 500 * time.Millisecond
	live := term.NewLive(s.Err)
	defer live.End()
	for {
		job, err := c.Job(ctx, id)
		if err != nil {
			return job, err
		}
		live.Set(stateLine(job))
		if job.JobStatus.State.Done() {
			return job, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return job, fmt.Errorf("job %s goes on, only waiting for it ended: %w", id, context.Cause(ctx))
		}
	}
}

// stateLine says in one line how a job is.
func stateLine(j client.Job) string {
	line := string(j.JobStatus.State)
	if total, counts := countTasks(j); total > 1 {
		line += fmt.Sprintf(" (%d tasks: %d waiting, %d running, %d succeeded, %d failed)",
			total, counts[pai.JobWaiting], counts[pai.JobRunning], counts[pai.JobSucceeded], counts[pai.JobFailed])
	}
	if m := j.JobStatus.Message; m != "" {
		line += ": " + m
	}
	return line
}

func countTasks(j client.Job) (int, map[pai.JobState]int) {
	total, counts := 0, map[pai.JobState]int{}
	for _, role := range j.TaskRoles {
		for _, t := range role.TaskStatuses {
			total++
			counts[t.TaskState]++
		}
	}
	return total, counts
}
