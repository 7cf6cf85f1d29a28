package pai

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// StorageAccount is a user's own account at the storage manager's SMB server, with a password that the user chose for it. The password
// itself is kept nowhere.
type StorageAccount struct {
	User  UserName
	Set   time.Time // when the password was set, to the second; zero: there is none
	Admin bool      // the user is an administrator
	// Warning is what is unwise about a password that has just been set, "" when nothing is known.
	Warning string
}

// StorageAccountService manages the passwords of storage accounts.
//
// Whoever is not signed in gets UnauthorizedUserError; applications, and others than administrators where the account is somebody else's,
// get ForbiddenUserError. A user whom there is none of is NoUserError.
type StorageAccountService interface {
	// StorageAccount tells whether a user has a password, and since when.
	StorageAccount(ctx context.Context, name UserName) (StorageAccount, error)

	// SetStoragePassword gives a user a password, in place of the one there may be. InvalidParametersError when it does not do, and for a
	// user whose name is the SMB server's own; ConflictUserError when a user whose name differs in case only has an account already, and
	// when others kept changing this one.
	SetStoragePassword(ctx context.Context, name UserName, password Password) (StorageAccount, error)

	// RemoveStoragePassword ends a user's account, and tells whether there was one. Files stay.
	RemoveStoragePassword(ctx context.Context, name UserName) (removed bool, err error)
}

// maxStoragePassword is what SMB clients take, in UTF-16 units.
const maxStoragePassword = 127

// CheckStoragePassword refuses a password that does not do with InvalidParametersError: some SMB clients could not send it.
func CheckStoragePassword(p Password) error {
	text := string(p)
	length := len(utf16.Encode([]rune(text)))
	switch {
	case length < minPasswordLength || length > maxStoragePassword:
		return Errorf(InvalidParametersError, "password: at least %d characters, at most %d", minPasswordLength, maxStoragePassword)
	case strings.ContainsFunc(text, unicode.IsControl):
		return Errorf(InvalidParametersError, "password: control characters, such as tabs and newlines, cannot be part of it")
	case strings.ContainsRune(text, utf8.RuneError):
		return Errorf(InvalidParametersError, "password: it is not valid UTF-8 text")
	}
	return nil
}

// reservedStorageNames are accounts of the system that the SMB server runs on.
var reservedStorageNames = []string{
	"root", "nobody", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "www-data", "backup", "list", "irc",
	"gnats", "_apt", "_rpc", "pai-storage-probe", "statd", "sshd", "messagebus", "guest",
}

// ReservedStorageNames are the user names that cannot have an account at the SMB server, in lower case.
func ReservedStorageNames() []string { return slices.Clone(reservedStorageNames) }

// CheckStorageAccount refuses a user whose name the SMB server has for itself with InvalidParametersError.
func CheckStorageAccount(name UserName) error {
	if slices.Contains(reservedStorageNames, StorageAccountKey(name)) {
		return Errorf(InvalidParametersError, "User %s cannot have an SMB password: the SMB server has an account of that name for itself.", name)
	}
	return nil
}

// StorageAccountKey is equal for names that are one to the SMB server, which does not tell upper from lower case.
func StorageAccountKey(name UserName) string { return strings.ToLower(string(name)) }

// WarnOfStorageAccount says why a user of a new name cannot have an account at the SMB server, or not surely, because of the users that there
// are; "" when nothing is in the way.
func WarnOfStorageAccount(name UserName, others []User) string {
	if err := CheckStorageAccount(name); err != nil {
		return err.Error()
	}
	for _, other := range others {
		if other.Name != name && StorageAccountKey(other.Name) == StorageAccountKey(name) {
			return fmt.Sprintf("Users %s and %s differ in upper and lower case only. The SMB server does not tell them apart: one of them alone can have "+
				"an SMB password, and a personal folder on file servers of that kind.", other.Name, name)
		}
	}
	return ""
}

// SamePassword is the warning for a user whose passwords for SMB and for signing in are one.
func SamePassword(name UserName) string {
	return fmt.Sprintf("The SMB password of user %s is the one that %s signs in with. SMB servers keep passwords in a form that is easy to guess from: "+
		"choose another one.", name, name)
}

// StorageAccountTaken is the error for a user whose account would be another user's.
func StorageAccountTaken(name, other UserName) *Error {
	return Errorf(ConflictUserError, "User %s cannot have an SMB password: user %s has one, and the SMB server does not tell upper from lower case in names.",
		name, other)
}

// MayHaveStorageAccount refuses whom a user's storage account is none of the business of. It depends on the caller and the name alone, so a
// front end can refuse before it reads a request.
func MayHaveStorageAccount(ctx context.Context, name UserName) error {
	if err := Person.Check(ctx); err != nil {
		return err
	}
	caller, err := CallerFrom(ctx)
	if err == nil && caller.User != name && !caller.Admin {
		return Errorf(ForbiddenUserError, "User %s is not allowed to see or change the SMB passwords of other users.", caller.User)
	}
	return err
}
