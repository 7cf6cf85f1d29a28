package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/plural"
)

type jobDeleteOptions struct {
	streams *Streams
	yes     bool
}

func newJobDelete(s *Streams) *cobra.Command {
	o := &jobDeleteOptions{streams: s}
	cmd := &cobra.Command{
		Use:     "delete JOB...",
		Aliases: []string{"rm"},
		Short:   "Delete jobs and their logs",
		Long: `Delete jobs: their tasks end, and they are forgotten with their logs. Their names can be used again. What they wrote into
storages stays. To end a job and keep its logs, stop it.

A job that cannot be deleted does not keep the others from it.`,
		Example: `  paictl job delete train-7
  paictl job delete train-7 train-8 --yes`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeNames(0, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobDelete(cmd.Context(), o, cmd, args) },
	}
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func runJobDelete(ctx context.Context, o *jobDeleteOptions, cmd *cobra.Command, args []string) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	ids, err := jobArguments(args, t.user)
	if err != nil {
		return err
	}
	if !o.yes {
		what := "job " + ids[0].String()
		if len(ids) > 1 {
			what = plural.Of(len(ids), "job")
		}
		if err := askToGoOn(o.streams, fmt.Sprintf("Delete %s and the logs at %s?", what, t.server)); err != nil {
			return err
		}
	}
	deleted, faults := eachJob(ctx, ids, c.DeleteJob)
	err = printResult(o.streams, cmd, map[string]any{"deleted": deleted}, func() error {
		for _, name := range deleted {
			fmt.Fprintf(o.streams.Out, "job %s is deleted\n", name)
		}
		return nil
	})
	return errors.Join(append(faults, err)...)
}
