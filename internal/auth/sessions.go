package auth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/plural"
)

// Lifetimes of tokens.
const (
	defaultLifetime = 7 * 24 * time.Hour
	maxLifetime     = 10 * 365 * 24 * time.Hour
)

// Login checks a password and issues a token. See [pai.TokenService] for the errors.
func (a *Accounts) Login(ctx context.Context, c pai.Credentials) (pai.Session, error) {
	if a.options.SignOn {
		return pai.Session{}, pai.Errorf(pai.ForbiddenUserError, "There are no passwords here: sign in through the identity provider.")
	}
	lifetime, err := checkLifetime(c.Lifetime)
	if err != nil {
		return pai.Session{}, err
	}
	if err := a.takeTry(c); err != nil {
		return pai.Session{}, err
	}
	user, err := a.cluster.User(ctx, c.User)
	if err != nil {
		return pai.Session{}, err
	}
	matches, old, err := a.verify(ctx, user, c.Password)
	if err != nil {
		return pai.Session{}, err
	}
	if !matches {
		return pai.Session{}, pai.Errorf(pai.IncorrectPasswordError, "Password is incorrect.")
	}
	a.giveBack(c)
	if old && !a.options.KeepOldHashes {
		if err := a.upgrade(ctx, user, c.Password); err != nil {
			return pai.Session{}, err
		}
	}
	token, err := a.issue(ctx, user.Name, lifetime)
	return pai.Session{Token: token, User: user.Name, Admin: a.grants(user).Admin}, err
}

// checkLifetime fills in the default, and refuses what is out of range.
func checkLifetime(d time.Duration) (time.Duration, error) {
	if d == 0 {
		return defaultLifetime, nil
	}
	if d < time.Second || d > maxLifetime {
		return 0, pai.Errorf(pai.InvalidParametersError, "expiration: from 1 to %d seconds", int(maxLifetime.Seconds()))
	}
	return d, nil
}

// userKey does not depend on upper and lower case, so that spelling gives nobody more tries.
func userKey(name pai.UserName) string { return strings.ToLower(string(name)) }

func (a *Accounts) takeTry(c pai.Credentials) error {
	for _, l := range []struct {
		limiter *limiter
		key     string
	}{{a.byAddress, c.Address}, {a.byUser, userKey(c.User)}} {
		if wait, ok := l.limiter.take(l.key); !ok {
			return pai.Errorf(pai.TooManyRequestsError, "Too many wrong passwords: try again in %s.", plural.Of(int(math.Ceil(wait.Seconds())), "second"))
		}
	}
	return nil
}

// giveBack returns a try that was none: the password was right.
func (a *Accounts) giveBack(c pai.Credentials) {
	a.byUser.giveBack(userKey(c.User))
	a.byAddress.giveBack(c.Address)
}

func (a *Accounts) verify(ctx context.Context, user pai.User, p pai.Password) (matches, old bool, err error) {
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return false, false, context.Cause(ctx)
	}
	matches, old = verifyPassword(user.Name, p, user.Password)
	return matches, old, nil
}

// hash makes the hash of a new password: one that the original can verify while it runs beside this server.
func (a *Accounts) hash(ctx context.Context, user pai.UserName, p pai.Password) (pai.PasswordHash, error) {
	select {
	case a.hashing <- struct{}{}:
		defer func() { <-a.hashing }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if a.options.KeepOldHashes {
		return pai.PasswordHash(originalHash(user, p)), nil
	}
	return hashPassword(p), nil
}

func (a *Accounts) upgrade(ctx context.Context, user pai.User, p pai.Password) error {
	hash, err := a.hash(ctx, user.Name, p)
	if err != nil {
		return err
	}
	return a.cluster.SetPassword(ctx, user.Name, user.Password, hash)
}

// issue makes a token and lists it for its user.
func (a *Accounts) issue(ctx context.Context, user pai.UserName, lifetime time.Duration) (string, error) {
	token, err := a.signer.issue(user, false, lifetime)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, a.cluster.AddToken(ctx, user, token, func(listed []string) ([]string, error) { return a.prune(listed), nil })
}

// maxSessions bounds the tokens that a user has from logins, so that a script that logs in all day does not fill the Secret.
const maxSessions = 500

// prune picks the listed tokens that go: those that expired, and the oldest beyond the most that a user may have. Application tokens stay,
// and so do tokens that we cannot read: the original may have signed them with its own key.
func (a *Accounts) prune(listed []string) (drop []string) {
	type session struct {
		token  string
		issued time.Time
	}
	var sessions []session
	for _, token := range listed {
		switch c, err := a.signer.read(token); {
		case errors.Is(err, jwt.ErrTokenExpired):
			drop = append(drop, token)
		case err == nil && !c.Application && c.IssuedAt != nil:
			sessions = append(sessions, session{token, c.IssuedAt.Time})
		}
	}
	slices.SortFunc(sessions, func(x, y session) int { return x.issued.Compare(y.issued) })
	for len(sessions) >= maxSessions {
		drop = append(drop, sessions[0].token)
		sessions = sessions[1:]
	}
	return drop
}

// Issue makes another token for the caller. The guard decides who may.
func (a *Accounts) Issue(ctx context.Context, lifetime time.Duration) (string, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return "", err
	}
	if lifetime, err = checkLifetime(lifetime); err != nil {
		return "", err
	}
	return a.issue(ctx, caller.User, lifetime)
}

// Logout revokes the token that the caller came with. The guard decides who may.
func (a *Accounts) Logout(ctx context.Context) error {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return err
	}
	return a.cluster.RemoveToken(ctx, caller.User, caller.Token)
}

// Authenticate tells who holds a token. UnauthorizedUserError.
func (a *Accounts) Authenticate(ctx context.Context, token string) (pai.Caller, error) {
	refused := func(cause error, format string, args ...any) (pai.Caller, error) {
		return pai.Caller{}, pai.Errorf(pai.UnauthorizedUserError, format, args...).Because(cause)
	}
	const unknown = "Your token is not one of this server: sign in there, with paictl login."
	c, known := a.read.get(token)
	var err error
	if !known {
		c, err = a.signer.read(token)
	} else if a.signer.expired(c) {
		err = jwt.ErrTokenExpired
	}
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return refused(err, "Your token expired at %s: sign in again, with paictl login.", c.ExpiresAt.UTC().Format(time.RFC3339))
	case err != nil:
		return refused(err, unknown)
	}
	name, err := pai.ParseUserName(c.Username)
	if err != nil {
		return refused(err, unknown)
	}
	if !a.cluster.TokenListed(name, token) {
		return refused(nil, "Your token was revoked, as at a sign-out or a new password: sign in again, with paictl login.")
	}
	user, err := a.cluster.User(ctx, name)
	if err != nil {
		return refused(err, "There is no user %s any more: ask an administrator.", name)
	}
	if !known {
		a.read.put(token, c)
	}
	return pai.Caller{User: name, Admin: a.grants(user).Admin, Application: c.Application, Token: token}, nil
}
