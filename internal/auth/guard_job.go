package auth

import (
	"cmp"
	"context"
	"io"
	"slices"

	pai "github.com/pai-storage/pai-storage"
)

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
	s.MountTypes = pai.MountTypes(s.Mounts, storages)
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
	return "", pai.Errorf(pai.ForbiddenUserError, "User %s is not allowed to use virtual cluster %s. [%s]", user, wanted, pai.RefusedVirtualCluster)
}

func (g *guard) Job(ctx context.Context, id pai.JobID) (pai.Job, error) {
	if err := pai.MayHave(ctx, id); err != nil {
		return pai.Job{}, err
	}
	j, err := g.next.Jobs.Job(ctx, id)
	return forCaller(ctx, j), err
}

// forCaller leaves out of a job's finding what the caller may not know.
func forCaller(ctx context.Context, j pai.Job) pai.Job {
	if caller, err := pai.CallerFrom(ctx); err == nil && j.Finding != nil {
		f := j.Finding.For(caller)
		j.Finding = &f
	}
	return j
}

// Jobs shows administrators the jobs of all, and others their own, whatever user they ask for.
func (g *guard) Jobs(ctx context.Context, q pai.JobQuery) (pai.JobPage, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return pai.JobPage{}, err
	}
	switch {
	case caller.Admin:
	case q.User == "":
		q.User = caller.User
	case q.User != caller.User:
		return pai.JobPage{Jobs: []*pai.JobSummary{}}, nil
	}
	return g.next.Jobs.Jobs(ctx, q)
}

func (g *guard) JobAttempt(ctx context.Context, id pai.JobID, attempt int) (pai.Job, error) {
	if err := pai.MayHave(ctx, id); err != nil {
		return pai.Job{}, err
	}
	j, err := g.next.Jobs.JobAttempt(ctx, id, attempt)
	return forCaller(ctx, j), err
}

func (g *guard) JobConfig(ctx context.Context, id pai.JobID) ([]byte, error) {
	if err := pai.MayHave(ctx, id); err != nil {
		return nil, err
	}
	return g.next.Jobs.JobConfig(ctx, id)
}

func (g *guard) TaskHistory(ctx context.Context, id pai.JobID, attempt int, role string, task int) (pai.TaskHistory, error) {
	if err := pai.MayHave(ctx, id); err != nil {
		return pai.TaskHistory{}, err
	}
	return g.next.Jobs.TaskHistory(ctx, id, attempt, role, task)
}

func (g *guard) JobEvents(ctx context.Context, id pai.JobID) ([]pai.JobEvent, error) {
	if err := pai.MayHave(ctx, id); err != nil {
		return nil, err
	}
	return g.next.Jobs.JobEvents(ctx, id)
}

func (g *guard) Diagnose(ctx context.Context, id pai.JobID) (pai.Diagnosis, error) {
	if err := pai.MayHave(ctx, id); err != nil {
		return pai.Diagnosis{}, err
	}
	d, err := g.next.Jobs.Diagnose(ctx, id)
	caller, who := pai.CallerFrom(ctx)
	if err != nil || who != nil {
		return pai.Diagnosis{}, cmp.Or(err, who)
	}
	for i, f := range d.Findings {
		d.Findings[i] = f.For(caller)
	}
	return d, nil
}

func (g *guard) StopJob(ctx context.Context, id pai.JobID) error {
	if err := pai.MayHave(ctx, id); err != nil {
		return err
	}
	return g.next.Jobs.StopJob(ctx, id)
}

func (g *guard) DeleteJob(ctx context.Context, id pai.JobID) error {
	if err := pai.MayHave(ctx, id); err != nil {
		return err
	}
	return g.next.Jobs.DeleteJob(ctx, id)
}

func (g *guard) TagJob(ctx context.Context, id pai.JobID, tag string) error {
	if err := pai.MayHave(ctx, id); err != nil {
		return err
	}
	if err := pai.CheckTag(tag); err != nil {
		return err
	}
	return g.next.Jobs.TagJob(ctx, id, tag)
}

func (g *guard) UntagJob(ctx context.Context, id pai.JobID, tag string) error {
	if err := pai.MayHave(ctx, id); err != nil {
		return err
	}
	return g.next.Jobs.UntagJob(ctx, id, tag)
}

func (g *guard) Log(ctx context.Context, r pai.LogRequest) (io.ReadCloser, error) {
	if err := pai.MayHave(ctx, r.Job); err != nil {
		return nil, err
	}
	return g.next.Jobs.Log(ctx, r)
}
