package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/localcluster"
)

// hintedError is an error with hints that only the command itself can give.
type hintedError struct {
	error
	hints []string
}

func (e hintedError) Unwrap() error { return e.error }

// messageOf is an error for people, who are told the name that the server's words for old clients leave out.
func messageOf(cmd *cobra.Command, err error) string {
	if t, fault := targetOf(cmd); notAdministrator(err) && fault == nil && t.user != "" {
		return strings.ReplaceAll(err.Error(), pai.NotAdministrator, t.user+" is no administrator")
	}
	return err.Error()
}

func notAdministrator(err error) bool {
	var known *pai.Error
	return errors.As(err, &known) && known.Message == pai.NotAdministrator
}

// hintFor is what to type next, a line for each way; "" when nothing helps, or all is in the message.
func hintFor(cmd *cobra.Command, err error) string {
	var lines []string
	for _, line := range hintsFor(cmd, err) {
		_, command, _ := strings.Cut(line, ": ")
		if command == "" || !strings.Contains(err.Error(), command) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "hint: " + strings.Join(lines, "\n      ")
}

func hintsFor(cmd *cobra.Command, err error) []string {
	var hinted hintedError
	var failed jobFailedError
	var unreachable *net.OpError
	var going stillGoing
	switch {
	case errors.As(err, &going):
		return []string{"go on with: " + going.again}
	case errors.As(err, &hinted):
		return hinted.hints
	case errors.Is(err, localcluster.ErrAbsent):
		return []string{"start one with: paictl up"}
	case errors.Is(err, fs.ErrPermission):
		return []string{"that belongs to another user; local clusters belong to root, so try: sudo paictl ..."}
	case errors.As(err, &failed):
		return []string{"see what it wrote with: " + again(cmd, "job", "logs", failed.id.String()), "and why, with: " + again(cmd, "job", "explain", failed.id.String())}
	case errors.As(err, &unreachable), errors.Is(err, syscall.ECONNREFUSED):
		return []string{"is a server running there? Start a local cluster with: paictl up", "or name another server with: --server URL"}
	}
	t, _ := targetOf(cmd)
	return hintsForAPI(cmd, t, err)
}

// hintsForAPI are the commands that help after a refusal, as far as the user may type them.
func hintsForAPI(cmd *cobra.Command, t target, err error) []string {
	first := firstOf(append(cmd.Flags().Args(), "NAME")...)
	switch code := pai.CodeOf(err); {
	case code == pai.UnauthorizedUserError:
		return []string{"sign in with: " + loginAs(cmd, t.user)}
	case code == pai.IncorrectPasswordError && cmd.Name() == "login":
		return []string{"try again with: " + loginAs(cmd, t.user)}
	case notAdministrator(err):
		return []string{askAdministrator(t)}
	case strings.Contains(err.Error(), "You may use"): // which is the list already
	case code == pai.NoStorageError, code == pai.ForbiddenUserError && within(cmd, "storage"):
		return []string{"see which storages you may use with: " + again(cmd, "storage", "list")}
	case code == pai.NoJobError:
		return []string{"see which jobs you have with: " + again(cmd, "job", "list")}
	case code == pai.NoTagError:
		return []string{"see its tags with: " + again(cmd, "job", "show", first)}
	case code == pai.NoUserError && t.admin && within(cmd, "user"):
		return []string{"see which users there are with: " + again(cmd, "user", "list"), "or create this one with: " + again(cmd, "user", "create", first)}
	case code == pai.RemoveAdminError:
		return []string{"first take the rights away with: " + again(cmd, "user", "edit", first, "--no-admin")}
	case code == pai.StorageInUseError:
		return []string{"see those jobs with: " + again(cmd, "storage", "list", "--all"),
			"or remove it although they mount it, with: " + again(cmd, "storage", "remove", first, "--force")}
	case code == pai.NoTaskLogError:
		return []string{"wait for the task with: " + again(cmd, "job", "logs", first, "--follow")}
	}
	return nil
}

// within tells whether a command is one of a group of commands.
func within(cmd *cobra.Command, group string) bool {
	return cmd.HasParent() && cmd.Parent().Name() == group
}

// again is a command for the same server and user.
func again(cmd *cobra.Command, words ...string) string {
	return "paictl " + strings.Join(append(targetFlags(cmd, "server", "user"), words...), " ")
}

// loginAs is the command to sign in; "" is a user that nobody knows.
func loginAs(cmd *cobra.Command, user string) string {
	return "paictl " + strings.Join(append(targetFlags(cmd, "server"), "login", "--user", firstOf(user, "NAME")), " ")
}

// targetFlags repeats flags of the target that were typed.
func targetFlags(cmd *cobra.Command, flags ...string) []string {
	var words []string
	for _, name := range flags {
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed {
			words = append(words, "--"+name, word(flag.Value.String()))
		}
	}
	return words
}

// word writes an argument so that a shell reads it as one.
func word(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:,=@%+~", r)
	}
	if s != "" && s[0] != '~' && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// askAdministrator names an administrator who is signed in at the server here, if there is one.
func askAdministrator(t target) string {
	all, err := loadCredentials()
	if err != nil {
		return "ask an administrator"
	}
	logins := all.Servers[t.server].Users
	for _, name := range slices.Sorted(maps.Keys(logins)) {
		if logins[name].Admin && name != t.user {
			return fmt.Sprintf("%s is one, and signed in here: type it again with: --user %s", name, word(name))
		}
	}
	return "ask an administrator"
}
