package pai

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// StorageAccount is a user's account on the storage manager's SMB server, with which the share "home" is the user's own folder.
type StorageAccount struct {
	User  UserName
	Set   time.Time // when its password was set; zero while there is none
	Admin bool      // may use the shares of administrators
}

// StorageAccountService sets the passwords of SMB accounts. Users set their own, administrators everybody's.
type StorageAccountService interface {
	// StorageAccount says whether a user has one. NoUserError.
	StorageAccount(ctx context.Context, user UserName) (StorageAccount, error)

	// SetStoragePassword sets the password, and makes the account with the first one. NoUserError, InvalidParametersError for a password
	// that SMB clients cannot send or a name that the server cannot have, ConflictUserError when another user's account has a name that
	// differs in case only.
	SetStoragePassword(ctx context.Context, user UserName, password Password) (StorageAccount, error)

	// RemoveStoragePassword takes the account away. It is no error when there is none. NoUserError.
	RemoveStoragePassword(ctx context.Context, user UserName) error
}

// MayHaveStorageAccount lets people at their own SMB account, and administrators at everybody's: ForbiddenUserError.
func MayHaveStorageAccount(ctx context.Context, user UserName) error {
	if err := Person.Check(ctx); err != nil {
		return err
	}
	caller, err := CallerFrom(ctx)
	if err == nil && caller.User != user && !caller.Admin {
		err = Errorf(ForbiddenUserError, "User %s is not allowed to see or change other users' SMB accounts.", caller.User)
	}
	return err
}

// maxStoragePassword is the longest password that SMB clients send, in characters.
const maxStoragePassword = 127

// reservedStorageNames are accounts that the SMB server has for itself.
var reservedStorageNames = []string{"root", "nobody", "pai-storage-probe"}

// CheckStorageAccount says whether the SMB server can have an account of that name and password, beside those of others.
func CheckStorageAccount(user UserName, password Password, others []UserName) error {
	var f faults
	switch n := utf8.RuneCountInString(string(password)); {
	case n < minPasswordLength || n > maxStoragePassword:
		f.add("password", fmt.Sprintf("at least %d characters, at most %d", minPasswordLength, maxStoragePassword))
	case !utf8.ValidString(string(password)) || strings.ContainsFunc(string(password), unicode.IsControl):
		f.add("password", "characters that can be typed only")
	}
	for _, name := range reservedStorageNames {
		if strings.EqualFold(name, string(user)) {
			f.add("username", fmt.Sprintf("%s is an account of the SMB server itself", user))
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	for _, other := range others {
		if other != user && strings.EqualFold(string(other), string(user)) {
			return Errorf(ConflictUserError, "User %s has an SMB account, and SMB does not tell %s from it: upper and lower case are the same there.", other, user)
		}
	}
	return nil
}
