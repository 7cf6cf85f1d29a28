package auth

import (
	"context"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Group(ctx context.Context, name pai.GroupName) (pai.Group, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return pai.Group{}, err
	}
	return g.next.Groups.Group(ctx, name)
}

func (g *guard) ChangeGroup(ctx context.Context, change pai.GroupChange) (pai.Group, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.Group{}, err
	}
	return g.next.Groups.ChangeGroup(ctx, change)
}
