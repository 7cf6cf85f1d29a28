package portal_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// startJob makes alice's job "train", whose one task runs and says hostile things about itself.
func startJob(t *testing.T, s *servertest.Server) {
	t.Helper()
	id := pai.JobID{User: "alice", Name: "train"}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "train-0", Namespace: "default", Labels: map[string]string{specs.JobLabel: specs.Key(id)},
			Annotations: map[string]string{specs.RoleAnnotation: "worker", "batch.kubernetes.io/job-completion-index": "0"},
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
	role := pai.TaskRole{Name: "worker", Image: "busybox", Instances: 2, Commands: []string{"true"}}
	submission := pai.Submission{Owner: id.User, VirtualCluster: "default", Spec: pai.JobSpec{Name: id.Name, TaskRoles: []pai.TaskRole{role}}}
	if _, err := s.Cluster.Submit(t.Context(), submission); err != nil {
		t.Fatal(err)
	}
}

// TestWhoTable: each page for each caller, the forbidden ones first.
func TestWhoTable(t *testing.T) {
	s := servertest.Start(t, nil)
	startJob(t, s)
	for path, want := range map[string]struct{ anonymous, bob, alice, admin int }{
		"/":                               {303, 200, 200, 200},
		"/profile":                        {303, 200, 200, 200},
		"/login":                          {200, 200, 200, 200},
		"/jobs?job=alice~train":           {303, 303, 303, 303},
		"/jobs?job=%2F%2Fevil.example":    {303, 400, 400, 400},
		"/jobs/alice~train":               {303, 403, 200, 200},
		"/jobs/alice~train?task=1":        {303, 403, 200, 200},
		"/jobs/alice~train?task=2":        {303, 403, 404, 404},
		"/jobs/alice~train?role=%3Cx%3E":  {303, 403, 404, 404},
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
			if strings.Contains(text, "<script") || (status >= 400 && !strings.Contains(text, `role="alert"`)) {
				t.Errorf("%q gets %s:\n%s", user, path, text)
			}
			if to := answer.Header.Get("Location"); to != "" && to != "/login" && to != "/jobs/alice~train" {
				t.Errorf("%q is sent from %s to %s", user, path, to)
			}
		}
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
