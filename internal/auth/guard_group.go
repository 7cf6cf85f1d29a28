package auth

import (
	"context"
	"fmt"

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

func (g *guard) RevokeStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName, stopJobs bool) (pai.GrantResult, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return pai.GrantResult{}, err
	}
	result, err := g.next.Groups.RevokeStorage(ctx, group, storage, false)
	if err != nil {
		return result, err
	}
	if result.Jobs, err = g.withoutGrant(ctx, storage); err != nil || !stopJobs {
		return result, err
	}
	for _, id := range result.Jobs {
		if err := g.next.Jobs.StopJob(ctx, id); err != nil && pai.CodeOf(err) != pai.NoJobError {
			return result, fmt.Errorf("group %s has storage %s no more, and job %s goes on: %w", group, storage, id, err)
		}
	}
	result.Stopped = len(result.Jobs) > 0
	return result, nil
}

// withoutGrant are the jobs that are not done and mount the storage, although no group of their users grants it.
func (g *guard) withoutGrant(ctx context.Context, storage pai.StorageName) ([]pai.JobID, error) {
	page, err := g.next.Jobs.Jobs(ctx, pai.JobQuery{
		Storage: storage, States: []pai.JobState{pai.JobWaiting, pai.JobRunning}, Limit: pai.MaxJobLimit,
		Order: pai.JobOrder{Field: pai.ByUser, Ascending: true},
	})
	if err != nil {
		return nil, err
	}
	jobs := []pai.JobID{}
	for _, j := range page.Jobs {
		grants, err := g.accounts.Grants(ctx, j.ID.User)
		if err != nil && pai.CodeOf(err) != pai.NoUserError {
			return nil, err
		}
		if err != nil || !grants.MayMount(storage) {
			jobs = append(jobs, j.ID)
		}
	}
	return jobs, nil
}
