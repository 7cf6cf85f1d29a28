package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

type storageRevokeOptions struct {
	streams  *Streams
	stopJobs bool
}

func newStorageRevoke(s *Streams) *cobra.Command {
	o := &storageRevokeOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "revoke GROUP STORAGE...",
		Short: "Let the members of a group mount storages no more (administrators)",
		Long: `Let the members of a group mount storages no more. New jobs are refused at once. Nothing in the storage is deleted.

Jobs that mount such a storage already keep it, although their users may not mount it any more: they are listed, and on a
terminal you are asked whether to stop them. With --stop-jobs they are stopped at once.`,
		Example: `  paictl storage revoke research datasets
  paictl storage revoke research datasets results --stop-jobs`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeNames(0, groupThenStorages),
		RunE:              func(cmd *cobra.Command, args []string) error { return runStorageRevoke(cmd.Context(), o, cmd, args) },
	}
	cmd.Flags().BoolVar(&o.stopJobs, "stop-jobs", false, "stop the jobs that still mount them although their users may not any more")
	return cmd
}

// revocable takes every name: groups of older days have some that no storage can have, and which are good for this alone.
func revocable(name string) (pai.StorageName, error) {
	if name == "" {
		return "", errors.New("the name of a storage is empty")
	}
	return pai.StorageName(name), nil
}

// revokeResult is what a revocation did.
type revokeResult struct {
	grantResult
	Jobs    []string `json:"jobs"`    // that are not done and mount it although their users may not any more
	Stopped bool     `json:"stopped"` // those jobs were told to stop
}

func runStorageRevoke(ctx context.Context, o *storageRevokeOptions, cmd *cobra.Command, args []string) error {
	group, storages, err := grantArguments(args, revocable)
	if err != nil {
		return err
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	result := revokeResult{Jobs: []string{}}
	mounted := map[string][]string{} // by job
	var fault error
	result.grantResult, fault = applyGrants(ctx, o.streams, group, storages, func(ctx context.Context, g pai.GroupName, st pai.StorageName) (client.Grant, error) {
		answer, err := c.RevokeStorage(ctx, g, st, o.stopJobs)
		for _, job := range answer.Jobs {
			if mounted[job] == nil {
				result.Jobs = append(result.Jobs, job)
			}
			mounted[job] = append(mounted[job], string(st))
		}
		return answer, err
	})
	result.Stopped = o.stopJobs && len(result.Jobs) > 0
	if fault == nil && outputFormat(cmd) == "table" {
		fault = printGrants(o.streams, result.grantResult)
	}
	err = o.settle(ctx, cmd, c, args, &result, mounted)
	return errors.Join(fault, err, printResult(o.streams, cmd, result, noTable))
}

// settle says which jobs still mount what was revoked, and lets whoever is there decide about them.
func (o *storageRevokeOptions) settle(ctx context.Context, cmd *cobra.Command, c *client.Client, args []string, r *revokeResult, mounted map[string][]string) error {
	if len(r.Jobs) == 0 {
		return nil
	}
	fmt.Fprintln(o.streams.Err, "These jobs mount what their users may not mount any more:")
	for _, job := range r.Jobs {
		fmt.Fprintf(o.streams.Err, "  %s (%s)\n", job, strings.Join(mounted[job], ", "))
	}
	switch {
	case r.Stopped:
		fmt.Fprintln(o.streams.Err, "They are told to stop.")
	case outputFormat(cmd) != "table" || !term.Is(o.streams.In):
		fmt.Fprintf(o.streams.Err, "They go on. Stop them with: paictl storage revoke %s --stop-jobs\n", strings.Join(args, " "))
	case confirmed(o.streams, fmt.Sprintf("Stop %s?", jobCount(len(r.Jobs)))):
		return o.stop(ctx, c, r)
	default:
		fmt.Fprintln(o.streams.Err, "They go on.")
	}
	return nil
}

// stop stops the jobs that were listed, and no others.
func (o *storageRevokeOptions) stop(ctx context.Context, c *client.Client, r *revokeResult) error {
	var ids []pai.JobID
	for _, name := range r.Jobs {
		id, err := pai.ParseJobID(name)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	_, faults := eachJob(ctx, ids, func(ctx context.Context, id pai.JobID) error {
		if err := c.StopJob(ctx, id); err != nil && pai.CodeOf(err) != pai.NoJobError {
			return err
		}
		return nil
	})
	if r.Stopped = len(faults) == 0; r.Stopped {
		fmt.Fprintln(o.streams.Err, "They are told to stop.")
	}
	return errors.Join(faults...)
}

func jobCount(n int) string {
	if n == 1 {
		return "this job"
	}
	return fmt.Sprintf("these %d jobs", n)
}
