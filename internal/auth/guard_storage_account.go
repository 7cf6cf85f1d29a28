package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) StorageAccount(ctx context.Context, name pai.UserName) (pai.StorageAccount, error) {
	if err := pai.MayHaveStorageAccount(ctx, name); err != nil {
		return pai.StorageAccount{}, err
	}
	return g.next.StorageAccounts.StorageAccount(ctx, name)
}

func (g *guard) SetStoragePassword(ctx context.Context, name pai.UserName, password pai.Password) (pai.StorageAccount, error) {
	if err := pai.MayHaveStorageAccount(ctx, name); err != nil {
		return pai.StorageAccount{}, err
	}
	return g.next.StorageAccounts.SetStoragePassword(ctx, name, password)
}

func (g *guard) RemoveStoragePassword(ctx context.Context, name pai.UserName) (bool, error) {
	if err := pai.MayHaveStorageAccount(ctx, name); err != nil {
		return false, err
	}
	return g.next.StorageAccounts.RemoveStoragePassword(ctx, name)
}
