package auth

import (
	"context"
	"slices"

	pai "github.com/pai-storage/pai-storage"
)

// Profile tells who the caller is. The guard decides who may.
func (a *Accounts) Profile(ctx context.Context) (pai.Profile, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return pai.Profile{}, err
	}
	user, err := a.cluster.User(ctx, caller.User)
	if err != nil {
		return pai.Profile{}, err
	}
	groups := a.cluster.GroupsOf(user)
	profile := pai.Profile{Name: user.Name, Email: user.Email, Admin: pai.GrantsOf(groups).Admin}
	for _, g := range groups {
		profile.Groups = append(profile.Groups, g.Name)
	}
	return profile, nil
}

func (a *Accounts) grants(u pai.User) pai.Grants { return pai.GrantsOf(a.cluster.GroupsOf(u)) }

// Grants adds up what a user's groups grant. NoUserError.
func (a *Accounts) Grants(ctx context.Context, name pai.UserName) (pai.Grants, error) {
	u, err := a.cluster.User(ctx, name)
	if err != nil {
		return pai.Grants{}, err
	}
	return a.grants(u), nil
}

// CreateUser adds a user. See [pai.UserService] for the errors.
func (a *Accounts) CreateUser(ctx context.Context, order pai.NewUser) error {
	if err := order.Check(); err != nil {
		return err
	}
	groups := []pai.GroupName{pai.DefaultGroup}
	if order.Admin {
		groups = append(groups, pai.AdminGroup)
	}
	for _, vc := range order.VirtualClusters {
		g, err := a.cluster.Group(ctx, pai.GroupName(vc))
		if err != nil || !slices.Contains(g.ACLs().VirtualClusters, vc) || g.ACLs().Admin {
			return pai.Errorf(pai.NoVirtualClusterError, "Virtual cluster %s is not found.", vc)
		}
		if !slices.Contains(groups, g.Name) {
			groups = append(groups, g.Name)
		}
	}
	if _, err := a.cluster.User(ctx, order.Name); err == nil { // before the costly hash
		return pai.Errorf(pai.ConflictUserError, "User name %s already exists.", order.Name)
	}
	return a.cluster.CreateUser(ctx, pai.User{
		Name: order.Name, Email: order.Email, Password: hashPassword(order.Password), Groups: groups, Extension: order.Extension,
	})
}
