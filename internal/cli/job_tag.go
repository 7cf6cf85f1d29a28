package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

func newJobTag(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "tag JOB TAG...",
		Short: "Put tags on a job",
		Long:  `Put tags on a job, to find it by: 1 to 256 characters each, without commas. A tag that it has already stays.`,
		Example: `  paictl job tag train-7 nightly baseline
  paictl job list --tag nightly`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runJobTags(cmd.Context(), s, cmd, args, tagging{do: (*client.Client).TagJob, key: "tagged", done: "is tagged with"})
		},
	}
}

func newJobUntag(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:               "untag JOB TAG...",
		Short:             "Take tags off a job",
		Example:           `  paictl job untag train-7 nightly`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeNames(0, jobThenTags),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runJobTags(cmd.Context(), s, cmd, args, tagging{do: (*client.Client).UntagJob, key: "untagged", done: "is no longer tagged with"})
		},
	}
}

// tagging is what the two commands differ in.
type tagging struct {
	do   func(*client.Client, context.Context, pai.JobID, string) error
	key  string // of the result
	done string
}

func runJobTags(ctx context.Context, s *Streams, cmd *cobra.Command, args []string, how tagging) error {
	for _, tag := range args[1:] {
		if err := pai.CheckTag(tag); err != nil {
			return usageError{err}
		}
	}
	c, id, err := connectFor(cmd, args[0])
	if err != nil {
		return err
	}
	done := []string{}
	var faults []error
	for _, tag := range args[1:] {
		if err := how.do(c, ctx, id, tag); err != nil {
			faults = append(faults, err)
			continue
		}
		done = append(done, tag)
	}
	err = printResult(s, cmd, map[string]any{"job": id.String(), how.key: done}, func() error {
		if len(done) == 0 {
			return nil
		}
		_, err := fmt.Fprintf(s.Out, "job %s %s %s\n", id, how.done, strings.Join(done, ", "))
		return err
	})
	return errors.Join(append(faults, err)...)
}
