package portal_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// startJob makes alice's job "train" in Kubernetes, whose first task runs and says hostile things about itself.
func startJob(t *testing.T, s *servertest.Server) {
	t.Helper()
	id := pai.JobID{User: "alice", Name: "train"}
	role := pai.TaskRole{Name: "worker", Image: "busybox", Instances: 2, Commands: []string{"true"}}
	submission := pai.Submission{Owner: id.User, VirtualCluster: "default", Spec: pai.JobSpec{Name: id.Name, TaskRoles: []pai.TaskRole{role}}}
	if _, err := s.Cluster.Submit(t.Context(), submission); err != nil {
		t.Fatal(err)
	}
	owner, err := s.Kube.BatchV1().Jobs("default").Get(t.Context(), specs.RoleJobName(id, role.Name, 0), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "train-0", Namespace: "default", Labels: map[string]string{specs.JobLabel: specs.Key(id)},
			Annotations:     map[string]string{specs.RoleAnnotation: role.Name, "batch.kubernetes.io/job-completion-index": "0"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: owner.Name, UID: owner.UID}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}},
		}, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "<script>alert(1)</script>"},
		}},
	}
	if _, err := s.Kube.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// hostile is what a name or a message could try to do to a page.
const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>`

// someJobs are alice's jobs "train", which runs and says hostile things about itself, and "stuck", which waits, and bob's job "own".
func someJobs() *servertest.Jobs {
	jobs := &servertest.Jobs{}
	submitted := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	tasks := func(state pai.JobState) []pai.RoleStatus {
		return []pai.RoleStatus{{Name: "worker", Tasks: []pai.TaskStatus{{State: state, Message: hostile, Node: hostile}, {Index: 1, State: state}}}}
	}
	jobs.Put(servertest.Record{
		Job: pai.Job{ID: pai.JobID{User: "alice", Name: "train"}, State: pai.JobRunning, VirtualCluster: hostile, Submitted: submitted, Priority: hostile,
			Tags: []string{hostile}, Roles: tasks(pai.JobRunning)},
		Storages: []pai.StorageName{hostile}, Config: "name: train # " + hostile, Log: hostile,
		Events: []pai.JobEvent{{Object: hostile, Task: -1, Type: hostile, Reason: hostile, Message: hostile, Last: submitted, Count: 3}},
	})
	jobs.Put(servertest.Record{
		Job: pai.Job{ID: pai.JobID{User: "alice", Name: "stuck"}, State: pai.JobWaiting, VirtualCluster: "default", Submitted: submitted.Add(time.Hour),
			Roles: tasks(pai.JobWaiting), Tags: []string{"nightly"}, Priority: "prod", Attempt: 2},
		Storages: []pai.StorageName{"home", "personal"},
		Findings: []pai.Finding{
			{Code: "STO-301", Object: "node worker2", Message: "node worker2 cannot mount home " + hostile, Fix: "run: apt-get install nfs-common", Who: pai.FixedByAdministrator,
				Tasks: []string{"worker[0]", "worker[1]"}, Evidence: "mount failed: exit status 32 " + hostile, Since: submitted.Add(time.Hour)},
			{Code: "JOB-101", Message: "the image is pulled", Who: pai.FixedByWaiting},
		},
		Events: []pai.JobEvent{{Role: "worker", Task: 1, Type: "Warning", Reason: "FailedMount", Message: "mount failed", Last: submitted, Count: 3}},
	})
	jobs.Put(servertest.Record{Job: pai.Job{ID: pai.JobID{User: "bob", Name: "own"}, State: pai.JobFailed, Submitted: submitted, Roles: tasks(pai.JobFailed)}})
	return jobs
}

// TestWhoTable: each page for each caller, the forbidden ones first.
func TestWhoTable(t *testing.T) {
	s := servertest.StartJobs(t, nil, someJobs())
	for path, want := range map[string]struct{ anonymous, bob, alice, admin int }{
		"/":                               {303, 200, 200, 200},
		"/profile":                        {303, 200, 200, 200},
		"/login":                          {200, 200, 200, 200},
		"/jobs":                           {303, 200, 200, 200},
		"/jobs?all=yes&keyword=%3Cscript": {303, 200, 200, 200},
		"/jobs?state=%3Cscript%3E":        {303, 400, 400, 400},
		"/jobs?offset=-1":                 {303, 400, 400, 400},
		"/jobs?job=alice~train":           {303, 303, 303, 303},
		"/jobs?job=%2F%2Fevil.example":    {303, 400, 400, 400},
		"/jobs/alice~train":               {303, 403, 200, 200},
		"/jobs/alice~stuck":               {303, 403, 200, 200},
		"/jobs/alice~train?task=1":        {303, 403, 200, 200},
		"/jobs/alice~train?task=2":        {303, 403, 404, 404},
		"/jobs/alice~train?role=%3Cx%3E":  {303, 403, 404, 404},
		"/jobs/alice~train/config":        {303, 403, 200, 200},
		"/jobs/alice~stuck/config":        {303, 403, 404, 404},
		"/jobs/alice~train/stop":          {404, 404, 404, 404},
		"/jobs/alice~missing":             {303, 403, 404, 404},
		"/jobs/%3Cscript%3Ealert(1)":      {303, 404, 404, 404},
		"/nothing/%3Cscript%3Ealert(1)":   {404, 404, 404, 404},
		"/jobs/alice~train/..%2F..%2Fapi": {404, 404, 404, 404},
	} {
		for user, status := range map[string]int{"": want.anonymous, "bob": want.bob, "alice": want.alice, "admin": want.admin} {
			b := open(t, s)
			if user != "" {
				b.signIn(user, "secret-"+user)
			}
			answer, text := b.ask("GET", path, nil)
			if answer.StatusCode != status {
				t.Errorf("%q gets %s: %d, want %d\n%s", user, path, answer.StatusCode, status, text)
			}
			if strings.Contains(text, "<script") || strings.Contains(text, "<img") || (status >= 400 && !strings.Contains(text, `role="alert"`)) {
				t.Errorf("%q gets %s:\n%s", user, path, text)
			}
			if to := answer.Header.Get("Location"); to != "" && to != "/login" && to != "/jobs/alice~train" {
				t.Errorf("%q is sent from %s to %s", user, path, to)
			}
		}
	}
}

// TestWhoChangesJobs: the forbidden callers first, and they change nothing. A form of another site is nobody's.
func TestWhoChangesJobs(t *testing.T) {
	for _, action := range []string{"stop", "delete"} {
		for _, c := range []struct {
			user    string
			headers []string
			status  int
			changes bool
		}{
			{"", nil, 303, false},
			{"bob", nil, 403, false},
			{"alice", []string{"Sec-Fetch-Site", "cross-site"}, 403, false},
			{"alice", []string{"Origin", "https://elsewhere.example"}, 403, false},
			{"alice", nil, 303, true},
			{"admin", nil, 303, true},
		} {
			jobs := someJobs()
			s := servertest.StartJobs(t, nil, jobs)
			b := open(t, s)
			if c.user != "" {
				b.signIn(c.user, "secret-"+c.user)
			}
			answer, text := b.ask("POST", "/jobs/alice~train/"+action, url.Values{}, c.headers...)
			after, err := jobs.Job(t.Context(), pai.JobID{User: "alice", Name: "train"})
			if changed := err != nil || after.State != pai.JobRunning; answer.StatusCode != c.status || changed != c.changes {
				t.Errorf("%q %v: %s answers %d, changed: %t\n%s", c.user, c.headers, action, answer.StatusCode, changed, text)
			}
			want := map[string]string{"stop": "/jobs/alice~train", "delete": "/jobs"}[action]
			if to := answer.Header.Get("Location"); c.changes && to != want {
				t.Errorf("%s leads to %s", action, to)
			}
		}
	}
}

// TestExplainedJob: the page of a job that waits has the whole diagnosis, and what else is known.
func TestExplainedJob(t *testing.T) {
	jobs := someJobs()
	s := servertest.StartJobs(t, nil, jobs)
	b := open(t, s)
	b.signIn("alice", "secret-alice")
	answer, text := b.ask("GET", "/jobs/alice~stuck?reload=yes", nil)
	for _, want := range []string{
		"<strong>STO-301</strong> node worker2 cannot mount home", "→ run: apt-get install nfs-common", "An administrator can mend this.",
		"It is about node worker2.", "Tasks: worker[0], worker[1].", "mount failed: exit status 32", "<strong>JOB-101</strong>", "Nobody has to do anything",
		"<code>home</code>, <code>personal</code>", ">nightly<", "<dd>prod</dd>", "<dd>2</dd>", "<code>worker[1]</code>", "FailedMount",
		`action="/jobs/alice~stuck/stop"`, `action="/jobs/alice~stuck/delete"`, `href="/jobs/alice~stuck/config"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
	if answer.Header.Get("Refresh") == "" {
		t.Error("the page does not reload by itself")
	}
	b.ask("POST", "/jobs/alice~stuck/stop", url.Values{})
	answer, text = b.ask("GET", "/jobs/alice~stuck?reload=yes", nil)
	if answer.Header.Get("Refresh") != "" || strings.Contains(text, "/stop") || !strings.Contains(text, "STOPPED") {
		t.Errorf("a job that is done reloads, or can be stopped:\n%s", text)
	}
	if _, text := b.ask("GET", "/jobs/alice~train/config", nil); !strings.Contains(text, "name: train # &#34;&gt;&lt;img") {
		t.Errorf("the document is not there, or not as text:\n%s", text)
	}
}

