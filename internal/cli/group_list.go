package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/term"
)

func newGroupList(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the groups and what they grant",
		Example: `  paictl group list
  paictl group list --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runGroupList(cmd.Context(), s, cmd) },
	}
}

func runGroupList(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	list, err := c.Groups(ctx)
	if err != nil {
		return err
	}
	return printResult(s, cmd, map[string]any{"groups": list}, func() error {
		var rows [][]string
		for _, g := range list {
			acls := g.ACLs()
			rows = append(rows, []string{g.Groupname, yes(acls.Admin), strings.Join(acls.VirtualClusters, ", "), storageNamesText(acls.StorageConfigs), g.Description})
		}
		return term.Table(s.Out, []string{"NAME", "ADMIN", "VIRTUAL CLUSTERS", "STORAGES", "DESCRIPTION"}, rows)
	})
}
