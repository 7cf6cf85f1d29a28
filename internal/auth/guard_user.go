package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Profile(ctx context.Context) (pai.Profile, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return pai.Profile{}, err
	}
	return g.next.Users.Profile(ctx)
}

func (g *guard) CreateUser(ctx context.Context, order pai.NewUser) error {
	if err := pai.Administrator.Check(ctx); err != nil {
		return err
	}
	return g.next.Users.CreateUser(ctx, order)
}
