package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newGroupShow(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "show GROUP",
		Short:   "Show a group and what it grants",
		Example: `  paictl group show default`,
		Args:    cobra.ExactArgs(1),

		ValidArgsFunction: completeNames(1, groupNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runGroupShow(cmd.Context(), s, cmd, args[0]) },
	}
}

func runGroupShow(ctx context.Context, s *Streams, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseGroupName(arg)
	if err != nil {
		return usageError{err}
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	g, _, err := c.Group(ctx, name)
	if err != nil {
		return err
	}
	members, err := c.Members(ctx, name)
	if err != nil && pai.CodeOf(err) != pai.ForbiddenUserError { // only administrators see who is in it
		return err
	}
	result := groupResult{Group: g, Members: members}
	return printResult(s, cmd, result, func() error { return printGroup(s, g, members) })
}

// groupResult is a group and, for administrators, who is in it.
type groupResult struct {
	client.Group
	Members []client.Member `json:"members,omitempty"`
}

func printGroup(s *Streams, g client.Group, members []client.Member) error {
	acls := g.ACLs()
	rows := [][]string{
		{"name", g.Groupname}, {"description", g.Description}, {"external name", g.ExternalName},
		{"administrators", yes(acls.Admin)}, {"virtual clusters", strings.Join(acls.VirtualClusters, ", ")},
		{"storages", storageNamesText(acls.StorageConfigs)},
	}
	if len(members) > 0 {
		var names []string
		for _, m := range members {
			names = append(names, m.Username)
		}
		rows = append(rows, []string{"members", strings.Join(names, ", ")})
	}
	return term.Table(s.Out, nil, rows)
}

// storageNamesText lists what a group was granted. What cannot be the name of a storage is of older days, and grants nothing.
func storageNamesText(names []pai.StorageName) string {
	var out []string
	for _, n := range names {
		text := string(n)
		if _, err := pai.ParseStorageName(text); err != nil {
			text += " (dead: no storage can have this name)"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}
