package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// grantResult is what a grant did.
type grantResult struct {
	Group    pai.GroupName     `json:"group"`
	Granted  []pai.StorageName `json:"granted"`  // new
	Storages []pai.StorageName `json:"storages"` // all that the group has now
}

func newGroupGrant(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "grant GROUP STORAGE...",
		Short: "Let the members of a group mount storages",
		Long: `Let the members of a group mount storages. What the group was granted before stays, whatever others change at the
same time. The first storage of a group is a default storage of its members.

A storage that does not exist yet, or that is not usable yet, can be granted; a warning says so.`,
		Example: `  paictl group grant default nfs-storage
  paictl group grant research datasets results`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeNames(0, groupThenStorages),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runGroupGrant(cmd.Context(), s, cmd, args[0], args[1:])
		},
	}
}

func runGroupGrant(ctx context.Context, s *Streams, cmd *cobra.Command, group string, args []string) error {
	name, err := pai.ParseGroupName(group)
	if err != nil {
		return usageError{err}
	}
	var storages []pai.StorageName
	for _, arg := range args {
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
	result, err := grant(ctx, c, name, storages)
	if err != nil {
		return err
	}
	for _, st := range storages {
		warnUnusable(ctx, s, c, st)
	}
	return printResult(s, cmd, result, func() error {
		if len(result.Granted) == 0 {
			_, err := fmt.Fprintf(s.Out, "group %s had all of them already: %s\n", name, joinNames(result.Storages))
			return err
		}
		_, err := fmt.Fprintf(s.Out, "group %s now has: %s\n", name, joinNames(result.Storages))
		return err
	})
}

// grant adds storages to a group. Each try holds for the version that it read, so that nothing others do is lost.
func grant(ctx context.Context, c *client.Client, name pai.GroupName, storages []pai.StorageName) (grantResult, error) {
	const tries = 50
	for try := 1; ; try++ {
		g, version, err := c.Group(ctx, name)
		if err != nil {
			return grantResult{}, err
		}
		result := grantResult{Group: name, Granted: []pai.StorageName{}, Storages: g.ACLs().StorageConfigs}
		for _, st := range storages {
			if !slices.Contains(result.Storages, st) {
				result.Storages, result.Granted = append(result.Storages, st), append(result.Granted, st)
			}
		}
		if len(result.Granted) == 0 {
			return result, nil
		}
		err = c.PatchGroup(ctx, name, map[string]any{"acls": map[string]any{"storageConfigs": result.Storages}}, version)
		code := pai.CodeOf(err)
		if (code != pai.OutdatedVersionError && code != pai.ConflictGroupError) || try == tries {
			return result, err
		}
		select {
		case <-time.After(rand.N(time.Duration(min(try, 10)) * 20 * time.Millisecond)):
		case <-ctx.Done():
			return result, ctx.Err()
		}
	}
}

// warnUnusable says when a granted storage cannot be mounted yet.
func warnUnusable(ctx context.Context, s *Streams, c *client.Client, name pai.StorageName) {
	st, err := c.Storage(ctx, name)
	switch {
	case pai.CodeOf(err) == pai.NoStorageError:
		fmt.Fprintf(s.Err, "warning: there is no storage %s yet; create its claim with: kubectl apply -f FILE\n", name)
	case err == nil && st.Reason != "":
		fmt.Fprintf(s.Err, "warning: storage %s is not usable yet: %s; see: kubectl describe pvc %s\n", name, st.Reason, name)
	}
}
