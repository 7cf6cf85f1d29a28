package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// defaultServer is where `paictl up` serves.
const defaultServer = "http://127.0.0.1:9186"

// addAPICommands adds the commands that speak to a server, and the flags that say to which, and as whom.
func addAPICommands(root *cobra.Command, s *Streams) {
	root.PersistentFlags().String("server", "", "URL of the server (default: $PAI_SERVER, else that of the last login, else "+defaultServer+")")
	root.PersistentFlags().String("user", "", "user to act as (default: that of the last login at the server)")
	if err := root.RegisterFlagCompletionFunc("user", signedInUsers); err != nil {
		panic(err) // the flag is in the line before
	}
	root.AddCommand(
		newLogin(s),
		newLogout(s),
		newWhoami(s),
		newAudit(s),
		parent("storage", "Work with storages", storageCommands(s)...),
		parent("group", "Work with groups", groupCommands(s)...),
		parent("user", "Work with users", userCommands(s)...),
		parent("token", "Work with your tokens", tokenCommands(s)...),
		parent("job", "Work with jobs", jobCommands(s)...),
	)
}

func parent(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	cmd.AddCommand(commands...)
	return cmd
}

// target is the server and the user that a command is for.
type target struct {
	server string
	user   string // "" when nobody signed in there
	token  string
	admin  bool
}

// targetOf works out the target from flags, environment and earlier logins.
func targetOf(cmd *cobra.Command) (target, error) {
	user, _ := cmd.Flags().GetString("user")
	all, err := loadCredentials()
	if err != nil {
		return target{}, err
	}
	t := target{server: chooseServer(cmd, all)}
	known := all.Servers[t.server]
	t.user = firstOf(user, known.Current)
	login, signedIn := known.Users[t.user]
	if user != "" && !signedIn {
		return t, pai.Errorf(pai.UnauthorizedUserError, "user %s is not signed in at %s", user, t.server)
	}
	t.token, t.admin = login.Token, login.Admin
	return t, nil
}

func chooseServer(cmd *cobra.Command, all credentials) string {
	flag, _ := cmd.Flags().GetString("server")
	return canonicalServer(firstOf(flag, os.Getenv("PAI_SERVER"), all.Current, defaultServer))
}

func firstOf(candidates ...string) string {
	for _, c := range candidates {
		if c != "" {
			return c
		}
	}
	return ""
}

// connect makes the client for a command that needs someone signed in.
func connect(cmd *cobra.Command) (*client.Client, target, error) {
	t, err := targetOf(cmd)
	if err != nil {
		return nil, t, err
	}
	if t.token == "" {
		return nil, t, pai.Errorf(pai.UnauthorizedUserError, "nobody is signed in at %s", t.server)
	}
	c, err := client.New(t.server, t.token)
	return c, t, err
}

// statusOfAPI is the exit status for an error of the API.
func statusOfAPI(err error) int {
	switch pai.CodeOf(err) {
	case pai.UnauthorizedUserError, pai.ForbiddenUserError, pai.IncorrectPasswordError, pai.RemoveAdminError:
		return exitForbidden
	case pai.NoGroupError, pai.NoJobConfigError, pai.NoJobError, pai.NoStorageError, pai.NoTagError, pai.NoTaskError, pai.NoTaskLogError,
		pai.NoUserError, pai.NoVirtualClusterError:
		return exitNotFound
	}
	return exitFailed
}

// codeOfAPI is the API's code of an error, "" for others.
func codeOfAPI(err error) string {
	var known *pai.Error
	if errors.As(err, &known) {
		return string(known.Code)
	}
	return ""
}
