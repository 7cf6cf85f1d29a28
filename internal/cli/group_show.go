package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
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
	return printResult(s, cmd, g, func() error {
		acls := g.ACLs()
		return term.Table(s.Out, nil, [][]string{
			{"name", g.Groupname}, {"description", g.Description}, {"external name", g.ExternalName},
			{"administrators", yes(acls.Admin)}, {"virtual clusters", strings.Join(acls.VirtualClusters, ", ")},
			{"storages", joinNames(acls.StorageConfigs)},
		})
	})
}

func joinNames(names []pai.StorageName) string {
	var out []string
	for _, n := range names {
		out = append(out, string(n))
	}
	return strings.Join(out, ", ")
}
