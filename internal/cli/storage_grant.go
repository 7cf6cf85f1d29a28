package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// grantResult is what grants or revocations did.
type grantResult struct {
	Group    pai.GroupName     `json:"group"`
	Changed  []pai.StorageName `json:"changed"`  // granted, or revoked, by this
	Storages []pai.StorageName `json:"storages"` // all that the group has now
	Warnings []string          `json:"warnings"`
}

func newStorageGrant(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "grant GROUP STORAGE...",
		Short: "Let the members of a group mount storages (administrators)",
		Long: `Let the members of a group mount storages. What the group was granted before stays, whatever others change at the
same time. The first storage of a group is a default storage of its members.

A storage that cannot be used yet can be granted; a warning says so.`,
		Example: `  paictl storage grant default nfs-storage
  paictl storage grant research datasets results`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeNames(0, groupThenStorages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGrants(cmd.Context(), s, cmd, args, (*client.Client).GrantStorage)
		},
	}
}

func newStorageRevoke(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke GROUP STORAGE...",
		Short: "Let the members of a group mount storages no more (administrators)",
		Long: `Let the members of a group mount storages no more. New jobs are refused at once; jobs that run keep what they
mounted. Nothing in the storage is deleted.`,
		Example:           `  paictl storage revoke research datasets`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeNames(0, groupThenStorages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGrants(cmd.Context(), s, cmd, args, (*client.Client).RevokeStorage)
		},
	}
}

// grantCall grants or revokes one storage.
type grantCall func(*client.Client, context.Context, pai.GroupName, pai.StorageName) (client.Grant, error)

func runGrants(ctx context.Context, s *Streams, cmd *cobra.Command, args []string, do grantCall) error {
	group, err := pai.ParseGroupName(args[0])
	if err != nil {
		return usageError{err}
	}
	var storages []pai.StorageName
	for _, arg := range args[1:] {
		st, err := pai.ParseStorageName(arg)
		if err != nil {
			return usageError{err}
		}
		storages = append(storages, st)
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	result := grantResult{Group: group, Changed: []pai.StorageName{}, Warnings: []string{}}
	for _, st := range storages {
		answer, err := do(c, ctx, group, st)
		if err != nil {
			return err
		}
		result.Storages = answer.Storages
		if answer.Changed {
			result.Changed = append(result.Changed, st)
		}
		if answer.Warning != "" {
			result.Warnings = append(result.Warnings, answer.Warning)
			fmt.Fprintf(s.Err, "warning: %s; see: paictl storage show %s\n", answer.Warning, st)
		}
	}
	return printResult(s, cmd, result, func() error {
		verb := "now has"
		if len(result.Changed) == 0 {
			verb = "is as it was and has"
		}
		_, err := fmt.Fprintf(s.Out, "group %s %s: %s\n", group, verb, firstOf(joinNames(result.Storages), "no storage"))
		return err
	})
}
