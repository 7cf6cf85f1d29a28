package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

type userEditOptions struct {
	streams         *Streams
	me              bool
	email           string
	password        passwordFlags
	askPassword     bool
	oldPassword     string
	admin           bool
	noAdmin         bool
	addGroups       []string
	removeGroups    []string
	virtualClusters []string
}

func newUserEdit(s *Streams) *cobra.Command {
	o := &userEditOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "edit {NAME | --me}",
		Short: "Change a user: your own email and password, or for administrators anybody",
		Long: `Change a user. What no flag names stays as it is.

Everybody may change the own email address and password; a new password needs the old one, and signs you out everywhere else.
Administrators may change everybody, and memberships with it.`,
		Example: `  paictl user edit --me --email alice@example.org
  paictl user edit --me --password
  paictl user edit alice --add-group research --remove-group guests
  paictl user edit alice --virtual-cluster research --virtual-cluster teaching
  paictl user edit alice --admin
  paictl user edit alice --password-file alice.password`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNames(1, userNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runUserEdit(cmd.Context(), o, cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.me, "me", false, "change yourself")
	f.StringVar(&o.email, "email", "", "email address; \"\" for none")
	o.password.add(cmd)
	f.BoolVar(&o.askPassword, "password", false, "ask for the new password on the terminal")
	f.StringVar(&o.oldPassword, "old-password-file", "", "read your old password from the first line of this file (default: ask)")
	f.BoolVar(&o.admin, "admin", false, "make the user an administrator")
	f.BoolVar(&o.noAdmin, "no-admin", false, "make the user no administrator any more")
	f.StringArrayVar(&o.addGroups, "add-group", nil, "add the user to this group (again for more)")
	f.StringArrayVar(&o.removeGroups, "remove-group", nil, "remove the user from this group (again for more)")
	f.StringArrayVar(&o.virtualClusters, "virtual-cluster", nil, "a virtual cluster that the user may use (again for more): replaces those so far, the default one excepted; \"\" for none")
	cmd.MarkFlagsMutuallyExclusive("admin", "no-admin")
	cmd.MarkFlagsMutuallyExclusive("password", "password-file", "password-stdin")
	completeFlag(cmd, "add-group", groupNames)
	completeFlag(cmd, "remove-group", groupNames)
	return cmd
}

func runUserEdit(ctx context.Context, o *userEditOptions, cmd *cobra.Command, args []string) error {
	if o.me == (len(args) == 1) {
		return usageError{errors.New("who is to be changed? Say NAME, or --me for yourself")}
	}
	if !o.anything(cmd) {
		return usageError{fmt.Errorf("nothing to change; see \"%s --help\"", cmd.CommandPath())}
	}
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	name := pai.UserName(t.user)
	if len(args) == 1 {
		if name, err = pai.ParseUserName(args[0]); err != nil {
			return usageError{err}
		}
	}
	if err := o.apply(ctx, cmd, c, name, string(name) == t.user); err != nil {
		return err
	}
	u, _, err := c.User(ctx, name)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, u, func() error { return printUser(o.streams, u) })
}

// anything tells whether a flag asks for a change.
func (o *userEditOptions) anything(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("email") || o.newPassword() || o.rights(cmd)
}

func (o *userEditOptions) newPassword() bool {
	return o.askPassword || o.password.file != "" || o.password.stdin
}

// rights tells whether a flag asks for what only administrators may change.
func (o *userEditOptions) rights(cmd *cobra.Command) bool {
	return o.admin || o.noAdmin || len(o.addGroups)+len(o.removeGroups) > 0 || cmd.Flags().Changed("virtual-cluster")
}

// apply changes one's own record the way that is open to everybody, unless that does not do.
func (o *userEditOptions) apply(ctx context.Context, cmd *cobra.Command, c *client.Client, name pai.UserName, own bool) error {
	if own && !o.rights(cmd) {
		self, err := c.Self(ctx)
		if err != nil {
			return err
		}
		if o.me || !self.Admin {
			return o.editSelf(ctx, cmd, c, name)
		}
	}
	return o.editOther(ctx, cmd, c, name)
}

func (o *userEditOptions) editSelf(ctx context.Context, cmd *cobra.Command, c *client.Client, name pai.UserName) error {
	change := client.SelfChange{Username: string(name)}
	if cmd.Flags().Changed("email") {
		change.Email = &o.email
	}
	if o.newPassword() {
		old, err := (&passwordFlags{file: o.oldPassword}).read(o.streams, string(name)+" so far", false)
		if err != nil {
			return err
		}
		fresh, err := o.password.read(o.streams, string(name)+" from now on", true)
		if err != nil {
			return err
		}
		change.OldPassword, change.NewPassword = (*string)(&old), (*string)(&fresh)
	}
	return c.PatchSelf(ctx, change)
}

func (o *userEditOptions) editOther(ctx context.Context, cmd *cobra.Command, c *client.Client, name pai.UserName) error {
	change, worth, err := o.change(cmd, name)
	if err != nil {
		return err
	}
	if worth {
		if err := c.PatchUser(ctx, change, ""); err != nil {
			return err
		}
	}
	for _, group := range o.addGroups {
		if err := c.AddToGroup(ctx, name, pai.GroupName(group)); err != nil {
			return err
		}
	}
	for _, group := range o.removeGroups {
		if err := c.RemoveFromGroup(ctx, name, pai.GroupName(group)); err != nil {
			return err
		}
	}
	return nil
}

// change is what goes into one request, and whether there is anything.
func (o *userEditOptions) change(cmd *cobra.Command, name pai.UserName) (change client.UserChange, worth bool, err error) {
	change.Username = string(name)
	if cmd.Flags().Changed("email") {
		change.Email, worth = &o.email, true
	}
	if o.admin || o.noAdmin {
		change.Admin, worth = &o.admin, true
	}
	if cmd.Flags().Changed("virtual-cluster") {
		list := []string{}
		for _, vc := range o.virtualClusters {
			if vc != "" {
				list = append(list, vc)
			}
		}
		change.VirtualCluster, worth = &list, true
	}
	if o.newPassword() {
		password, err := o.password.read(o.streams, string(name)+" from now on", true)
		if err != nil {
			return change, false, err
		}
		change.Password, worth = (*string)(&password), true
	}
	return change, worth, nil
}
