package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

type loginOptions struct {
	streams    *Streams
	password   passwordFlags
	expiration time.Duration
}

func newLogin(s *Streams) *cobra.Command {
	o := &loginOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "login --user NAME",
		Short: "Sign in at a server",
		Long: `Sign in at a server. The token is kept in the user's configuration directory, readable by the user only. Several
users may be signed in at several servers; the last login is the default, --server and --user pick another.

Exit status: 0 signed in, 1 failed, 2 wrong usage, 3 wrong password.`,
		Example: `  paictl login --user alice
  paictl login --server http://master:9186 --user alice --password-file alice.password`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLogin(cmd.Context(), o, cmd) },
	}
	o.password.add(cmd)
	cmd.Flags().DurationVar(&o.expiration, "expiration", 0, "how long the token is good for (default: the server decides)")
	return cmd
}

func runLogin(ctx context.Context, o *loginOptions, cmd *cobra.Command) error {
	name, _ := cmd.Flags().GetString("user")
	if name == "" {
		return usageError{errors.New("who signs in? Say --user NAME")}
	}
	user, err := pai.ParseUserName(name)
	if err != nil {
		return usageError{err}
	}
	all, err := loadCredentials()
	if err != nil {
		return err
	}
	server := chooseServer(cmd, all)
	c, err := client.New(server, "")
	if err != nil {
		return usageError{err}
	}
	if inClear(server) {
		fmt.Fprintf(o.streams.Err, "warning: the password goes to %s unencrypted\n", server)
	}
	password, err := o.password.read(o.streams, name, false)
	if err != nil {
		return err
	}
	session, err := c.Login(ctx, user, password, int(o.expiration.Seconds()))
	if err != nil {
		return err
	}
	if err := remember(server, session.User, login{Token: session.Token, Admin: session.Admin}); err != nil {
		return err
	}
	return printIdentity(o.streams, cmd, identity{Server: server, User: session.User, Admin: session.Admin})
}

// inClear tells whether what is sent to the server can be read on its way.
func inClear(server string) bool {
	u, err := url.Parse(server)
	if err != nil || u.Scheme == "https" || u.Hostname() == "localhost" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return ip == nil || !ip.IsLoopback()
}
