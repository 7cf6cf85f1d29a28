package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
)

func newLogout(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "logout",
		Short: "Sign out: revoke the token and forget it",
		Example: `  paictl logout
  paictl logout --user alice`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLogout(cmd.Context(), s, cmd) },
	}
}

func runLogout(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	// A token that is no longer valid is as good as revoked.
	if err := c.Logout(ctx); err != nil && pai.CodeOf(err) != pai.UnauthorizedUserError {
		return err
	}
	if err := forget(t.server, t.user); err != nil {
		return err
	}
	return printResult(s, cmd, identity{Server: t.server, User: t.user, Admin: t.admin}, func() error {
		_, err := fmt.Fprintf(s.Out, "%s is signed out of %s\n", t.user, t.server)
		return err
	})
}
