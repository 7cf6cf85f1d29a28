package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

// identity is who is signed in where.
type identity struct {
	Server string `json:"server"`
	User   string `json:"user"`
	Admin  bool   `json:"admin"`
}

func newWhoami(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who is signed in, and where",
		Example: `  paictl whoami
  paictl whoami --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runWhoami(cmd.Context(), s, cmd) },
	}
}

func runWhoami(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	self, err := c.Self(ctx)
	if err != nil {
		return err
	}
	return printIdentity(s, cmd, identity{Server: t.server, User: self.Username, Admin: self.Admin})
}

func printIdentity(s *Streams, cmd *cobra.Command, who identity) error {
	return printResult(s, cmd, who, func() error {
		role := ""
		if who.Admin {
			role = ", an administrator,"
		}
		_, err := fmt.Fprintf(s.Out, "%s%s is signed in at %s\n", who.User, role, who.Server)
		return err
	})
}
