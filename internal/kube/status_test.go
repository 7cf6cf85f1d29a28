package kube

import (
	"fmt"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

func TestStatus(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	code := func(n int) *int { return &n }
	one := []specs.RoleSize{{Name: "w", Instances: 2}}
	two := []specs.RoleSize{{Name: "w", Instances: 1}, {Name: "p", Instances: 1}}
	waiting := roleJob{role: "w", state: pai.JobWaiting}
	failed := taskPod{role: "w", index: 0, state: pai.JobFailed, exitCode: code(3), message: "exit code 3 (Error)", created: at(1), started: at(2), completed: at(3)}
	running := taskPod{role: "w", index: 1, state: pai.JobRunning, created: at(1), started: at(2)}
	for _, c := range []struct {
		name    string
		retries int
		roles   []specs.RoleSize
		jobs    []roleJob
		pods    []taskPod
		now     time.Time
		state   pai.JobState
		message string
		exit    *int
		tasks   []pai.JobState
	}{
		{name: "fresh", roles: one, jobs: []roleJob{waiting}, now: at(0), state: pai.JobWaiting, tasks: []pai.JobState{"WAITING", "WAITING"}},
		{name: "image is missing", roles: one, jobs: []roleJob{waiting}, pods: []taskPod{{role: "w", state: pai.JobWaiting, message: "ImagePullBackOff"}},
			state: pai.JobWaiting, message: "ImagePullBackOff", tasks: []pai.JobState{"WAITING", "WAITING"}},
		{name: "one runs", roles: one, jobs: []roleJob{waiting}, pods: []taskPod{running}, state: pai.JobRunning, tasks: []pai.JobState{"WAITING", "RUNNING"}},
		{name: "one failed and is tried again", roles: one, jobs: []roleJob{{role: "w", state: pai.JobWaiting, retries: 1}}, pods: []taskPod{failed, running},
			state: pai.JobRunning, tasks: []pai.JobState{"WAITING", "RUNNING"}},
		{name: "failed", roles: one, jobs: []roleJob{{role: "w", state: pai.JobFailed, message: "too many", completed: at(4)}}, pods: []taskPod{failed, running},
			state: pai.JobFailed, message: "exit code 3 (Error)", exit: code(3), tasks: []pai.JobState{"FAILED", "RUNNING"}},
		{name: "failed without a pod", roles: one, jobs: []roleJob{{role: "w", state: pai.JobFailed, message: "too many", completed: at(4)}},
			state: pai.JobFailed, message: "too many", tasks: []pai.JobState{"FAILED", "FAILED"}},
		{name: "one role of two is done", roles: two, jobs: []roleJob{{role: "w", state: pai.JobSucceeded}, {role: "p", state: pai.JobWaiting}},
			state: pai.JobRunning, tasks: []pai.JobState{"SUCCEEDED", "WAITING"}},
		{name: "succeeded", roles: two, jobs: []roleJob{{role: "w", state: pai.JobSucceeded, completed: at(4)}, {role: "p", state: pai.JobSucceeded, completed: at(5)}},
			pods:  []taskPod{{role: "w", state: pai.JobSucceeded, exitCode: code(0), created: at(1), started: at(2), completed: at(4)}},
			state: pai.JobSucceeded, exit: code(0), tasks: []pai.JobState{"SUCCEEDED", "SUCCEEDED"}},
		{name: "being created", roles: two, jobs: []roleJob{waiting}, now: at(0), state: pai.JobWaiting, tasks: []pai.JobState{"WAITING", "WAITING"}},
		{name: "left behind", roles: two, jobs: []roleJob{waiting}, now: at(30), state: pai.JobFailed,
			message: "the server stopped while it created this job; submit it again under another name", tasks: []pai.JobState{"WAITING", "WAITING"}},
		{name: "a role that decides is done", roles: two, jobs: []roleJob{{role: "w", state: pai.JobSucceeded, decides: true, completed: at(4)}, {role: "p", state: pai.JobWaiting}},
			pods: []taskPod{{role: "p", state: pai.JobRunning, started: at(2)}}, state: pai.JobSucceeded, tasks: []pai.JobState{"SUCCEEDED", "RUNNING"}},
		{name: "what was decided first counts", roles: two, jobs: []roleJob{{role: "w", state: pai.JobSucceeded, decides: true, completed: at(4)}, {role: "p", state: pai.JobFailed, completed: at(5)}},
			state: pai.JobSucceeded, tasks: []pai.JobState{"SUCCEEDED", "FAILED"}},
		{name: "stopping", roles: one, jobs: []roleJob{{role: "w", state: pai.JobWaiting, stopped: "user", suspended: true}},
			pods:  []taskPod{{role: "w", index: 1, state: pai.JobRunning, deleting: at(3)}},
			state: pai.JobStopping, tasks: []pai.JobState{"STOPPED", "STOPPING"}},
		{name: "stopped", roles: one, jobs: []roleJob{{role: "w", state: pai.JobWaiting, stopped: "user", suspended: true, stoppedAt: at(3)}},
			state: pai.JobStopped, tasks: []pai.JobState{"STOPPED", "STOPPED"}},
		{name: "stopped by another role's end", roles: two, jobs: []roleJob{{role: "w", state: pai.JobFailed, message: "too many", completed: at(4)}, {role: "p", stopped: "decided", suspended: true}},
			state: pai.JobFailed, message: "too many", tasks: []pai.JobState{"FAILED", "STOPPED"}},
		{name: "failed, about to be tried again", retries: 1, roles: one, jobs: []roleJob{{role: "w", state: pai.JobFailed, message: "too many", completed: at(4)}},
			state: pai.JobWaiting, tasks: []pai.JobState{"FAILED", "FAILED"}},
		{name: "second attempt", retries: 1, roles: one, jobs: []roleJob{{role: "w", state: pai.JobFailed, completed: at(4)}, {uid: "2", role: "w", attempt: 1, state: pai.JobWaiting}},
			pods:  []taskPod{failed, {owner: "2", role: "w", state: pai.JobRunning}},
			state: pai.JobRunning, tasks: []pai.JobState{"RUNNING", "WAITING"}},
		{name: "pods of an earlier job of that name", roles: one, jobs: []roleJob{waiting}, pods: []taskPod{{owner: "gone", role: "w", state: pai.JobRunning}},
			state: pai.JobWaiting, tasks: []pai.JobState{"WAITING", "WAITING"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, _ := attemptOf(record{roles: c.roles, created: at(0), retries: c.retries}, c.jobs, c.pods, -1)
			got := a.status(c.now)
			if got.State != c.state || got.Message != c.message {
				t.Errorf("got %s %q, want %s %q", got.State, got.Message, c.state, c.message)
			}
			if (got.ExitCode == nil) != (c.exit == nil) || (c.exit != nil && *got.ExitCode != *c.exit) {
				t.Errorf("got exit code %v", got.ExitCode)
			}
			var tasks []pai.JobState
			for _, r := range got.Roles {
				for _, task := range r.Tasks {
					tasks = append(tasks, task.State)
				}
			}
			for i := range c.tasks {
				if tasks[i] != c.tasks[i] {
					t.Errorf("got tasks %v, want %v", tasks, c.tasks)
					break
				}
			}
		})
	}
}

// BenchmarkStatus: what a job costs grows with its tasks, and not faster.
func BenchmarkStatus(b *testing.B) {
	for _, tasks := range []int{300, 3000} {
		b.Run(fmt.Sprint(tasks), func(b *testing.B) {
			pods := make([]taskPod, tasks)
			for i := range pods {
				pods[i] = taskPod{role: "w", index: i, state: pai.JobWaiting, message: "Unschedulable"}
			}
			r := record{roles: []specs.RoleSize{{Name: "w", Instances: tasks}}}
			for b.Loop() {
				a, _ := attemptOf(r, []roleJob{{role: "w", state: pai.JobWaiting}}, pods, -1)
				if j := a.status(time.Now()); len(j.Roles[0].Tasks) != tasks || j.Message != "Unschedulable" {
					b.Fatalf("%d tasks, %q", len(j.Roles[0].Tasks), j.Message)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tasks), "ns/task")
		})
	}
}
