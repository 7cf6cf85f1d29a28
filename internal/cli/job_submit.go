package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

type jobSubmitOptions struct {
	streams *Streams
	wait    bool
	name    string
}

func newJobSubmit(s *Streams) *cobra.Command {
	o := &jobSubmitOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "submit FILE",
		Short: "Submit a job",
		Long: `Submit the job that a job protocol document (version 2, YAML) describes, and print its name, USER~JOB. "-" reads the
document from standard input. With --wait, show how the job goes until it is done, as "paictl job wait" does.

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
	id, warnings, err := c.SubmitJob(ctx, document)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		fmt.Fprintf(o.streams.Err, "warning: %s\n", w)
	}
	printName := func() error { _, err := fmt.Fprintln(o.streams.Out, id); return err }
	if !o.wait {
		return printResult(o.streams, cmd, map[string]any{"job": id.String(), "warnings": append([]string{}, warnings...)}, printName)
	}
	if outputFormat(cmd) == "table" {
		if err := printName(); err != nil {
			return err
		}
	}
	job, err := newJobWatch(o.streams, c).until(ctx, id, pai.JobState.Done)
	if err != nil {
		return err
	}
	if err := printResult(o.streams, cmd, job, func() error { return nil }); err != nil {
		return err
	}
	return endOf(id, job)
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
