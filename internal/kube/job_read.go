package kube

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// recordOf finds the record of a job. NoJobError.
func (c *Cluster) recordOf(id pai.JobID) (record, error) {
	r, ok := c.records.get(specs.RecordName(id))
	if !ok || r.id != id {
		return record{}, pai.NoJob(id)
	}
	return r, nil
}

// attempt finds an attempt at a job; -1 is the latest. NoJobError.
func (c *Cluster) attempt(id pai.JobID, number int) (attempt, error) {
	r, err := c.recordOf(id)
	if err != nil {
		return attempt{}, err
	}
	key := specs.Key(id)
	a, ok := attemptOf(r, c.jobs.in(key), c.pods.in(key), number)
	if !ok {
		return a, pai.Errorf(pai.NoJobError, "Job %s has no attempt %d.", id, number)
	}
	return a, nil
}

// Job finds one. NoJobError.
func (c *Cluster) Job(_ context.Context, id pai.JobID) (pai.Job, error) {
	a, err := c.attempt(id, -1)
	if err != nil {
		return pai.Job{}, err
	}
	j, findings := c.examine(a)
	if len(findings) > 0 {
		j.Finding = &findings[0]
	}
	if j.State == pai.JobWaiting && j.Finding != nil {
		j.Message = j.Finding.Line()
	}
	return j, nil
}

// examine works out how an attempt is, and why.
func (c *Cluster) examine(a attempt) (pai.Job, []pai.Finding) {
	now := c.now()
	j := a.status(now)
	j.Tags = c.tagsOf(a.record)
	if j.State == pai.JobSucceeded || j.State == pai.JobStopped {
		return j, nil
	}
	return j, doctor.Diagnose(c.facts(a, j, now))
}

// JobAttempt is a job as one of its attempts left it. NoJobError.
func (c *Cluster) JobAttempt(ctx context.Context, id pai.JobID, number int) (pai.Job, error) {
	if number < 0 {
		return pai.Job{}, pai.Errorf(pai.NoJobError, "Job %s has no attempt %d.", id, number)
	}
	a, err := c.attempt(id, number)
	if err != nil {
		return pai.Job{}, err
	}
	if a.last {
		return c.Job(ctx, id)
	}
	j := a.status(c.now())
	j.Tags = c.tagsOf(a.record)
	return j, nil
}

// JobConfig is the document of a job, without its secrets. NoJobError, NoJobConfigError.
func (c *Cluster) JobConfig(_ context.Context, id pai.JobID) ([]byte, error) {
	r, err := c.recordOf(id)
	if err != nil {
		return nil, err
	}
	obj, exists, err := c.rawRecords.GetByKey(c.namespace + "/" + r.name)
	if err != nil {
		return nil, err
	}
	if s, ok := obj.(*corev1.Secret); exists && ok && len(s.Data[specs.SourceField]) > 0 {
		return slices.Clone(s.Data[specs.SourceField]), nil
	}
	return nil, pai.Errorf(pai.NoJobConfigError, "Job config of %s is not found.", id)
}

// TaskHistory is every attempt at a task. NoJobError, NoTaskError.
func (c *Cluster) TaskHistory(_ context.Context, id pai.JobID, number int, role string, index int) (pai.TaskHistory, error) {
	if number < 0 {
		return pai.TaskHistory{}, pai.Errorf(pai.NoJobError, "Job %s has no attempt %d.", id, number)
	}
	a, err := c.attempt(id, number)
	if err != nil {
		return pai.TaskHistory{}, err
	}
	known := slices.ContainsFunc(a.record.roles, func(r specs.RoleSize) bool { return r.Name == role && index >= 0 && index < r.Instances })
	if !known {
		return pai.TaskHistory{}, pai.NoTask(role, index)
	}
	out := pai.TaskHistory{Job: id, Attempt: number, Role: role}
	tried := a.tries(role, index)
	for i, p := range tried {
		t := p.status(index)
		t.Retries = i
		out.Attempts = append(out.Attempts, t)
	}
	now := task(index, a.roles[role], tried)
	if len(out.Attempts) == 0 {
		out.Attempts = append(out.Attempts, now)
	} else {
		out.Attempts[len(out.Attempts)-1] = now
	}
	return out, nil
}

// Diagnose says why a job waits, failed, or does not end. It asks the file servers of a job whose tasks use them now, which takes at most
// a few seconds. NoJobError.
func (c *Cluster) Diagnose(ctx context.Context, id pai.JobID) (pai.Diagnosis, error) {
	a, err := c.attempt(id, -1)
	if err != nil {
		return pai.Diagnosis{}, err
	}
	if c.probes != nil && slices.ContainsFunc(a.pods, taskPod.usesStorages) {
		c.probes.askAll(ctx, c.serversOf(a))
		if a, err = c.attempt(id, -1); err != nil {
			return pai.Diagnosis{}, err
		}
	}
	j, findings := c.examine(a)
	return pai.Diagnosis{Job: id, State: j.State, Findings: findings, Seen: c.now()}, nil
}

// usesStorages tells whether a task's worker uses its storages now.
func (p taskPod) usesStorages() bool { return p.node != "" && !p.state.Done() }

// serversOf are the file servers of a job's storages.
func (c *Cluster) serversOf(a attempt) []Server {
	var out []Server
	for _, m := range a.mounts {
		if s, ok := c.serverFor(m.Storage); ok {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Server) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Version, b.Version))
	})
	return slices.Compact(out)
}

// tagsOf are the tags of a job, sorted.
func (c *Cluster) tagsOf(r record) []string {
	if len(r.roles) == 0 {
		return nil
	}
	rj, ok := c.jobs.get(specs.RoleJobName(r.id, r.roles[0].Name, 0))
	if !ok || rj.owner != r.uid {
		return nil
	}
	return rj.tags
}
