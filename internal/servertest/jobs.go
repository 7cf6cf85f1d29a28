package servertest

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Jobs are jobs in memory, in whatever state a test wants them. Use it with [StartJobs] where a test of a front end needs states that no
// in-memory Kubernetes comes to by itself; that jobs become what they should be in Kubernetes is tested elsewhere.
type Jobs struct {
	mu   sync.Mutex
	jobs map[pai.JobID]*Record
}

// Record is a job with everything that can be asked about it.
type Record struct {
	Job      pai.Job
	Storages []pai.StorageName
	Findings []pai.Finding
	Events   []pai.JobEvent
	Config   string
	Log      string
}

// StartJobs runs a server whose jobs are those of the test. They are guarded as the true ones are.
func StartJobs(t testing.TB, log io.Writer, jobs *Jobs) *Server {
	t.Helper()
	return start(t, log, setup{jobs: jobs})
}

// Put makes a job, or replaces it.
func (m *Jobs) Put(r Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs == nil {
		m.jobs = map[pai.JobID]*Record{}
	}
	if len(r.Findings) > 0 {
		r.Job.Finding = &r.Findings[0]
	}
	m.jobs[r.Job.ID] = &r
}

// Change changes a job that is there, and says whether it is.
func (m *Jobs) Change(id pai.JobID, change func(*Record)) bool {
	m.mu.Lock()
	r, ok := m.jobs[id]
	if !ok {
		m.mu.Unlock()
		return false
	}
	changed := *r
	change(&changed)
	if changed.Job.Finding = nil; len(changed.Findings) > 0 {
		changed.Job.Finding = &changed.Findings[0]
	}
	m.jobs[id] = &changed
	m.mu.Unlock()
	return true
}

func (m *Jobs) record(id pai.JobID) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.jobs[id]; ok {
		return *r, nil
	}
	return Record{}, pai.NoJob(id)
}

// Submit makes a job that waits.
func (m *Jobs) Submit(_ context.Context, s pai.Submission) (pai.JobID, error) {
	id := s.ID()
	if _, err := m.record(id); err == nil {
		return id, pai.Errorf(pai.ConflictJobError, "Job name %s already exists.", id)
	}
	job := pai.Job{ID: id, VirtualCluster: s.VirtualCluster, State: pai.JobWaiting, Submitted: time.Now()}
	for _, role := range s.Spec.TaskRoles {
		status := pai.RoleStatus{Name: role.Name}
		for i := range role.Instances {
			status.Tasks = append(status.Tasks, pai.TaskStatus{Index: i, State: pai.JobWaiting})
		}
		job.Roles = append(job.Roles, status)
	}
	var storages []pai.StorageName
	for _, mount := range s.Mounts {
		storages = append(storages, mount.Storage)
	}
	m.Put(Record{Job: job, Storages: storages, Config: string(s.Source)})
	return id, nil
}

// Job finds one.
func (m *Jobs) Job(_ context.Context, id pai.JobID) (pai.Job, error) {
	r, err := m.record(id)
	return r.Job, err
}

// Jobs lists them, the latest first, whatever order the query asks for.
func (m *Jobs) Jobs(_ context.Context, q pai.JobQuery) (pai.JobPage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	page := pai.JobPage{Jobs: []*pai.JobSummary{}}
	for _, r := range m.jobs {
		if r.selected(q) {
			page.Jobs = append(page.Jobs, r.summary())
		}
	}
	slices.SortFunc(page.Jobs, func(a, b *pai.JobSummary) int {
		if c := b.Submitted.Compare(a.Submitted); c != 0 {
			return c
		}
		return strings.Compare(a.ID.String(), b.ID.String())
	})
	page.Total = len(page.Jobs)
	limit := q.Limit
	if limit == 0 {
		limit = pai.DefaultJobLimit
	}
	from := min(q.Offset, page.Total)
	page.Jobs = page.Jobs[from:min(from+limit, page.Total)]
	return page, nil
}

func (r *Record) selected(q pai.JobQuery) bool {
	tagged := func(tags []string) bool {
		return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(r.Job.Tags, tag) })
	}
	return (q.User == "" || q.User == r.Job.ID.User) &&
		(q.VirtualCluster == "" || q.VirtualCluster == r.Job.VirtualCluster) &&
		(len(q.States) == 0 || slices.Contains(q.States, r.Job.State)) &&
		(q.Keyword == "" || strings.Contains(r.Job.ID.String(), q.Keyword) || strings.Contains(r.Job.VirtualCluster, q.Keyword)) &&
		(len(q.TagsAny) == 0 || tagged(q.TagsAny)) && !tagged(q.TagsNone) &&
		(q.Storage == "" || slices.Contains(r.Storages, q.Storage))
}

