package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
)

type userDeleteOptions struct {
	streams *Streams
	yes     bool
}

func newUserDelete(s *Streams) *cobra.Command {
	o := &userDeleteOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user with the user's tokens and SMB password (administrators)",
		Long: `Delete a user with the user's tokens and SMB password. Jobs of the user go on, and data in storages stays. An administrator is deleted
only after "paictl user edit NAME --no-admin".`,
		Example: `  paictl user delete alice
  paictl user delete alice --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, userNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runUserDelete(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func runUserDelete(ctx context.Context, o *userDeleteOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseUserName(arg)
	if err != nil {
		return usageError{err}
	}
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	if !o.yes {
		if err := askToGoOn(o.streams, fmt.Sprintf("Delete user %s at %s?", name, t.server)); err != nil {
			return err
		}
	}
	if err := c.DeleteUser(ctx, name); err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"user": name, "deleted": true}, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "user %s is deleted\n", name)
		return err
	})
}
