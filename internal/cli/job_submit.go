package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/jobspec"
	"github.com/pai-storage/pai-storage/internal/yamltext"
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
	named, err := o.rename(file, document)
	if err != nil {
		return err
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	id, warnings, err := c.SubmitJob(ctx, named)
	if err != nil {
		return o.taken(cmd, file, refused(file, document, err))
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
	job, err := newJobWatch(o.streams, c, goal.again(cmd)).until(ctx, id, goal.enough)
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

func (o *jobSubmitOptions) rename(file string, document []byte) ([]byte, error) {
	if o.name == "" {
		return document, nil
	}
	name, err := pai.ParseJobName(o.name)
	if err != nil {
		return nil, usageError{fmt.Errorf("--name: %w", err)}
	}
	renamed, err := jobspec.Rename(document, name)
	if err != nil {
		return nil, refused(file, document, pai.Errorf(pai.InvalidParametersError, "%v", err))
	}
	return renamed, nil
}

// documentError is a refusal of a job document, told with the lines of its file.
type documentError struct {
	*yamltext.Faults
	refusal error
}

func (e documentError) Unwrap() []error { return []error{e.refusal, e.Faults} }

// refused is why a document was refused: what the reader of documents finds wrong in its file, else what was said.
func refused(file string, document []byte, err error) error {
	if file == "-" {
		file = "standard input"
	}
	told := jobspec.Locate(file, document, err.Error())
	switch pai.CodeOf(err) {
	case pai.InvalidParametersError:
		if fault := jobspec.Check(file, document); fault != nil {
			told = fault
		}
	case pai.NoStorageError, pai.NoVirtualClusterError, pai.ForbiddenUserError:
	default:
		return err
	}
	var faults *yamltext.Faults
	if errors.As(told, &faults) {
		return documentError{faults, err}
	}
	return err
}

// taken says how to submit a job under another name.
func (o *jobSubmitOptions) taken(cmd *cobra.Command, file string, err error) error {
	var taken *pai.Error
	if !errors.As(err, &taken) || taken.Code != pai.ConflictJobError {
		return err
	}
	words := []string{"job", "submit", "--name", "NAME", word(file)}
	hints := []string{""}
	if id, ok := jobIn(taken.Message); ok {
		words[3] = nextName(string(id.Name))
		hints = append(hints, "or see that job with: "+again(cmd, "job", "show", id.String()))
	}
	if o.wait {
		words = append(words, "--wait")
	}
	hints[0] = "submit it under another name with: " + again(cmd, words...)
	return hintedError{err, hints}
}

// jobIn finds the job that a message names.
func jobIn(message string) (pai.JobID, bool) {
	for text := range strings.FieldsSeq(message) {
		if id, err := pai.ParseJobID(text); err == nil {
			return id, true
		}
	}
	return pai.JobID{}, false
}

// nextName counts the number at the end of a job's name up, which begins with 2.
func nextName(name string) string {
	base, n := name, 2
	if at := strings.LastIndexByte(name, '-'); at > 0 {
		if last, err := strconv.Atoi(name[at+1:]); err == nil && last >= 0 && last < 1e9 {
			base, n = name[:at], last+1
		}
	}
	next := fmt.Sprintf("%s-%d", base, n)
	if _, err := pai.ParseJobName(next); err != nil {
		return "NAME"
	}
	return next
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