func TestJobPage(t *testing.T) {
	s := servertest.Start(t, nil)
	startJob(t, s)
	b := open(t, s)
	b.signIn("alice", "secret-alice")
	for path, wants := range map[string][]string{
		"/jobs/alice~train":        {"fake logs", "RUNNING", "worker[1]", "&lt;script&gt;", "role=worker&amp;task=1#log"},
		"/jobs/alice~train?task=1": {"There is no log yet", "Log of worker[1]"},
		"/profile":                 {"<dd>alice</dd>", "paictl login --server " + s.URL + " --user alice"},
	} {
		_, text := b.ask("GET", path, nil)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q:\n%s", path, want, text)
			}
		}
	}
	if answer, _ := b.ask("GET", "/jobs?job=+train+", nil); answer.Header.Get("Location") != "/jobs/alice~train" {
		t.Errorf("a name alone leads to %s", answer.Header.Get("Location"))
	}
}

func TestHeadersAndCookie(t *testing.T) {
	s := servertest.Start(t, nil)
	for _, path := range []string{"/", "/login", "/nothing", "/style.css"} {
		answer, _ := open(t, s).ask("GET", path, nil)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	form := url.Values{"username": {"alice"}, "password": {"secret-alice"}}
	answer, _ := open(t, s).ask("POST", "/login", form, "X-Forwarded-Proto", "https")
	if c := answer.Cookies()[0]; !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
		t.Errorf("behind TLS: %+v", c)
	}
}
