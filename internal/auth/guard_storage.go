package auth

import (
	"context"
	"slices"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) Storages(ctx context.Context) ([]pai.Storage, error) {
	caller, err := person(ctx)
	if err != nil {
		return nil, err
	}
	user, err := g.accounts.cluster.User(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	m := g.accounts.memberships(user)
	if !m.grants.Admin {
		return g.granted(ctx, m)
	}
	all, err := g.next.Storages.Storages(ctx)
	defaults := g.defaults(ctx, m.grants)
	for i := range all {
		all[i].Default = slices.Contains(defaults, all[i].Name)
	}
	return all, err
}

// defaults are the storages that an empty list in a job means.
func (g *guard) defaults(ctx context.Context, grants pai.Grants) []pai.StorageName {
	return grants.DefaultsAmong(func(name pai.StorageName) bool {
		_, err := g.next.Storages.Storage(ctx, name)
		return pai.CodeOf(err) != pai.NoStorageError
	})
}

// granted are the usable storages among those granted. They are looked up one by one, because the cluster may have a thousand others, and
// once for as long as no storage changes.
func (g *guard) granted(ctx context.Context, m *memberships) ([]pai.Storage, error) {
	generation := g.accounts.cluster.StoragesGeneration()
	if known := m.storages.Load(); known != nil && known.generation == generation {
		return slices.Clone(known.list), nil
	}
	defaults := g.defaults(ctx, m.grants)
	visible := make([]pai.Storage, 0, len(m.grants.Storages))
	for _, name := range slices.Sorted(slices.Values(m.grants.Storages)) {
		s, err := g.next.Storages.Storage(ctx, name)
		switch {
		case pai.CodeOf(err) == pai.NoStorageError:
			continue
		case err != nil:
			return nil, err
		case s.Usable():
			s.Default = slices.Contains(defaults, name)
			visible = append(visible, s)
		}
	}
	m.storages.Store(&grantedStorages{generation, slices.Clone(visible)})
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
	case !s.Usable():
		return pai.Storage{}, pai.Errorf(pai.NoStorageError, "Storage %s is not found: %s.", name, s.Reason)
	}
	s.Default = slices.Contains(g.defaults(ctx, grants), name)
	return s, nil
}

func (g *guard) AllStorages(ctx context.Context) ([]pai.StorageOverview, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return nil, err
	}
	if err := pai.Administrator.Check(ctx); err != nil {
		return nil, err
	}
	grants, err := g.accounts.Grants(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	all, err := g.next.Storages.AllStorages(ctx)
	defaults := g.defaults(ctx, grants)
	for i := range all {
		all[i].Default = slices.Contains(defaults, all[i].Name)
	}
	return all, err
}

func (g *guard) DeclareStorage(ctx context.Context, d pai.StorageDeclaration) (pai.DeclaredStorage, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.DeclaredStorage{}, err
	}
	return g.next.Storages.DeclareStorage(ctx, d)
}

func (g *guard) RemoveStorage(ctx context.Context, r pai.StorageRemoval) (pai.RemovedStorage, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.RemovedStorage{}, err
	}
	return g.next.Storages.RemoveStorage(ctx, r)
}
