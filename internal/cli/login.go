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
	tokenFile  string
	expiration time.Duration
}

func newLogin(s *Streams) *cobra.Command {
	o := &loginOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "login {--user NAME | --token-file FILE}",
		Short: "Sign in at a server",
		Long: `Sign in at a server. The token is kept in the user's configuration directory, readable by the user only. Several
users may be signed in at several servers; the last login is the default, --server and --user pick another.

With --token-file a token from elsewhere is checked and kept, such as one from the portal; an application token will not do.

Exit status: 0 signed in, 1 failed, 2 wrong usage, 3 wrong password.`,
		Example: `  paictl login --user alice
  paictl login --server http://master:9186 --user alice --password-file alice.password
  paictl login --server http://master:9186 --token-file - < alice.token`,
		Args: noName,
		RunE: func(cmd *cobra.Command, _ []string) error { return runLogin(cmd.Context(), o, cmd) },
	}
	o.password.add(cmd)
	cmd.Flags().StringVar(&o.tokenFile, "token-file", "", "sign in with the token in the first line of this file; - for standard input")
	cmd.MarkFlagsMutuallyExclusive("token-file", "password-file", "password-stdin")
	cmd.Flags().DurationVar(&o.expiration, "expiration", 0, "how long the token is good for (default: the server decides)")
	return cmd
}

// noName refuses a name that stands where no flag says what it is.
func noName(cmd *cobra.Command, args []string) error {
	user, _ := cmd.Flags().GetString("user")
	switch {
	case len(args) == 0:
		return nil
	case user == "" && len(args) == 1:
		return fmt.Errorf("unexpected argument %q: did you mean --user %s?", args[0], word(args[0]))
	}
	return cobra.NoArgs(cmd, args)
}

func runLogin(ctx context.Context, o *loginOptions, cmd *cobra.Command) error {
	name, _ := cmd.Flags().GetString("user")
	if name == "" && o.tokenFile == "" {
		return usageError{errors.New("who signs in? Say --user NAME")}
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
	var session client.Session
	if o.tokenFile != "" {
		session, err = o.withToken(ctx, c, server, name)
	} else {
		session, err = o.withPassword(ctx, c, server, name)
	}
	if err != nil {
		return err
	}
	if err := remember(server, session.User, login{Token: session.Token, Admin: session.Admin}); err != nil {
		return err
	}
	return printIdentity(o.streams, cmd, identity{Server: server, User: session.User, Admin: session.Admin})
}

func (o *loginOptions) withPassword(ctx context.Context, c *client.Client, server, name string) (client.Session, error) {
	user, err := pai.ParseUserName(name)
	if err != nil {
		return client.Session{}, usageError{err}
	}
	info, err := c.Info(ctx)
	if err != nil {
		return client.Session{}, err
	}
	if info.AuthnMethod == "OIDC" { // ask nobody for a password that is another's business
		return client.Session{}, fmt.Errorf("users of %s sign in through an identity provider: sign in with a browser at %s/login, create a token on your profile page, "+
			"keep it in a file that only you can read, and run: paictl login --token-file FILE", server, server)
	}
	if inClear(server) {
		fmt.Fprintf(o.streams.Err, "warning: the password goes to %s unencrypted\n", server)
	}
	password, err := o.password.read(o.streams, name, false)
	if err != nil {
		return client.Session{}, err
	}
	return c.Login(ctx, user, password, int(o.expiration.Seconds()))
}

// withToken asks the server whose token it is. A name that was said, too, has to be that one.
func (o *loginOptions) withToken(ctx context.Context, c *client.Client, server, name string) (client.Session, error) {
	token, err := readToken(o.streams, o.tokenFile)
	if err != nil {
		return client.Session{}, err
	}
	if inClear(server) {
		fmt.Fprintf(o.streams.Err, "warning: the token goes to %s unencrypted\n", server)
	}
	self, err := c.WithToken(token).Self(ctx)
	if err != nil {
		return client.Session{}, err
	}
	if name != "" && name != self.Username {
		return client.Session{}, fmt.Errorf("the token is that of user %s, not of %s", self.Username, name)
	}
	return client.Session{Token: token, User: self.Username, Admin: self.Admin}, nil
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
