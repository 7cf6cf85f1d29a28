package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/plural"
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
		Long: `Delete a user with the user's tokens and SMB password, and say what stays. Jobs of the user go on and keep their names until an
administrator stops or deletes them. Data in storages stays, also the user's own folder in each personal storage: whoever is given the
same name later finds it there. An administrator is deleted only after "paictl user edit NAME --no-admin".`,
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
	left, fault := leftBehind(ctx, c, name)
	if fault != nil {
		fmt.Fprintf(o.streams.Err, "warning: what stays of user %s is not known: %v\n", name, fault)
	}
	return printResult(o.streams, cmd, left, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "user %s is deleted\n%s", name, left)
		return err
	})
}

// deletedUser is a user who is gone, and what stays.
type deletedUser struct {
	User             pai.UserName `json:"user"`
	Deleted          bool         `json:"deleted"`
	Jobs             int          `json:"jobs"`             // of the user, in any state
	Going            int          `json:"goingJobs"`        // those of them that have not ended
	PersonalStorages []string     `json:"personalStorages"` // those that may have a folder of the user
}

// leftBehind finds what stays of a deleted user.
func leftBehind(ctx context.Context, c *client.Client, name pai.UserName) (deletedUser, error) {
	left := deletedUser{User: name, Deleted: true, PersonalStorages: []string{}}
	_, all, err1 := c.Jobs(ctx, pai.JobQuery{User: name, Limit: 1})
	_, going, err2 := c.Jobs(ctx, pai.JobQuery{User: name, Limit: 1, States: []pai.JobState{pai.JobWaiting, pai.JobRunning, pai.JobStopping}})
	storages, err3 := c.AllStorages(ctx)
	left.Jobs, left.Going = all, going
	for _, st := range storages {
		if !st.Share {
			left.PersonalStorages = append(left.PersonalStorages, st.Name)
		}
	}
	return left, errors.Join(err1, err2, err3)
}

// String says where what stays is, a line for each kind.
func (d deletedUser) String() string {
	text := ""
	if d.Jobs > 0 {
		text += fmt.Sprintf("%s with logs in all, %d not ended: nothing is stopped; see: paictl job list --owner %s\n", plural.Of(d.Jobs, "job"), d.Going, d.User)
	}
	if len(d.PersonalStorages) > 0 {
		text += fmt.Sprintf("the folder %s stays where there is one in the personal storages %s: a new user of this name gets it; delete it on the file server\n",
			d.User, strings.Join(d.PersonalStorages, ", "))
	}
	return text
}
