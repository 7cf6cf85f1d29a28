package auth

import (
	"context"
	"io"
	"slices"

	pai "github.com/pai-storage/pai-storage"
)

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
	if s.VirtualCluster, err = g.virtualCluster(ctx, caller.User, s.Spec.VirtualCluster, grants); err != nil {
		return s.ID(), err
	}
	if s.Mounts, err = pai.MountsFor(caller.User, s.Spec.Storages, grants, storages); err != nil {
		return s.ID(), err
	}
	return g.next.Jobs.Submit(ctx, s)
}

// defaultVirtualCluster is where jobs run that do not say.
const defaultVirtualCluster = "default"

func (g *guard) virtualCluster(ctx context.Context, user pai.UserName, wanted string, grants pai.Grants) (string, error) {
	if wanted == "" {
		wanted = defaultVirtualCluster
	}
	if slices.Contains(grants.VirtualClusters, wanted) {
		return wanted, nil
	}
	if _, err := g.next.VirtualClusters.VirtualCluster(ctx, wanted); err != nil {
		return "", err
	}
	return "", pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to use virtual cluster %s.", user, wanted)
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
