package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/term"
)

func newUserList(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List all users (administrators)",
		Example: `  paictl user list
  paictl user list --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUserList(cmd.Context(), s, cmd) },
	}
}

func runUserList(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	list, err := c.Users(ctx)
	if err != nil {
		return err
	}
	return printResult(s, cmd, map[string]any{"users": list}, func() error {
		var rows [][]string
		for _, u := range list {
			rows = append(rows, []string{u.Username, yes(u.Admin), listNames(u.Grouplist), u.Email})
		}
		return term.Table(s.Out, []string{"NAME", "ADMIN", "GROUPS", "EMAIL"}, rows)
	})
}
