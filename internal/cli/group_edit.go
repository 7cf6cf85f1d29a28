package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/plural"
)

type groupEditOptions struct {
	streams *Streams
	fields  groupFields
}

func newGroupEdit(s *Streams) *cobra.Command {
	o := &groupEditOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "edit NAME",
		Short: "Change a group (administrators)",
		Long: `Change a group. What no flag names stays as it is, whatever others change at the same time. Storages are granted and
revoked with "paictl storage grant" and "paictl storage revoke", users join and leave with "paictl user edit".`,
		Example: `  paictl group edit research --description "People who search"
  paictl group edit research --virtual-cluster research --virtual-cluster default
  paictl group edit research --external-name pai-research`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, groupNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runGroupEdit(cmd.Context(), o, cmd, args[0]) },
	}
	o.fields.add(cmd)
	return cmd
}

func runGroupEdit(ctx context.Context, o *groupEditOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseGroupName(arg)
	if err != nil {
		return usageError{err}
	}
	if !slices.ContainsFunc([]string{"description", "external-name", "admin", "virtual-cluster"}, cmd.Flags().Changed) {
		return usageError{fmt.Errorf("nothing to change; see \"%s --help\"", cmd.CommandPath())}
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	if err := c.PatchGroup(ctx, o.fields.change(cmd, name), ""); err != nil {
		return err
	}
	g, _, err := c.Group(ctx, name)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, g, func() error { return printGroup(o.streams, g, nil) })
}

type groupDeleteOptions struct {
	streams *Streams
	yes     bool
}

func newGroupDelete(s *Streams) *cobra.Command {
	o := &groupDeleteOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a group (administrators)",
		Long: `Delete a group. Its members stay users, and lose what only this group granted. Storages and their data stay; jobs that
run go on.`,
		Example:           `  paictl group delete guests`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, groupNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runGroupDelete(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func runGroupDelete(ctx context.Context, o *groupDeleteOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseGroupName(arg)
	if err != nil {
		return usageError{err}
	}
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	if !o.yes {
		if err := askToGoOn(o.streams, fmt.Sprintf("Delete group %s%s at %s?", name, memberText(ctx, c, name), t.server)); err != nil {
			return err
		}
	}
	if err := c.DeleteGroup(ctx, name); err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"group": name, "deleted": true}, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "group %s is deleted\n", name)
		return err
	})
}

// memberText says how many members a group has, as far as the server tells.
func memberText(ctx context.Context, c *client.Client, name pai.GroupName) string {
	members, err := c.Members(ctx, name)
	if err != nil {
		return "" // the deletion itself will say why
	}
	return fmt.Sprintf(", which has %s,", plural.Of(len(members), "member"))
}
