package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// StorageAccount tells whether a user has an SMB password. NoUserError.
func (a *Accounts) StorageAccount(ctx context.Context, name pai.UserName) (pai.StorageAccount, error) {
	return a.cluster.StorageAccount(ctx, name)
}

// SetStoragePassword gives a user an SMB password. See [pai.StorageAccountService] for the errors.
func (a *Accounts) SetStoragePassword(ctx context.Context, name pai.UserName, password pai.Password) (pai.StorageAccount, error) {
	if _, err := a.cluster.User(ctx, name); err != nil {
		return pai.StorageAccount{}, err
	}
	if err := pai.CheckStorageAccount(name); err != nil {
		return pai.StorageAccount{}, err
	}
	if err := pai.CheckStoragePassword(password); err != nil {
		return pai.StorageAccount{}, err
	}
	warning := ""
	same, err := a.signsInWith(ctx, name, password)
	if err != nil {
		return pai.StorageAccount{}, err
	}
	if same {
		warning = pai.SamePassword(name)
	}
	account, err := a.cluster.SetStorageAccount(ctx, name, pai.PasswordHash(fileserver.NTHash(string(password))))
	account.Warning = warning
	return account, err
}

// signsInWith tells whether a password for SMB is the one that the user signs in with. Nobody may find a password by asking that, so there is the
// limit on guessing that logins have. It is a limit of its own: whoever sets many passwords can still sign in. Beyond it the answer is no.
func (a *Accounts) signsInWith(ctx context.Context, name pai.UserName, password pai.Password) (bool, error) {
	if a.options.SignOn {
		return false, nil
	}
	if _, ok := a.compared.take(userKey(name)); !ok {
		return false, nil
	}
	user, err := a.cluster.User(ctx, name)
	if err != nil {
		return false, err
	}
	same, _, err := a.verify(ctx, user, password)
	return same, err
}

// RemoveStoragePassword ends a user's account at the SMB server. NoUserError.
func (a *Accounts) RemoveStoragePassword(ctx context.Context, name pai.UserName) (bool, error) {
	return a.cluster.RemoveStoragePassword(ctx, name)
}
