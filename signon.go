package pai

import "context"

// SignOn is the way of a browser to the identity provider.
type SignOn struct {
	Page string // of the provider, where the browser goes
	Keep string // what the browser keeps until it comes back; a secret of that browser's
}

// SignOnAnswer is what a browser comes back with from the identity provider.
type SignOnAnswer struct {
	Keep  string // as it was in [SignOn]; "" when the browser kept nothing
	State string
	Code  string
	Fault string // the provider's error code; "" when it agreed
}

// SignOnService signs users in through an OpenID provider: the authorization code flow with PKCE. Nothing is kept at the server between
// the two steps, so any replica can take the second.
type SignOnService interface {
	// StartSignOn says where the browser goes. UnavailableError when the provider does not answer.
	StartSignOn(ctx context.Context) (SignOn, error)

	// FinishSignOn signs in whom the provider vouches for, as a member of the groups whose external names the provider lists. A user who
	// comes for the first time is created. UnauthorizedUserError when the answer does not belong to this browser's StartSignOn or came too
	// late, ForbiddenUserError when the provider refused or lists no group of ours, ConflictUserError when the name belongs to somebody
	// else, UnavailableError when the provider does not answer.
	FinishSignOn(ctx context.Context, answer SignOnAnswer) (Session, error)

	// SignOutPage is where the provider ends its own session; "" when it has no such page, or does not answer.
	SignOutPage(ctx context.Context) string
}
