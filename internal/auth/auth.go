// Package auth knows who is calling and what they may do.
//
// [Accounts] signs users in: passwords, tokens, and a limit on guessing; [SignOn] does it through an OpenID provider. [Guard] is the one authorisation point: it wraps the services, so
// that no front end can forget a check. Use both from the wiring (package daemon), and hand front ends nothing but the guarded services.
//
// Its rules:
//
//   - Whoever is not signed in gets UnauthorizedUserError, whoever may not gets ForbiddenUserError, and both come before anything
//     that tells whether the thing asked for exists.
//   - A token is valid while it is signed by us with HS256, not expired, listed for its user, and its user exists. Application tokens
//     are good for jobs only.
//   - Passwords, hashes and tokens never go into a log or a message.
//
// Example:
//
//	accounts := auth.NewAccounts(cluster, key, auth.Options{})
//	services := auth.Guard(pai.Services{Storages: cluster, Groups: cluster, Users: accounts, Tokens: accounts, Jobs: cluster}, accounts)
package auth

import (
	"time"

	"github.com/pai-storage/pai-storage/internal/kube"
)

// Options says how users sign in.
type Options struct {
	KeepOldHashes bool             // neither upgrade old password hashes at login nor make others, because the original server runs beside this one
	SignOn        bool             // an identity provider says who users are, what their addresses are and which groups they belong to; there are no passwords
	Now           func() time.Time // nil: time.Now
}

// Accounts is the users of a cluster as far as signing in goes. It is a [pai.TokenService] and a [pai.UserService].
type Accounts struct {
	cluster *kube.Cluster
	options Options
	signer  signer
	read    readTokens
	sums    sums
	hashing chan struct{} // a password hash takes memory and time on purpose: only so many at once

	byUser    *limiter
	byAddress *limiter
	compared  *limiter // of SMB passwords with the one for signing in, by user
}

// hashesAtOnce bounds the memory that logins take.
const hashesAtOnce = 4

// NewAccounts works on the users of a cluster, with the key that signs tokens.
func NewAccounts(cluster *kube.Cluster, key []byte, o Options) *Accounts {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Accounts{
		cluster:   cluster,
		options:   o,
		signer:    signer{key: key, now: o.Now},
		hashing:   make(chan struct{}, hashesAtOnce),
		byUser:    newLimiter(10, 6*time.Second, o.Now),
		byAddress: newLimiter(50, time.Second, o.Now),
		compared:  newLimiter(10, 6*time.Second, o.Now),
	}
}
