package fileserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Why a machine is not, or cannot become, a member of its domain. Each says what mends it.
var (
	ErrJoinPassword   = errors.New("the domain does not accept domainuser and domainpwd: correct them")
	ErrJoinDenied     = errors.New("domainuser may not join machines to the domain: make it a member of Account Operators, or give it the right to create this machine's account")
	ErrJoinController = errors.New("no domain controller answers: check the network, the node's DNS and krb5_realms")
	ErrJoinRealm      = errors.New("the realm is not known: check default_realm and krb5_realms, and that the node's DNS knows the domain")
	ErrJoinClock      = errors.New("this machine's clock and the domain controller's differ by more than five minutes: set the clock")
	ErrNotJoined      = errors.New("the domain does not know this machine, or not with its password")
)

// joinLimit bounds one of Samba's commands about the domain.
const joinLimit = 25 * time.Second

// Member is this machine in its domain, as an smb.conf describes both.
type Member struct {
	Config string // the smb.conf
	// Run runs a command with a text on standard input; nil: on this machine.
	Run func(ctx context.Context, stdin string, argv ...string) (said string, err error)
}

// Check asks the domain whether this machine is a member. ErrNotJoined, ErrJoinController and others when it is not, or when nobody can say.
func (m Member) Check(ctx context.Context) error {
	said, err := m.run(ctx, "", "net", "ads", "testjoin", "--configfile="+m.Config)
	if err == nil {
		return nil
	}
	if joinCause(ctx, said) == ErrJoinController {
		// Samba remembers for a minute which controllers did not answer, also those that only did not want this machine: ask once more without
		// that memory.
		if _, err := m.run(ctx, "", "net", "cache", "flush", "--configfile="+m.Config); err == nil {
			if said, err = m.run(ctx, "", "net", "ads", "testjoin", "--configfile="+m.Config); err == nil {
				return nil
			}
		}
	}
	if cause := joinCause(ctx, said); cause != nil && cause != ErrJoinPassword {
		return cause
	}
	return ErrNotJoined // with the wrong password it means the machine's
}

// Join makes this machine a member, with the password on standard input of the command. What it cannot tell is an error with the command's words.
func (m Member) Join(ctx context.Context, user, password string) error {
	if password == "" || strings.ContainsAny(password, "\n\x00") {
		return ErrJoinPassword
	}
	said, err := m.run(ctx, password+"\n", "net", "ads", "join", "--no-dns-updates", "-U", user, "--configfile="+m.Config)
	if err == nil {
		return m.Check(ctx)
	}
	if cause := joinCause(ctx, said); cause != nil {
		return cause
	}
	return fmt.Errorf("joining the domain failed: %s", strings.ReplaceAll(lastLine(said), password, "******"))
}

func (m Member) run(ctx context.Context, stdin string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	if m.Run != nil {
		return m.Run(ctx, stdin, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		return "NT_STATUS_IO_TIMEOUT", ctx.Err()
	}
	return out.String(), err
}

// joinCauses are words of Samba and Kerberos, and what they mean. The first that is found counts.
var joinCauses = []struct {
	words []string
	cause error
}{
	{[]string{"clock skew", "time_difference_at_dc"}, ErrJoinClock},
	{[]string{"logon_failure", "logon failure", "preauthentication failed", "wrong_password", "password is incorrect", "attempted logon is invalid", "account_locked_out", "client not found in kerberos", "no_such_user"}, ErrJoinPassword},
	{[]string{"access_denied", "access denied", "insufficient access", "insufficient rights", "constraint violation"}, ErrJoinDenied},
	{[]string{"cannot find kdc for", "no_such_domain", "invalid_network_response", "werr_nerr_dcnotfound", "failed to find dc", "dcnotfound", "no such domain"}, ErrJoinRealm},
	{[]string{"no_logon_servers", "no logon servers", "io_timeout", "host_unreachable", "network_unreachable", "connection_refused", "domain_controller_not_found", "cannot contact any kdc", "can't contact ldap", "connection_disconnected", "no_such_logon"}, ErrJoinController},
	{[]string{"is not valid", "no_trust_sam_account", "cant_access_domain_info", "not joined", "secrets"}, ErrNotJoined},
}

func joinCause(ctx context.Context, said string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	said = strings.ToLower(said)
	for _, c := range joinCauses {
		for _, word := range c.words {
			if strings.Contains(said, word) {
				return c.cause
			}
		}
	}
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
