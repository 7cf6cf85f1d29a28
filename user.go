package pai

import (
	"context"
	"log/slog"
	"regexp"
)

// UserName is the name of a user. It is safe as one path element.
type UserName string

// ParseUserName checks that s can name a user: letters, digits, "_", "-" and ".", at most 126, and neither "." nor "..".
func ParseUserName(s string) (UserName, error) {
	if s == "." || s == ".." || len(s) > maxNameLength || !userNamePattern.MatchString(s) {
		return "", Errorf(InvalidParametersError,
			"%q cannot be the name of a user: letters, digits, '_', '-' and '.' only, at most %d, and not '.' or '..'", clip(s), maxNameLength)
	}
	return UserName(s), nil
}

var userNamePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

// Password is a password in clear. It prints as "[redacted]".
type Password string

// String hides the password.
func (Password) String() string { return "[redacted]" }

// GoString hides the password.
func (Password) GoString() string { return "[redacted]" }

// LogValue hides the password.
func (Password) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// minPasswordLength is the API's rule; maxPasswordLength bounds the work of hashing.
const (
	minPasswordLength = 6
	maxPasswordLength = 1024
)

// PasswordHash is a password hash with all that is needed to verify it. It prints as "[redacted]".
type PasswordHash string

// String hides the hash.
func (PasswordHash) String() string { return "[redacted]" }

// GoString hides the hash.
func (PasswordHash) GoString() string { return "[redacted]" }

// LogValue hides the hash.
func (PasswordHash) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// User is someone who signs in and submits jobs, as kept.
type User struct {
	Name      UserName
	Email     string
	Password  PasswordHash
	Groups    []GroupName // some may not exist any more; they count for nothing
	Extension map[string]any
	Identity  string // issuer and subject at the identity provider; "" for those who never came from one
	Version   string // changes with every change of the user
}

// NoUser is the error for a user that there is none of.
func NoUser(name UserName) *Error {
	return Errorf(NoUserError, "User %s is not found.", clip(string(name)))
}

// Account is a user as the API shows one. There is no secret in it but what the user keeps in the extension under a name of the user's own.
type Account struct {
	Name            UserName
	Email           string
	Groups          []GroupName    // those that exist, in the user's order
	Extension       map[string]any // without private keys; shared, so not to be modified
	Admin           bool
	VirtualClusters []string
	Storages        []StorageName
	Version         string // changes with every change of the user, not with those of the groups
}

// Account shows the user, whose existing groups and their grants are given.
func (u User) Account(groups []GroupName, grants Grants) Account {
	return Account{
		Name: u.Name, Email: u.Email, Groups: groups, Extension: withoutPrivate(u.Extension), Version: u.Version,
		Admin: grants.Admin, VirtualClusters: grants.VirtualClusters, Storages: grants.Storages,
	}
}

// UserService manages users.
//
// Whoever is not signed in gets UnauthorizedUserError, and applications get ForbiddenUserError. So do others than administrators where it
// says "administrators". A user whom there is none of is NoUserError, and a user whom others kept changing at the same time
// ConflictUserError; one that leaves no administrator is RemoveAdminError. Changes made at once are all applied, one after the other.
type UserService interface {
	// Users lists all users, sorted by name. Administrators only.
	Users(ctx context.Context) ([]Account, error)

	// User finds one. Others than the user's own record are for administrators only.
	User(ctx context.Context, name UserName) (Account, error)

	// CreateUser adds a user, as a member of the group "default" and of what the order says besides. The warning says what the name keeps
	// the user from, "" when nothing. Administrators only. ConflictUserError when the name is taken, InvalidParametersError when the order
	// makes no sense, NoVirtualClusterError when there is no group for one of its virtual clusters.
	CreateUser(ctx context.Context, order NewUser) (warning string, err error)

	// ChangeUser applies a change and returns the user as it is then. A new password revokes the user's tokens, but for the caller's own
	// and those of applications. Administrators only. OutdatedVersionError when the change names a version that is not the current one,
	// InvalidParametersError when it makes no sense, NoVirtualClusterError.
	ChangeUser(ctx context.Context, change UserChange) (Account, error)

	// ChangeSelf applies a change of the caller's own record, as ChangeUser does. ForbiddenUserError when it names somebody else or a
	// wrong old password, TooManyRequestsError after too many of those.
	ChangeSelf(ctx context.Context, change SelfChange) (Account, error)

	// DeleteUser removes a user, and the user's tokens and storage account. Jobs go on, and folders in personal storages stay. Administrators only. RemoveAdminError when the user is an administrator.
	DeleteUser(ctx context.Context, name UserName) error

	// AddToGroup makes the user a member of a group. Administrators only. NoGroupError.
	AddToGroup(ctx context.Context, name UserName, group GroupName) error

	// RemoveFromGroup ends a membership; there may be none. Administrators only. NoGroupError when the group neither exists nor is
	// among those of the user.
	RemoveFromGroup(ctx context.Context, name UserName, group GroupName) error

	// SetGroups makes the user a member of exactly these groups. Administrators only. NoGroupError names all that do not exist.
	SetGroups(ctx context.Context, name UserName, groups []GroupName) error
}
