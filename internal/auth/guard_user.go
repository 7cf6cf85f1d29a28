package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Users(ctx context.Context) ([]pai.Account, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Users.Users(ctx)
}

func (g *guard) User(ctx context.Context, name pai.UserName) (pai.Account, error) {
	caller, err := person(ctx)
	if err != nil {
		return pai.Account{}, err
	}
	if caller.User != name && !caller.Admin {
		return pai.Account{}, pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to see other users.", caller.User)
	}
	return g.next.Users.User(ctx, name)
}

func (g *guard) CreateUser(ctx context.Context, order pai.NewUser) (warning string, err error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return "", err
	}
	return g.next.Users.CreateUser(ctx, order)
}

func (g *guard) ChangeUser(ctx context.Context, change pai.UserChange) (pai.Account, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.Account{}, err
	}
	return g.next.Users.ChangeUser(ctx, change)
}

func (g *guard) ChangeSelf(ctx context.Context, change pai.SelfChange) (pai.Account, error) {
	caller, err := person(ctx)
	if err != nil {
		return pai.Account{}, err
	}
	if caller.User != change.Name {
		return pai.Account{}, pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to change other users here.", caller.User)
	}
	return g.next.Users.ChangeSelf(ctx, change)
}

func (g *guard) DeleteUser(ctx context.Context, name pai.UserName) error {
	if err := pai.Administrator.Check(ctx); err != nil {
		return err
	}
	return g.next.Users.DeleteUser(ctx, name)
}

func (g *guard) AddToGroup(ctx context.Context, name pai.UserName, group pai.GroupName) error {
	if err := pai.Administrator.Check(ctx); err != nil {
		return err
	}
	return g.next.Users.AddToGroup(ctx, name, group)
}

func (g *guard) RemoveFromGroup(ctx context.Context, name pai.UserName, group pai.GroupName) error {
	if err := pai.Administrator.Check(ctx); err != nil {
		return err
	}
	return g.next.Users.RemoveFromGroup(ctx, name, group)
}

func (g *guard) SetGroups(ctx context.Context, name pai.UserName, groups []pai.GroupName) error {
	if err := pai.Administrator.Check(ctx); err != nil {
		return err
	}
	return g.next.Users.SetGroups(ctx, name, groups)
}
