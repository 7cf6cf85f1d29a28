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
	return a.cluster.SetStorageAccount(ctx, name, pai.PasswordHash(fileserver.NTHash(string(password))))
}

// RemoveStoragePassword ends a user's account at the SMB server. NoUserError.
func (a *Accounts) RemoveStoragePassword(ctx context.Context, name pai.UserName) (bool, error) {
	return a.cluster.RemoveStoragePassword(ctx, name)
}
