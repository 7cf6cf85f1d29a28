package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
)

type storagePasswordOptions struct {
	streams  *Streams
	userName string
	password passwordFlags
	remove   bool
	show     bool
}

func newStoragePassword(s *Streams) *cobra.Command {
	o := &storagePasswordOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "password",
		Short: "Set the password with which you reach your own folder from Windows or a Mac",
		Long: `Set the password of your account on the storage manager's SMB server: \\SERVER\home is then your own folder, and yours alone. Choose another
password than that of the web pages. It is not kept: what is kept is what SMB compares with.`,
		Example: `  paictl storage password
  paictl storage password --show
  paictl storage password --user-name alice --remove`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd) },
	}
	cmd.Flags().StringVar(&o.userName, "user-name", "", "another `user`'s (administrators)")
	cmd.Flags().BoolVar(&o.remove, "remove", false, "take the account away")
	cmd.Flags().BoolVar(&o.show, "show", false, "say whether there is a password")
	o.password.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("remove", "show", "password-file", "password-stdin")
	completeFlag(cmd, "user-name", userNames)
	return cmd
}

func (o *storagePasswordOptions) run(ctx context.Context, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	user := pai.UserName(o.userName)
	if user == "" {
		self, err := c.Self(ctx)
		if err != nil {
			return err
		}
		user = pai.UserName(self.Username)
	} else if user, err = pai.ParseUserName(o.userName); err != nil {
		return usageError{err}
	}
	switch {
	case o.remove:
		if err := c.RemoveStoragePassword(ctx, user); err != nil {
			return err
		}
		return printResult(o.streams, cmd, map[string]any{"username": user, "set": false}, func() error {
			_, err := fmt.Fprintf(o.streams.Out, "%s has no SMB account any more\n", user)
			return err
		})
	case o.show:
		account, err := c.StorageAccount(ctx, user)
		if err != nil {
			return err
		}
		return printResult(o.streams, cmd, account, func() error {
			_, err := fmt.Fprintf(o.streams.Out, "%s: SMB password set: %s\n", user, at(account.Since, "never"))
			return err
		})
	}
	password, err := o.password.read(o.streams, string(user)+" for SMB", true)
	if err != nil {
		return err
	}
	account, err := c.SetStoragePassword(ctx, user, password)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, account, func() error {
		_, err := fmt.Fprintf(o.streams.Out, `%s has an SMB account: \\SERVER\home is the folder of %s`+"\n", user, user)
		return err
	})
}
