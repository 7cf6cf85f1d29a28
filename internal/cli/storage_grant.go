package cli

import (
	"cmp"
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
		RunE:              func(cmd *cobra.Command, args []string) error { return runStorageGrant(cmd.Context(), s, cmd, args) },
	}
}

// grantCall grants or revokes one storage.
type grantCall func(context.Context, pai.GroupName, pai.StorageName) (client.Grant, error)

func runStorageGrant(ctx context.Context, s *Streams, cmd *cobra.Command, args []string) error {
	group, storages, err := grantArguments(args, pai.ParseStorageName)
	if err != nil {
		return err
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	result, fault := applyGrants(ctx, s, group, storages, c.GrantStorage)
	err = printResult(s, cmd, result, func() error {
		if fault != nil {
			return nil
		}
		return printGrants(s, result)
	})
	return cmp.Or(fault, err)
}

// grantArguments reads GROUP STORAGE..., and has each storage's name checked.
func grantArguments(args []string, check func(string) (pai.StorageName, error)) (pai.GroupName, []pai.StorageName, error) {
	group, err := pai.ParseGroupName(args[0])
	if err != nil {
		return "", nil, usageError{err}
	}
	var storages []pai.StorageName
	for _, arg := range args[1:] {
		st, err := check(arg)
		if err != nil {
			return "", nil, usageError{err}
		}
		storages = append(storages, st)
	}
	return group, storages, nil
}

// applyGrants grants or revokes one storage after the other. The result is what was done, also when one fails.
func applyGrants(ctx context.Context, s *Streams, group pai.GroupName, storages []pai.StorageName, do grantCall) (grantResult, error) {
	result := grantResult{Group: group, Changed: []pai.StorageName{}, Warnings: []string{}}
	for _, st := range storages {
		answer, err := do(ctx, group, st)
		if err != nil {
			return result, err
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
	return result, nil
}

func printGrants(s *Streams, r grantResult) error {
	verb := "now has"
	if len(r.Changed) == 0 {
		verb = "is as it was and has"
	}
	_, err := fmt.Fprintf(s.Out, "group %s %s: %s\n", r.Group, verb, firstOf(storageNamesText(r.Storages), "no storage"))
	return err
}
