package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

type storagePasswordOptions struct {
	streams  *Streams
	user     string
	password passwordFlags
	remove   bool
}

func newStoragePassword(s *Streams) *cobra.Command {
	o := &storagePasswordOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Set the password of your own folder in Windows and on a Mac",
		Long: `Set the password that opens your own folder over SMB: \\SERVER\home in Windows, smb://SERVER/home on a Mac. The user name is
the one that you sign in with. The password is asked for twice.

Choose another password than the one that you sign in with: SMB servers keep passwords in a form that is much easier to guess from. A
warning says when they are the same.
"paictl user show" says whether one is set. Administrators may set or remove anybody's.`,
		Example: `  paictl storage password
  paictl storage password --password-file FILE
  paictl storage password --remove
  paictl storage password --user-name alice --remove`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runStoragePassword(cmd.Context(), o, cmd) },
	}
	cmd.Flags().StringVar(&o.user, "user-name", "", "whose password (administrators; default: yours)")
	o.password.add(cmd)
	cmd.Flags().BoolVar(&o.remove, "remove", false, "take the password away: the file server lets nobody in with it any more; files stay")
	cmd.MarkFlagsMutuallyExclusive("remove", "password-file", "password-stdin")
	completeFlag(cmd, "user-name", userNames)
	return cmd
}

func runStoragePassword(ctx context.Context, o *storagePasswordOptions, cmd *cobra.Command) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	name := pai.UserName(t.user)
	if cmd.Flags().Changed("user-name") {
		if name, err = pai.ParseUserName(o.user); err != nil {
			return usageError{err}
		}
	}
	account, err := o.apply(ctx, c, name)
	if err != nil {
		return err
	}
	if account.Warning != "" {
		fmt.Fprintf(o.streams.Err, "warning: %s\n", account.Warning)
	}
	return printResult(o.streams, cmd, account, func() error {
		text := fmt.Sprintf("the SMB password of user %s is set", name)
		if !account.Set {
			text = fmt.Sprintf("user %s has no SMB password", name)
		}
		_, err := fmt.Fprintln(o.streams.Out, text)
		return err
	})
}

// apply sets or removes the password, and returns what there is then.
func (o *storagePasswordOptions) apply(ctx context.Context, c *client.Client, name pai.UserName) (client.StorageAccount, error) {
	if o.remove {
		if err := c.RemoveStoragePassword(ctx, name); err != nil {
			return client.StorageAccount{}, err
		}
		return c.StorageAccount(ctx, name)
	}
	password, err := o.password.read(o.streams, string(name)+" for SMB", true)
	if err != nil {
		return client.StorageAccount{}, err
	}
	return c.SetStoragePassword(ctx, name, password)
}
