package pai

import (
	"context"
	"time"
)

// Caller is who makes a request.
type Caller struct {
	User        UserName
	Admin       bool
	Application bool   // signed in with an application token, which is good for jobs only
	Token       string // the token the caller came with; a secret
}

// callerKey is the context key of the caller.
type callerKey struct{}

// callerOrError is what the context carries: a request without a valid token still reaches the operations that need none.
type callerOrError struct {
	caller Caller
	err    error
}

// WithCaller returns a context that says who is calling.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, callerOrError{caller: c})
}

// WithoutCaller returns a context that says why nobody is signed in.
func WithoutCaller(ctx context.Context, err error) context.Context {
	return context.WithValue(ctx, callerKey{}, callerOrError{err: err})
}

// CallerFrom returns who is calling. UnauthorizedUserError when nobody is signed in.
func CallerFrom(ctx context.Context) (Caller, error) {
	v, ok := ctx.Value(callerKey{}).(callerOrError)
	if !ok {
		return Caller{}, Errorf(UnauthorizedUserError, "Guest is not allowed to do this operation.")
	}
	return v.caller, v.err
}

// Credentials is what a user signs in with.
type Credentials struct {
	User     UserName
	Password Password
	Lifetime time.Duration // how long the token is good for; 0 for the server's default
	Address  string        // where the request came from, for the rate limit
}

// Session is the result of signing in.
type Session struct {
	Token string
	User  UserName
	Admin bool
}

// Token is one of a user's valid tokens.
type Token struct {
	ID          string // its name in the list; no secret
	Text        string // what is sent with requests; a secret
	Application bool
	Issued      time.Time // zero when the token does not say
	Expires     time.Time // zero: never
	Current     bool      // the caller came with it
}

// TokenService signs users in and out.
type TokenService interface {
	// Login checks a password and issues a token. NoUserError, IncorrectPasswordError, TooManyRequestsError after too many
	// wrong passwords, InvalidParametersError for a lifetime out of range.
	Login(ctx context.Context, c Credentials) (Session, error)

	// Logout revokes the token that the caller came with. UnauthorizedUserError when nobody is signed in, ForbiddenUserError for
	// an application token.
	Logout(ctx context.Context) error

	// Issue makes another token for the caller, as Login would, good for so long; 0 for the server's default. UnauthorizedUserError
	// when nobody is signed in, ForbiddenUserError for an application token, InvalidParametersError for a lifetime out of range.
	Issue(ctx context.Context, lifetime time.Duration) (string, error)

	// IssueApplication makes a token for the caller's programs: good for jobs only, until it is revoked. UnauthorizedUserError,
	// ForbiddenUserError for an application token or when the caller has too many of them.
	IssueApplication(ctx context.Context) (string, error)

	// Tokens lists the caller's valid tokens, the newest first. UnauthorizedUserError, ForbiddenUserError for an application token.
	Tokens(ctx context.Context) ([]Token, error)

	// Revoke takes a token off its user's list, and tells whether it was there. The caller's own are named by text or ID, others' by
	// text. UnauthorizedUserError, ForbiddenUserError for an application token, and for others than administrators when the token is
	// somebody else's.
	Revoke(ctx context.Context, token string) (revoked bool, err error)

	// Authenticate tells who holds a token. UnauthorizedUserError when it is forged, expired or revoked, or its user is gone.
	Authenticate(ctx context.Context, token string) (Caller, error)
}
