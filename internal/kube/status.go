package kube

import (
	"slices"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// halfMade is how long the Jobs of a record may be missing before it counts as left behind by a server that died.
const halfMade = time.Minute

// attempt is one attempt at a job: the Jobs of its task roles and their pods.
type attempt struct {
	record
	number int
	last   bool
	roles  map[string]roleJob
	pods   []taskPod
	tried  map[taskKey][]taskPod // the same by task, the latest last
	made   bool                  // every role has its Job
	aside  *specs.SetAside       // why it has no tasks now and will have some again; nil when that is not so
}

// taskKey names a task of an attempt.
type taskKey struct {
	role  string
	index int
}

// tries are the pods of one task, the latest last.
func (a attempt) tries(role string, index int) []taskPod { return a.tried[taskKey{role, index}] }

// attemptOf picks the objects of one attempt; number -1 is the latest. What belongs to an earlier job of the same name is left out.
func attemptOf(r record, jobs []roleJob, pods []taskPod, number int) (attempt, bool) {
	latest := 0
	for _, rj := range jobs {
		if rj.owner == r.uid {
			latest = max(latest, rj.attempt)
		}
	}
	if number < 0 {
		number = latest
	}
	a := attempt{record: r, number: number, last: number == latest, roles: map[string]roleJob{}, tried: map[taskKey][]taskPod{}}
	owners := map[string]bool{}
	for _, rj := range jobs {
		if rj.owner == r.uid && rj.attempt == number {
			a.roles[rj.role] = rj
			owners[rj.uid] = true
		}
	}
	for _, p := range pods {
		if owners[p.owner] {
			a.pods = append(a.pods, p)
		}
	}
	for _, p := range a.pods {
		key := taskKey{p.role, p.index}
		a.tried[key] = append(a.tried[key], p)
	}
	for _, tried := range a.tried {
		slices.SortStableFunc(tried, func(a, b taskPod) int { return a.created.Compare(b.created) })
	}
	a.made = len(a.roles) == len(r.roles)
	for _, rj := range a.roles {
		if rj.suspended && rj.stopped == "" && rj.aside != nil && (a.aside == nil || rj.aside.Until.After(a.aside.Until)) {
			a.aside = rj.aside
		}
	}
	if r.held {
		a.mounts = mountedAs(r.mounts, a.roles)
	}
	a.held = r.held && !a.made && a.number == 0
	return a, number <= latest
}

// mountedAs are the mounts of a job that was held, as its Jobs have them: its record was written before anybody knew.
func mountedAs(mounts []specs.KeptMount, roles map[string]roleJob) []specs.KeptMount {
	mounts = slices.Clone(mounts)
	for i, m := range mounts {
		for _, rj := range roles {
			mounts[i].ReadOnly = slices.Contains(rj.readOnly, string(m.Storage))
		}
	}
	return mounts
}

// status works out how a job is from one attempt at it.
func (a attempt) status(now time.Time) pai.Job {
	j := pai.Job{ID: a.id, UID: a.uid, Object: a.name, VirtualCluster: a.virtualCluster, Submitted: a.created, Priority: a.priority, Attempt: a.number,
		Stopped: a.stoppedByUser()}
	for _, m := range a.mounts {
		j.Storages = append(j.Storages, m.Storage)
	}
	for _, size := range a.record.roles {
		role := pai.RoleStatus{Name: size.Name}
		for i := range size.Instances {
			role.Tasks = append(role.Tasks, task(i, a.roles[size.Name], a.tries(size.Name, i)))
		}
		j.Roles = append(j.Roles, role)
	}
	j.State = a.state(j.Roles)
	if a.halfMade(now) {
		j.State, j.Completed = pai.JobFailed, a.created
		j.Message = "the server stopped while it created this job; submit it again under another name"
		return j
	}
	if j.State == pai.JobFailed && a.last && a.number < a.retries {
		j.State = pai.JobWaiting // the next attempt is about to be made
	}
	times(&j, a.roles)
	if j.State == pai.JobWaiting {
		j.Message = firstMessage(j.Roles)
	}
	if j.State.Done() {
		exit(&j, a.roles)
	}
	return j
}

// halfMade tells whether a server died while it made the first attempt.
func (a attempt) halfMade(now time.Time) bool {
	return !a.made && !a.held && a.number == 0 && !a.stoppedByUser() && now.Sub(a.created) > halfMade
}

func (a attempt) stoppedByUser() bool {
	for _, rj := range a.roles {
		if rj.stopped == specs.StoppedByUser {
			return true
		}
	}
	return false
}

// decided is how the attempt ends, as soon as that is sure: one role has failed, one that decides has succeeded, or all have succeeded.
func (a attempt) decided() (pai.JobState, bool) {
	succeeded := 0
	var first time.Time
	state := pai.JobState("")
	decide := func(as pai.JobState, at time.Time) {
		if state == "" || at.Before(first) {
			state, first = as, at
		}
	}
	for _, rj := range a.roles {
		switch {
		case rj.state == pai.JobFailed:
			decide(pai.JobFailed, rj.completed)
		case rj.state == pai.JobSucceeded && rj.decides:
			decide(pai.JobSucceeded, rj.completed)
			succeeded++
		case rj.state == pai.JobSucceeded:
			succeeded++
		}
	}
	if state == "" && a.made && succeeded == len(a.roles) {
		return pai.JobSucceeded, true
	}
	return state, state != ""
}

// state is the job's. What is decided counts more than that somebody stopped it later.
func (a attempt) state(roles []pai.RoleStatus) pai.JobState {
	if state, ok := a.decided(); ok {
		return state
	}
	if a.stoppedByUser() {
		for _, p := range a.pods {
			if !p.state.Done() {
				return pai.JobStopping
			}
		}
		return pai.JobStopped
	}
	if a.aside != nil {
		return pai.JobWaiting // whatever its old tasks still do
	}
	for _, role := range roles {
		for _, t := range role.Tasks {
			if t.State != pai.JobWaiting {
				return pai.JobRunning
			}
		}
	}
	return pai.JobWaiting
}

// task works out how a task is from its role's Job and the pods that tried it.
func task(index int, role roleJob, tried []taskPod) pai.TaskStatus {
	t := pai.TaskStatus{Index: index, State: pai.JobWaiting}
	if len(tried) == 0 {
		switch {
		case role.state.Done(): // its pods were cleaned up
			t.State, t.Completed = role.state, role.completed
		case role.stopped != "":
			t.State, t.Completed = pai.JobStopped, role.stoppedAt
		}
		return t
	}
	t = tried[len(tried)-1].status(index)
	t.Created, t.Retries = tried[0].created, len(tried)-1
	switch {
	case t.State == pai.JobFailed && role.stopped != "" && !role.state.Done():
		t.State = pai.JobStopped
	case t.State == pai.JobFailed && !role.state.Done() && t.Retries < role.retries:
		t.State = pai.JobWaiting // Kubernetes is about to try again
	}
	return t
}

// status is one try at a task.
func (p taskPod) status(index int) pai.TaskStatus {
	t := pai.TaskStatus{Index: index, UID: p.uid, IP: p.ip, Node: p.node, State: p.state, Message: p.message, ExitCode: p.exitCode,
		Created: p.created, Started: p.started, Completed: p.completed}
	if !p.deleting.IsZero() && !p.state.Done() {
		t.State = pai.JobStopping
	}
	return t
}

// times sets when the first task started and, once the job is done, when its last role was.
func times(j *pai.Job, byRole map[string]roleJob) {
	for _, role := range j.Roles {
		for _, t := range role.Tasks {
			if !t.Started.IsZero() && (j.Started.IsZero() || t.Started.Before(j.Started)) {
				j.Started = t.Started
			}
		}
	}
	if !j.State.Done() {
		return
	}
	for _, rj := range byRole {
		switch {
		case rj.state == j.State && rj.completed.After(j.Completed):
			j.Completed = rj.completed
		case j.State == pai.JobStopped && rj.stoppedAt.After(j.Completed):
			j.Completed = rj.stoppedAt
		}
	}
}

// exit finds the task that decided how the job ended: the first that failed, or else the last that succeeded.
func exit(j *pai.Job, byRole map[string]roleJob) {
	var decisive time.Time
	for _, role := range j.Roles {
		for _, t := range role.Tasks {
			if t.State != j.State || t.ExitCode == nil {
				continue
			}
			earlier := j.State == pai.JobFailed && t.Completed.Before(decisive)
			later := j.State == pai.JobSucceeded && t.Completed.After(decisive)
			if j.ExitCode == nil || earlier || later {
				j.ExitCode, j.ExitRole, j.ExitTask, decisive = t.ExitCode, role.Name, t.Index, t.Completed
				j.Message = t.Message
			}
		}
	}
	for _, rj := range byRole {
		if j.Message == "" && rj.state == j.State {
			j.Message = rj.message
		}
	}
}

func firstMessage(roles []pai.RoleStatus) string {
	for _, role := range roles {
		for _, t := range role.Tasks {
			if t.Message != "" {
				return t.Message
			}
		}
	}
	return ""
}
