package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

func tokenCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newTokenList(s),
		newTokenCreate(s),
		newTokenRevoke(s),
	}
}

func newTokenList(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List your valid tokens, without the tokens themselves",
		Example: `  paictl token list
  paictl token list --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTokenList(cmd.Context(), s, cmd) },
	}
}

func runTokenList(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	list, err := c.Tokens(ctx)
	if err != nil {
		return err
	}
	return printResult(s, cmd, map[string]any{"tokens": list}, func() error {
		var rows [][]string
		for _, t := range list {
			kind := "login"
			if t.Application {
				kind = "application"
			}
			if t.Current {
				kind += ", this one"
			}
			rows = append(rows, []string{t.ID, kind, whenOr(t.Issued, "unknown"), whenOr(t.Expires, "never")})
		}
		return term.Table(s.Out, []string{"ID", "KIND", "ISSUED", "EXPIRES"}, rows)
	})
}

func newTokenCreate(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "create",
		Short: "Make a token for programs, and print it once",
		Long: `Make an application token and print it, this once. It is good for jobs only: to submit, watch and read the logs of
yours. It does not expire; revoke it when it is not needed any more.`,
		Example: `  (umask 077; paictl token create > job.token)
  curl --user "alice:$(cat job.token)" http://127.0.0.1:9186/api/v2/jobs/alice~train`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTokenCreate(cmd.Context(), s, cmd) },
	}
}

func runTokenCreate(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	before, _ := c.Tokens(ctx)
	token, err := c.CreateApplicationToken(ctx)
	if err != nil {
		return err
	}
	after, _ := c.Tokens(ctx)
	fmt.Fprintf(s.Err, "This token is not shown again. It does not expire; revoke it with: %s\n", again(cmd, "token", "revoke", newToken(before, after)))
	return printResult(s, cmd, map[string]any{"token": token, "application": true}, func() error {
		_, err := fmt.Fprintln(s.Out, token)
		return err
	})
}

// newToken is the ID of the only application token that was not there before; "ID" when it is not known.
func newToken(before, after []client.Token) string {
	fresh := slices.DeleteFunc(after, func(t client.Token) bool {
		return !t.Application || slices.ContainsFunc(before, func(old client.Token) bool { return old.ID == t.ID })
	})
	if len(fresh) != 1 {
		return "ID"
	}
	return fresh[0].ID
}

type tokenRevokeOptions struct {
	streams *Streams
	file    string
}

func newTokenRevoke(s *Streams) *cobra.Command {
	o := &tokenRevokeOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "revoke {ID | --token-file FILE}",
		Short: "Revoke a token of yours, or for administrators anybody's",
		Long: `Revoke a token, which is worth nothing from then on. ID is one of "paictl token list", or its beginning. Administrators
revoke anybody's token when they have it in a file.`,
		Example: `  paictl token revoke 5f3a
  paictl token revoke --token-file job.token`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNames(1, tokenIDs),
		RunE:              func(cmd *cobra.Command, args []string) error { return runTokenRevoke(cmd.Context(), o, cmd, args) },
	}
	cmd.Flags().StringVar(&o.file, "token-file", "", "read the token from the first line of this file; - for standard input")
	return cmd
}

func runTokenRevoke(ctx context.Context, o *tokenRevokeOptions, cmd *cobra.Command, args []string) error {
	if (o.file == "") == (len(args) == 0) {
		return usageError{fmt.Errorf("which token? Say ID or --token-file FILE; see \"%s --help\"", cmd.CommandPath())}
	}
	if len(args) == 1 && strings.Contains(args[0], ".") {
		return usageError{fmt.Errorf("a token on the command line can be seen by others: use --token-file FILE, or its ID")}
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	var token string
	if o.file != "" {
		token, err = readToken(o.streams, o.file)
	} else {
		token, err = tokenWithID(ctx, c, args[0])
	}
	if err != nil {
		return err
	}
	message, err := c.RevokeToken(ctx, token)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"message": message}, func() error {
		_, err := fmt.Fprintln(o.streams.Out, message)
		return err
	})
}

// tokenWithID finds the one of the caller's tokens whose ID begins like this.
func tokenWithID(ctx context.Context, c *client.Client, start string) (string, error) {
	list, err := c.Tokens(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, t := range list {
		if strings.HasPrefix(t.ID, start) {
			found = append(found, t.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", notFoundError{fmt.Errorf("you have no token %q; see which you have with: paictl token list", start)}
	case 1:
		return found[0], nil
	}
	return "", usageError{fmt.Errorf("%d of your tokens begin with %q: give more of the ID", len(found), start)}
}

// readToken reads a token from the first line of a file; "-" is standard input.
func readToken(s *Streams, name string) (string, error) {
	in := s.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("read the token: %w", err)
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err == nil {
		text, err = yamltext.Text(text)
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	if first = strings.TrimSpace(first); first == "" {
		return "", fmt.Errorf("the first line of %s holds no token", name)
	}
	return first, nil
}
