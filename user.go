package pai

import (
	"context"
	"log/slog"
	"net/mail"
	"regexp"
	"strings"
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

// User is someone who signs in and submits jobs.
type User struct {
	Name      UserName
	Email     string
	Password  PasswordHash
	Groups    []GroupName
	Extension map[string]any
}

// NewUser is the order to create a user.
type NewUser struct {
	Name            UserName
	Password        Password
	Email           string
	Admin           bool
	VirtualClusters []string // the user joins the group of that name for each
	Extension       map[string]any
}

// Check names every fault of the order with InvalidParametersError.
func (n NewUser) Check() error {
	var faults []string
	if len(n.Password) < minPasswordLength || len(n.Password) > maxPasswordLength {
		faults = append(faults, "password: at least 6 characters, at most 1024")
	}
	if n.Email != "" {
		if a, err := mail.ParseAddress(n.Email); err != nil || a.Address != n.Email {
			faults = append(faults, "email: expected an email address or nothing")
		}
	}
	if len(faults) > 0 {
		return Errorf(InvalidParametersError, "%s", strings.Join(faults, "; "))
	}
	return nil
}

// Profile is what users see of themselves. There is no secret in it.
type Profile struct {
	Name   UserName
	Email  string
	Groups []GroupName // those that exist, in the user's order
	Admin  bool
}

// UserService manages users.
type UserService interface {
	// Profile tells who the caller is. UnauthorizedUserError when nobody is signed in, ForbiddenUserError for an application token.
	Profile(ctx context.Context) (Profile, error)

	// CreateUser adds a user, as a member of the group "default" and of what the order says besides. Administrators only:
	// ForbiddenUserError for others. ConflictUserError when the name is taken, InvalidParametersError when the order makes no sense,
	// NoVirtualClusterError when there is no group for one of its virtual clusters.
	CreateUser(ctx context.Context, order NewUser) error
}
