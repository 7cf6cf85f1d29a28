package cli

import (
	"context"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newUserShow(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show a user: yourself, or for administrators anybody",
		Long: `Show a user: yourself, or for administrators anybody. "storages" are those that the user's groups grant, which is what the user's jobs may
mount, ready or not. That holds for administrators as well, although "paictl storage list" shows them every storage.`,
		Example: `  paictl user show
  paictl user show alice --output yaml`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNames(1, userNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runUserShow(cmd.Context(), s, cmd, args) },
	}
}

func runUserShow(ctx context.Context, s *Streams, cmd *cobra.Command, args []string) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	var u client.User
	if len(args) == 0 {
		u, err = c.Self(ctx)
	} else {
		var name pai.UserName
		if name, err = pai.ParseUserName(args[0]); err != nil {
			return usageError{err}
		}
		u, _, err = c.User(ctx, name)
	}
	if err != nil {
		return err
	}
	smb, err := c.StorageAccount(ctx, pai.UserName(u.Username))
	if err != nil {
		return err
	}
	return printResult(s, cmd, shownUser{u, smb}, func() error {
		return term.Table(s.Out, nil, append(userRows(u), []string{"SMB password", sinceText(smb)}))
	})
}

// shownUser is a user, and whether the user has an SMB password.
type shownUser struct {
	client.User
	StoragePassword client.StorageAccount `json:"storagePassword"`
}

func sinceText(a client.StorageAccount) string {
	switch {
	case !a.Set:
		return "none"
	case a.Since == nil:
		return "set"
	}
	return "set " + a.Since.Local().Format("2006-01-02 15:04:05")
}
