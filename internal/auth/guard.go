package auth

import (
	"context"
	"io"
	"slices"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Guard wraps services so that each call is checked against who is calling, as [pai.CallerFrom] says.
func Guard(next pai.Services, accounts *Accounts) pai.Services {
	g := &guard{next: next, accounts: accounts}
	return pai.Services{Storages: g, Groups: g, Users: g, Tokens: g, Jobs: g}
}

type guard struct {
	next     pai.Services
	accounts *Accounts
}

// person is the caller if that is somebody who signed in with a password.
func person(ctx context.Context) (pai.Caller, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return pai.Caller{}, err
	}
	return pai.CallerFrom(ctx)
}

// ownerOrAdministrator lets those through who may see a job.
func ownerOrAdministrator(ctx context.Context, id pai.JobID) error {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return err
	}
	if caller.User != id.User && !caller.Admin {
		return pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to access job %s.", caller.User, id)
	}
	return nil
}

func (g *guard) Login(ctx context.Context, c pai.Credentials) (pai.Session, error) {
	return g.next.Tokens.Login(ctx, c)
}

func (g *guard) Authenticate(ctx context.Context, token string) (pai.Caller, error) {
	return g.next.Tokens.Authenticate(ctx, token)
}

func (g *guard) Logout(ctx context.Context) error {
	if err := pai.Person.Check(ctx); err != nil {
		return err
	}
	return g.next.Tokens.Logout(ctx)
}

func (g *guard) Issue(ctx context.Context, lifetime time.Duration) (string, error) {
	if err := pai.Person.Check(ctx); err != nil {
		return "", err
	}
	return g.next.Tokens.Issue(ctx, lifetime)
}

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

func (g *guard) Storages(ctx context.Context) ([]pai.Storage, error) {
	caller, err := person(ctx)
	if err != nil {
		return nil, err
	}
	grants, err := g.accounts.Grants(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	all, err := g.next.Storages.Storages(ctx)
	if err != nil {
		return nil, err
	}
	visible := all[:0]
	for _, s := range all {
		if grants.Admin || (s.Bound && grants.MayMount(s.Name)) {
			s.Default = slices.Contains(grants.Defaults, s.Name)
			visible = append(visible, s)
		}
	}
	return visible, nil
}

func (g *guard) Storage(ctx context.Context, name pai.StorageName) (pai.Storage, error) {
	caller, err := person(ctx)
	if err != nil {
		return pai.Storage{}, err
	}
	grants, err := g.accounts.Grants(ctx, caller.User)
	if err != nil {
		return pai.Storage{}, err
	}
	s, err := g.next.Storages.Storage(ctx, name)
	if err != nil {
		return pai.Storage{}, err
	}
	switch {
	case grants.Admin:
	case !grants.MayMount(name):
		return pai.Storage{}, pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to access %s.", caller.User, name)
	case !s.Bound:
		return pai.Storage{}, pai.Errorf(pai.NoStorageError, "Storage %s is not found: %s.", name, s.Reason)
	}
	s.Default = slices.Contains(grants.Defaults, name)
	return s, nil
}

// Submit decides whose the job is, where it runs, and what it mounts where, whatever the submission says.
func (g *guard) Submit(ctx context.Context, s pai.Submission) (pai.JobID, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return pai.JobID{}, err
	}
	grants, err := g.accounts.Grants(ctx, caller.User)
	if err != nil {
		return pai.JobID{}, err
	}
	all, err := g.next.Storages.Storages(ctx)
	if err != nil {
		return pai.JobID{}, err
	}
	storages := make(map[pai.StorageName]pai.Storage, len(all))
	for _, st := range all {
		storages[st.Name] = st
	}
	s.Owner = caller.User
	if s.VirtualCluster, err = g.virtualCluster(caller.User, s.Spec.VirtualCluster, grants); err != nil {
		return s.ID(), err
	}
	if s.Mounts, err = pai.MountsFor(caller.User, s.Spec.Storages, grants, storages); err != nil {
		return s.ID(), err
	}
	return g.next.Jobs.Submit(ctx, s)
}

// defaultVirtualCluster is where jobs run that do not say.
const defaultVirtualCluster = "default"

func (g *guard) virtualCluster(user pai.UserName, wanted string, grants pai.Grants) (string, error) {
	if wanted == "" {
		wanted = defaultVirtualCluster
	}
	switch {
	case slices.Contains(grants.VirtualClusters, wanted):
		return wanted, nil
	case g.accounts.knowsVirtualCluster(wanted):
		return "", pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to use virtual cluster %s.", user, wanted)
	}
	return "", pai.Errorf(pai.NoVirtualClusterError, "Virtual cluster %s is not found.", wanted)
}

func (g *guard) Job(ctx context.Context, id pai.JobID) (pai.Job, error) {
	if err := ownerOrAdministrator(ctx, id); err != nil {
		return pai.Job{}, err
	}
	return g.next.Jobs.Job(ctx, id)
}

func (g *guard) Log(ctx context.Context, r pai.LogRequest) (io.ReadCloser, error) {
	if err := ownerOrAdministrator(ctx, r.Job); err != nil {
		return nil, err
	}
	return g.next.Jobs.Log(ctx, r)
}
