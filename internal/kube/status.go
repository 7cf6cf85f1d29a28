package kube

import (
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// halfMade is how long the Jobs of a record may be missing before it counts as left behind by a server that died.
const halfMade = time.Minute

// status works out how a job is from its record, the Jobs of its task roles, and their pods.
func status(r record, jobs []roleJob, pods []taskPod, now time.Time) pai.Job {
	j := pai.Job{ID: r.id, UID: r.uid, Object: r.name, VirtualCluster: r.virtualCluster, Submitted: r.created}
	byRole := map[string]roleJob{}
	for _, rj := range jobs {
		byRole[rj.role] = rj
	}
	for _, size := range r.roles {
		role := pai.RoleStatus{Name: size.Name}
		for i := range size.Instances {
			role.Tasks = append(role.Tasks, task(i, byRole[size.Name], tries(pods, size.Name, i)))
		}
		j.Roles = append(j.Roles, role)
	}
	j.State = jobState(r, byRole, j.Roles)
	if len(byRole) < len(r.roles) && now.Sub(r.created) > halfMade {
		j.State, j.Completed = pai.JobFailed, r.created
		j.Message = "the server stopped while it created this job; submit it again under another name"
		return j
	}
	times(&j, byRole)
	if j.State == pai.JobWaiting {
		j.Message = firstMessage(j.Roles)
	}
	if j.State.Done() {
		exit(&j, byRole)
	}
	return j
}

// task works out how a task is from its role's Job and the pods that tried it.
func task(index int, role roleJob, tried []taskPod) pai.TaskStatus {
	t := pai.TaskStatus{Index: index, State: pai.JobWaiting}
	if len(tried) == 0 {
		if role.state.Done() { // its pods were cleaned up
			t.State, t.Completed = role.state, role.completed
		}
		return t
	}
	p := tried[len(tried)-1]
	t.UID, t.IP, t.Node, t.State, t.Message, t.ExitCode = p.uid, p.ip, p.node, p.state, p.message, p.exitCode
	t.Created, t.Started, t.Completed, t.Retries = tried[0].created, p.started, p.completed, len(tried)-1
	if t.State == pai.JobFailed && !role.state.Done() && t.Retries < role.retries {
		t.State = pai.JobWaiting // Kubernetes is about to try again
	}
	return t
}

func jobState(r record, byRole map[string]roleJob, roles []pai.RoleStatus) pai.JobState {
	succeeded := 0
	for _, rj := range byRole {
		switch rj.state {
		case pai.JobFailed:
			return pai.JobFailed
		case pai.JobSucceeded:
			succeeded++
		}
	}
	if succeeded == len(r.roles) {
		return pai.JobSucceeded
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
		if rj.state == j.State && rj.completed.After(j.Completed) {
			j.Completed = rj.completed
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
