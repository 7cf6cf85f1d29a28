package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Groups(ctx context.Context) ([]pai.Group, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Groups.Groups(ctx)
}

func (g *guard) Group(ctx context.Context, name pai.GroupName) (pai.Group, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return pai.Group{}, err
	}
	return g.next.Groups.Group(ctx, name)
}

func (g *guard) Members(ctx context.Context, name pai.GroupName) ([]pai.Member, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Groups.Members(ctx, name)
}

func (g *guard) CreateGroup(ctx context.Context, order pai.Group) (pai.Group, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.Group{}, err
	}
	return g.next.Groups.CreateGroup(ctx, order)
}

func (g *guard) ChangeGroup(ctx context.Context, change pai.GroupChange) (pai.Group, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.Group{}, err
	}
	return g.next.Groups.ChangeGroup(ctx, change)
}

func (g *guard) DeleteGroup(ctx context.Context, name pai.GroupName) error {
	if err := pai.Administrator.Check(ctx); err != nil {
		return err
	}
	return g.next.Groups.DeleteGroup(ctx, name)
}

func (g *guard) GrantStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName) (pai.GrantResult, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.GrantResult{}, err
	}
	return g.next.Groups.GrantStorage(ctx, group, storage)
}

func (g *guard) RevokeStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName) (pai.GrantResult, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.GrantResult{}, err
	}
	return g.next.Groups.RevokeStorage(ctx, group, storage)
}
