package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
)

type storageRemoveOptions struct {
	streams *Streams
	removal pai.StorageRemoval
	yes     bool
}

func newStorageRemove(s *Streams) *cobra.Command {
	o := &storageRemoveOptions{streams: s}
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Aliases: []string{"rm"},
		Short:   "Remove a storage; its data stays (administrators)",
		Long: `Remove a storage: its claim, and its volume and secret when it was declared with "paictl storage add". The data that it
holds is never deleted.

A storage that jobs mount is removed with --force only; those jobs keep it until they end. Groups keep their grants unless
--revoke takes it off them: without, a new storage of the same name would be theirs.`,
		Example: `  paictl storage remove archive
  paictl storage remove archive --revoke --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, storageNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runStorageRemove(cmd.Context(), o, cmd, args[0]) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.removal.Force, "force", false, "although jobs mount it")
	f.BoolVar(&o.removal.Revoke, "revoke", false, "take it off all groups, too")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func runStorageRemove(ctx context.Context, o *storageRemoveOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseStorageName(arg)
	if err != nil {
		return usageError{err}
	}
	o.removal.Name = name
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	if !o.yes {
		if _, err := c.Storage(ctx, name); err != nil {
			return err
		}
		if err := askToGoOn(o.streams, fmt.Sprintf("Remove storage %s at %s?", name, t.server)); err != nil {
			return err
		}
	}
	removed, err := c.RemoveStorage(ctx, o.removal)
	if err != nil {
		return err
	}
	if len(removed.Groups) > 0 {
		var commands []string
		for _, group := range removed.Groups {
			commands = append(commands, again(cmd, "storage", "revoke", word(group), string(name)))
		}
		fmt.Fprintf(o.streams.Err, "warning: still granted to %s; take it off with: %s\n", strings.Join(removed.Groups, ", "), strings.Join(commands, "; "))
	}
	return printResult(o.streams, cmd, removed, func() error {
		_, err := fmt.Fprintln(o.streams.Out, removed.Message)
		return err
	})
}
