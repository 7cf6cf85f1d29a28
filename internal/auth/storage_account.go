package auth

import (
	"context"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// StorageAccount says whether a user has an SMB account. NoUserError.
func (a *Accounts) StorageAccount(ctx context.Context, name pai.UserName) (pai.StorageAccount, error) {
	u, err := a.cluster.User(ctx, name)
	if err != nil {
		return pai.StorageAccount{}, err
	}
	return a.cluster.StorageAccount(u.Name), nil
}

// SetStoragePassword sets the password of a user's SMB account. See [pai.StorageAccountService] for the errors.
func (a *Accounts) SetStoragePassword(ctx context.Context, name pai.UserName, password pai.Password) (pai.StorageAccount, error) {
	u, err := a.cluster.User(ctx, name)
	if err != nil {
		return pai.StorageAccount{}, err
	}
	if err := pai.CheckStorageAccount(u.Name, password, a.cluster.StorageAccounts()); err != nil {
		return pai.StorageAccount{}, err
	}
	account := pai.StorageAccount{User: u.Name, Set: a.signer.now().UTC().Truncate(time.Second), Admin: a.grants(u).Admin}
	return account, a.cluster.SetStorageAccount(ctx, account, string(fileserver.NTHash(string(password))))
}

// RemoveStoragePassword takes a user's SMB account away. NoUserError.
func (a *Accounts) RemoveStoragePassword(ctx context.Context, name pai.UserName) error {
	u, err := a.cluster.User(ctx, name)
	if err != nil {
		return err
	}
	return a.cluster.RemoveStorageAccount(ctx, u.Name)
}
