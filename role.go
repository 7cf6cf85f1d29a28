package pai

import "context"

// Role is the least that a caller must be to ask for something. It depends on the caller alone, so a front end
// can refuse before it reads a request; what also depends on the thing asked for is decided by the guard.
type Role int

// The roles, each with more rights than the one before.
const (
	// Guest: anybody, signed in or not.
	Guest Role = iota
	// SignedIn: people, and the applications that act for them.
	SignedIn
	// Person: people who signed in themselves.
	Person
	// Administrator: people of a group with acls.admin.
	Administrator
)

// NotAdministrator is the message for whoever is less than an [Administrator], in the words that clients of old know.
const NotAdministrator = "Non-admin is not allow to do this operation."

// Check refuses a caller who is less than the role: UnauthorizedUserError for those who are not signed in,
// ForbiddenUserError for the others.
func (r Role) Check(ctx context.Context) error {
	if r == Guest {
		return nil
	}
	caller, err := CallerFrom(ctx)
	switch {
	case err != nil:
		return err
	case r >= Person && caller.Application:
		return Errorf(ForbiddenUserError, "Applications are not allowed to do this operation.")
	case r >= Administrator && !caller.Admin:
		return &Error{Code: ForbiddenUserError, Message: NotAdministrator}
	}
	return nil
}
