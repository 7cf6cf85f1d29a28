package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

type jobSubmitOptions struct {
	streams *Streams
	wait    bool
	limit   waitLimit
	name    string
}

func newJobSubmit(s *Streams) *cobra.Command {
	o := &jobSubmitOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a job",
		Long: `Submit the job that a job protocol document (version 2, YAML) describes, and print its name, USER~JOB. "-" reads the
document from standard input. With --wait, show how the job goes until it is done, as "paictl job wait" does.

Exit status: 0 submitted (with --wait: succeeded), 1 failed (with --wait: or stopped, or not in time, and then the job goes on), 2 wrong
usage, 3 not signed in or not allowed, 130 interrupted (with --wait: the job goes on).`,
		Example: `  paictl job submit job.yaml
  paictl job submit --wait --timeout 2h job.yaml
  paictl job submit --name train-7 job.yaml
  generate-job | paictl job submit -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runJobSubmit(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.name, "name", "", "name of the job, in place of the document's")
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until the job is done")
	o.limit.add(cmd, "with --wait: not longer than this, such as 10m")
	return cmd
}

// jobSubmitResult is a job that was submitted and, with --wait, how it ended.
type jobSubmitResult struct {
	ID       string   `json:"job"`
	Warnings []string `json:"warnings"`
	*client.Job
}

func runJobSubmit(ctx context.Context, o *jobSubmitOptions, cmd *cobra.Command, file string) error {
	switch {
	case o.limit.timeout != 0 && !o.wait:
		return usageError{errors.New("--timeout: nothing is waited for without --wait")}
	case o.limit.check() != nil:
		return o.limit.check()
	}
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
	id, warnings, err := c.SubmitJob(ctx, document)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(o.streams.Err, "warning: %s\n", w)
	}
	result := jobSubmitResult{ID: id.String(), Warnings: append([]string{}, warnings...)}
	err = printResult(o.streams, cmd, result, func() error { _, err := fmt.Fprintln(o.streams.Out, id); return err })
	if err != nil || !o.wait {
		return err
	}
	return o.waitFor(ctx, cmd, c, id, result)
}

// waitFor waits until the job is done.
func (o *jobSubmitOptions) waitFor(
	ctx context.Context, cmd *cobra.Command, c *client.Client, id pai.JobID, result jobSubmitResult,
) error {
	ctx, cancel := o.limit.within(ctx)
	defer cancel()
	goal := jobGoals[0]
	job, err := newJobWatch(o.streams, c, goal.again()).until(ctx, id, goal.enough)
	if job.Name != "" {
		result.Job = &job
	}
	if err := printResult(o.streams, cmd, result, noTable); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return goal.endOf(id, job)
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
