package auth

import (
	"context"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// Grants adds up what a user's groups grant. NoUserError.
func (a *Accounts) Grants(ctx context.Context, name pai.UserName) (pai.Grants, error) {
	u, err := a.cluster.User(ctx, name)
	if err != nil {
		return pai.Grants{}, err
	}
	return a.grants(u), nil
}

func (a *Accounts) account(u pai.User) pai.Account {
	m := a.memberships(u)
	return u.Account(m.groups, m.grants)
}

// Users lists all users.
func (a *Accounts) Users(context.Context) ([]pai.Account, error) {
	users := a.cluster.Users()
	out := make([]pai.Account, len(users))
	for i, u := range users {
		out[i] = a.account(u)
	}
	return out, nil
}

// User finds one. NoUserError.
func (a *Accounts) User(ctx context.Context, name pai.UserName) (pai.Account, error) {
	u, err := a.cluster.User(ctx, name)
	if err != nil {
		return pai.Account{}, err
	}
	return a.account(u), nil
}

// group finds a group for the rules about memberships.
func (a *Accounts) group(ctx context.Context) func(pai.GroupName) (pai.Group, bool) {
	return func(name pai.GroupName) (pai.Group, bool) {
		g, err := a.cluster.Group(ctx, name)
		return g, err == nil
	}
}

// CreateUser adds a user. See [pai.UserService] for the errors.
func (a *Accounts) CreateUser(ctx context.Context, order pai.NewUser) (warning string, err error) {
	if err := order.Check(); err != nil {
		return "", err
	}
	groups, err := order.Groups(a.group(ctx))
	if err != nil {
		return "", err
	}
	if _, err := a.cluster.User(ctx, order.Name); err == nil { // before the costly hash
		return "", pai.Errorf(pai.ConflictUserError, "User name %s already exists.", order.Name)
	}
	hash, err := a.hash(ctx, order.Name, order.Password)
	if err != nil {
		return "", err
	}
	user := pai.User{Name: order.Name, Email: order.Email, Password: hash, Groups: groups, Extension: order.Extension}
	if err := a.cluster.CreateUser(ctx, user); err != nil {
		return "", err
	}
	return pai.WarnOfStorageAccount(order.Name, a.cluster.Users()), nil
}

// ChangeUser applies a change. See [pai.UserService] for the errors.
func (a *Accounts) ChangeUser(ctx context.Context, change pai.UserChange) (pai.Account, error) {
	check := change.Check
	if a.options.SignOn {
		check = change.CheckExtension
	}
	if err := check(); err != nil {
		return pai.Account{}, err
	}
	return a.change(ctx, change, func(pai.User) error { return nil })
}

// ChangeSelf applies a change of the caller's own record. The guard has compared the names.
func (a *Accounts) ChangeSelf(ctx context.Context, change pai.SelfChange) (pai.Account, error) {
	if a.options.SignOn {
		return a.ChangeUser(ctx, change.UserChange())
	}
	if err := change.Check(); err != nil {
		return pai.Account{}, err
	}
	if change.NewPassword == nil {
		return a.change(ctx, change.UserChange(), func(pai.User) error { return nil })
	}
	user, err := a.verifyOld(ctx, change)
	if err != nil {
		return pai.Account{}, err
	}
	return a.change(ctx, change.UserChange(), func(u pai.User) error {
		if u.Password != user.Password {
			return pai.Errorf(pai.ConflictUserError, "The password of %s has just been changed by others: try again.", u.Name)
		}
		return nil
	})
}

// verifyOld checks the old password, with the limit on guessing that logins have, and returns the user that it is the password of.
func (a *Accounts) verifyOld(ctx context.Context, change pai.SelfChange) (pai.User, error) {
	try := pai.Credentials{User: change.Name, Address: pai.OriginFrom(ctx).Address}
	if err := a.takeTry(try); err != nil {
		return pai.User{}, err
	}
	user, err := a.cluster.User(ctx, change.Name)
	if err != nil {
		return pai.User{}, err
	}
	matches, _, err := a.verify(ctx, user, *change.OldPassword)
	if err != nil {
		return pai.User{}, err
	}
	if !matches {
		return pai.User{}, pai.Errorf(pai.ForbiddenUserError, "oldPassword: the password is incorrect")
	}
	a.giveBack(try)
	return user, nil
}

// change applies a checked change to the user as allow agrees to it, and signs the user out where the password is a new one.
func (a *Accounts) change(ctx context.Context, change pai.UserChange, allow func(pai.User) error) (pai.Account, error) {
	var hash pai.PasswordHash
	if change.Password != nil {
		if _, err := a.cluster.User(ctx, change.Name); err != nil { // before the costly hash
			return pai.Account{}, err
		}
		var err error
		if hash, err = a.hash(ctx, change.Name, *change.Password); err != nil {
			return pai.Account{}, err
		}
	}
	u, err := a.cluster.ChangeUser(ctx, change.Name, change.Version, func(u pai.User) (pai.User, error) {
		if err := allow(u); err != nil {
			return u, err
		}
		out, err := u.Apply(change, a.group(ctx))
		if err != nil {
			return u, err
		}
		if change.Password != nil {
			out.Password = hash
		}
		return out, a.leavesAnAdministrator(u, out)
	})
	if err != nil {
		return pai.Account{}, err
	}
	if change.Password != nil {
		if err := a.signOut(ctx, u.Name); err != nil {
			return pai.Account{}, err
		}
	}
	return a.account(u), nil
}

// DeleteUser removes a user and the user's tokens. NoUserError, RemoveAdminError. Where an identity provider decides who is an administrator,
// nobody can take the rights away first, and the provider has others.
func (a *Accounts) DeleteUser(ctx context.Context, name pai.UserName) error {
	return a.cluster.DeleteUser(ctx, name, func(u pai.User) error {
		if a.grants(u).Admin && !a.options.SignOn {
			return pai.Errorf(pai.RemoveAdminError, "Admin %s is not allowed to remove.", name)
		}
		return nil
	})
}

// AddToGroup makes a user a member of a group. NoUserError, NoGroupError.
func (a *Accounts) AddToGroup(ctx context.Context, name pai.UserName, group pai.GroupName) error {
	if err := a.groupsExist(ctx, group); err != nil {
		return err
	}
	return a.changeGroups(ctx, name, func(groups []pai.GroupName) ([]pai.GroupName, error) {
		if slices.Contains(groups, group) {
			return groups, nil
		}
		return append(slices.Clone(groups), group), nil
	})
}

// RemoveFromGroup ends a membership, even one in a group that is no more. NoUserError, NoGroupError.
func (a *Accounts) RemoveFromGroup(ctx context.Context, name pai.UserName, group pai.GroupName) error {
	return a.changeGroups(ctx, name, func(groups []pai.GroupName) ([]pai.GroupName, error) {
		if !slices.Contains(groups, group) {
			return groups, a.groupsExist(ctx, group)
		}
		return slices.DeleteFunc(slices.Clone(groups), func(g pai.GroupName) bool { return g == group }), nil
	})
}

// SetGroups makes a user a member of exactly these groups. NoUserError, NoGroupError.
func (a *Accounts) SetGroups(ctx context.Context, name pai.UserName, groups []pai.GroupName) error {
	if err := a.groupsExist(ctx, groups...); err != nil {
		return err
	}
	var wanted []pai.GroupName
	for _, g := range groups {
		if !slices.Contains(wanted, g) {
			wanted = append(wanted, g)
		}
	}
	return a.changeGroups(ctx, name, func([]pai.GroupName) ([]pai.GroupName, error) { return wanted, nil })
}

func (a *Accounts) changeGroups(ctx context.Context, name pai.UserName, change func([]pai.GroupName) ([]pai.GroupName, error)) error {
	_, err := a.cluster.ChangeUser(ctx, name, "", func(u pai.User) (pai.User, error) {
		out, err := u, error(nil)
		if out.Groups, err = change(u.Groups); err != nil {
			return u, err
		}
		return out, a.leavesAnAdministrator(u, out)
	})
	return err
}

// leavesAnAdministrator refuses a change that takes the rights from the last one who has them: nobody could give them back. RemoveAdminError.
func (a *Accounts) leavesAnAdministrator(before, after pai.User) error {
	if !a.grants(before).Admin || a.grants(after).Admin {
		return nil
	}
	for _, u := range a.cluster.Users() {
		if u.Name != before.Name && a.grants(u).Admin {
			return nil
		}
	}
	return pai.Errorf(pai.RemoveAdminError, "User %s is the last administrator: make somebody else one first.", before.Name)
}

// groupsExist names all that do not with NoGroupError.
func (a *Accounts) groupsExist(ctx context.Context, groups ...pai.GroupName) error {
	var missing []string
	for _, name := range groups {
		if _, err := a.cluster.Group(ctx, name); err != nil {
			missing = append(missing, err.Error())
		}
	}
	if len(missing) > 0 {
		return pai.Errorf(pai.NoGroupError, "%s", strings.Join(missing, " "))
	}
	return nil
}