func (r *Record) summary() *pai.JobSummary {
	j := r.Job
	out := &pai.JobSummary{
		ID: j.ID, UID: j.UID, Object: j.Object, VirtualCluster: j.VirtualCluster, Priority: j.Priority, State: j.State, Stopped: j.Stopped,
		Attempt: j.Attempt, Tags: j.Tags, Submitted: j.Submitted, Started: j.Started, Completed: j.Completed, ExitCode: j.ExitCode,
		TaskRoles: len(j.Roles), Storages: r.Storages, Finding: j.Finding,
	}
	for _, role := range j.Roles {
		out.Tasks += len(role.Tasks)
	}
	return out
}

// JobAttempt finds the last one.
func (m *Jobs) JobAttempt(ctx context.Context, id pai.JobID, attempt int) (pai.Job, error) {
	job, err := m.Job(ctx, id)
	if err == nil && attempt != job.Attempt {
		return pai.Job{}, pai.NoJob(id)
	}
	return job, err
}

// JobConfig is the document that the record has.
func (m *Jobs) JobConfig(_ context.Context, id pai.JobID) ([]byte, error) {
	r, err := m.record(id)
	if err == nil && r.Config == "" {
		return nil, pai.Errorf(pai.NoJobConfigError, "Config of job %s is not found.", id)
	}
	return []byte(r.Config), err
}

// TaskHistory is the task as it is now.
func (m *Jobs) TaskHistory(_ context.Context, id pai.JobID, attempt int, role string, task int) (pai.TaskHistory, error) {
	r, err := m.record(id)
	if err != nil {
		return pai.TaskHistory{}, err
	}
	for _, known := range r.Job.Roles {
		if known.Name == role && task >= 0 && task < len(known.Tasks) {
			return pai.TaskHistory{Job: id, Attempt: attempt, Role: role, Attempts: known.Tasks[task : task+1]}, nil
		}
	}
	return pai.TaskHistory{}, pai.NoTask(role, task)
}

// JobEvents are those of the record.
func (m *Jobs) JobEvents(_ context.Context, id pai.JobID) ([]pai.JobEvent, error) {
	r, err := m.record(id)
	return r.Events, err
}

// Diagnose says what the record says.
func (m *Jobs) Diagnose(_ context.Context, id pai.JobID) (pai.Diagnosis, error) {
	r, err := m.record(id)
	return pai.Diagnosis{Job: id, State: r.Job.State, Findings: r.Findings, Seen: time.Now()}, err
}

// StopJob stops a job at once.
func (m *Jobs) StopJob(_ context.Context, id pai.JobID) error {
	stopped := m.Change(id, func(r *Record) {
		if !r.Job.State.Done() {
			r.Job.State, r.Job.Stopped, r.Job.Completed, r.Findings = pai.JobStopped, true, time.Now(), nil
		}
	})
	if !stopped {
		return pai.NoJob(id)
	}
	return nil
}

// DeleteJob forgets a job.
func (m *Jobs) DeleteJob(_ context.Context, id pai.JobID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.jobs[id]; !ok {
		return pai.NoJob(id)
	}
	delete(m.jobs, id)
	return nil
}

// TagJob adds a tag.
func (m *Jobs) TagJob(_ context.Context, id pai.JobID, tag string) error {
	tagged := m.Change(id, func(r *Record) {
		if !slices.Contains(r.Job.Tags, tag) {
			r.Job.Tags = append(slices.Clone(r.Job.Tags), tag)
			slices.Sort(r.Job.Tags)
		}
	})
	if !tagged {
		return pai.NoJob(id)
	}
	return nil
}

// UntagJob takes a tag off.
func (m *Jobs) UntagJob(_ context.Context, id pai.JobID, tag string) error {
	found := false
	there := m.Change(id, func(r *Record) {
		if i := slices.Index(r.Job.Tags, tag); i >= 0 {
			r.Job.Tags, found = slices.Delete(slices.Clone(r.Job.Tags), i, i+1), true
		}
	})
	switch {
	case !there:
		return pai.NoJob(id)
	case !found:
		return pai.Errorf(pai.NoTagError, "Tag %s is not found in job %s.", tag, id)
	}
	return nil
}

// Log is that of the record, for each task, once the job has started.
func (m *Jobs) Log(ctx context.Context, r pai.LogRequest) (io.ReadCloser, error) {
	found, err := m.record(r.Job)
	for r.Follow && err == nil && found.Job.State == pai.JobWaiting {
		select {
		case <-time.After(10 * time.Millisecond):
			found, err = m.record(r.Job)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	if found.Log == "" || found.Job.State == pai.JobWaiting {
		return nil, pai.Errorf(pai.NoTaskLogError, "Task %s[%d] has not started.", r.Role, r.Task)
	}
	return io.NopCloser(strings.NewReader(found.Log)), nil
}
