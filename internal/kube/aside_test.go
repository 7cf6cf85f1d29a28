package kube

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// asideLab is alice's job one with a task on a worker that cannot mount its storage, and a clock that is moved by hand.
type asideLab struct {
	c      *Cluster
	client *fake.Clientset
	id     pai.JobID
	ahead  atomic.Int64 // minutes that the clock is ahead
}

func newAsideLab(t *testing.T, roles ...string) *asideLab {
	t.Helper()
	volume := testVolume("v", func(v *corev1.PersistentVolume) {
		v.Spec.NFS = &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/nowhere"}
		v.Status.Phase = corev1.VolumeBound
	})
	claim := testClaim(time.Second, "", func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName, p.Status.Phase = "v", corev1.ClaimBound })
	lab := &asideLab{client: kubefake.New(worker("one", corev1.ConditionTrue), volume, claim, holding("s"))}
	var err error
	lab.c, err = New(lab.client, Options{JobsNamespace: "default", PlacePatience: 15 * time.Minute,
		Now: func() time.Time { return time.Now().Add(time.Duration(lab.ahead.Load()) * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	run(t, lab.c)
	s := submission("alice", "one", append([]string{"w"}, roles...)...)
	s.Mounts = []pai.Mount{{Storage: "s", Path: "/mnt/s"}}
	s.MountTypes = []pai.StorageType{pai.StorageNFS}
	if lab.id, err = lab.c.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	lab.place(t)
	return lab
}

// place does what Kubernetes does for a task that finds a worker and cannot mount its storage there.
func (l *asideLab) place(t *testing.T) {
	t.Helper()
	pod := taskOf(t, l.c, l.id, "w", corev1.PodPending)
	pod.UID, pod.Spec.NodeName = "task", "one"
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(l.c.now())},
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse},
	}
	if _, err := l.client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	said := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "said"}, Type: corev1.EventTypeWarning, Reason: "FailedMount",
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: pod.Name, UID: pod.UID}, LastTimestamp: metav1.NewTime(l.c.now()),
		Message: `MountVolume.SetUp failed for volume "v" : mount failed: exit status 32` + "\nMounting command: mount\nOutput: " +
			"mount.nfs: mounting 10.0.0.1:/nowhere failed, reason given by server: No such file or directory"}
	if _, err := l.client.CoreV1().Events("default").Create(t.Context(), said, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the job says why it waits", func() bool { return l.said(t) != "" })
}

// seen waits until the server knows whether the job is set aside.
func (l *asideLab) seen(t *testing.T, aside bool) {
	t.Helper()
	await.Until(t, "the server sees it", func() bool {
		a, err := l.c.attempt(l.id, -1)
		return err == nil && (a.aside != nil) == aside
	})
}

// said is the first finding's line.
func (l *asideLab) said(t *testing.T) string {
	t.Helper()
	j, err := l.c.Job(t.Context(), l.id)
	if err != nil {
		t.Fatal(err)
	}
	if j.State != pai.JobWaiting || j.Finding == nil || !strings.HasPrefix(j.Finding.Code, "STO-305") {
		return ""
	}
	return j.Finding.Line()
}

// later moves the clock, and has the keeper look as it does every 20 seconds.
func (l *asideLab) later(t *testing.T, minutes int64) {
	t.Helper()
	l.ahead.Add(minutes)
	if err := l.c.keepJob(t.Context(), specs.RecordName(l.id)); err != nil {
		t.Fatal(err)
	}
}

func (l *asideLab) job(t *testing.T) batchv1.Job {
	t.Helper()
	jobs := jobsOf(t, l.client)
	if len(jobs) != 1 {
		t.Fatalf("%d Jobs", len(jobs))
	}
	return jobs[0]
}

func (l *asideLab) suspended(t *testing.T) bool {
	suspend := l.job(t).Spec.Suspend
	return suspend != nil && *suspend
}

// unplace does what Kubernetes does for a Job that is suspended.
func (l *asideLab) unplace(t *testing.T) {
	t.Helper()
	list, err := l.client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d pods, %v", len(list.Items), err)
	}
	if err := l.client.CoreV1().Pods("default").Delete(t.Context(), list.Items[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := l.client.CoreV1().Events("default").Delete(t.Context(), "said", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestSetAside: a job that cannot mount its storage gives its worker back after a while, says so, and is tried again after pauses that grow.
func TestSetAside(t *testing.T) {
	l := newAsideLab(t)
	if l.later(t, 14); l.suspended(t) {
		t.Fatal("it gave its worker back before its time")
	}
	want := []int64{15, 30, 60, 60}
	for i, pause := range want {
		if l.later(t, 2+14*int64(min(i, 1))); !l.suspended(t) {
			t.Fatalf("try %d: it keeps its worker", i+1)
		}
		l.unplace(t)
		l.seen(t, true)
		await.Until(t, "the job says that it gave its workers back", func() bool {
			line := l.said(t)
			return strings.Contains(line, "gave its workers back at ") && strings.Contains(line, " and is tried again by ")
		})
		if l.later(t, pause-1); !l.suspended(t) {
			t.Errorf("try %d: it goes on before %d minutes are over", i+1, pause)
		}
		if l.later(t, 2); l.suspended(t) {
			t.Fatalf("try %d: it does not go on after %d minutes", i+1, pause)
		}
		l.seen(t, false)
		l.place(t)
	}
}

// reports has the worker say what its check of the storage found, and waits until the server knows.
func (l *asideLab) reports(t *testing.T, r storagecheck.Result) {
	t.Helper()
	_, versions := orders(t, l.client, func(all map[string]storagecheck.Order) bool { return len(all) == 1 })
	r.Time, r.Order = l.c.now(), versions["s"]
	said := reportOf(t, "one", r.Time, map[string]storagecheck.Result{"s": r})
	said.ResourceVersion = ""
	maps := l.client.CoreV1().ConfigMaps(storagecheck.ReportNamespace)
	if l.c.reported("one").at.IsZero() {
		if _, err := maps.Create(t.Context(), said, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	} else if _, err := maps.Update(t.Context(), said, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the server knows what the worker says", func() bool {
		failed := !r.OK && !r.Unchecked
		return l.c.reported("one").at.UnixMilli() == r.Time.UnixMilli() && (len(l.c.failures("s")) > 0) == failed && l.c.foundWell("s") == r.OK
	})
}

// TestSetAsideGoesOnWhenMended: when workers find well what they had found at fault, that is not waited for. That nobody says that it is at fault is
// not enough.
func TestSetAsideGoesOnWhenMended(t *testing.T) {
	l := newAsideLab(t)
	l.ahead.Add(10)
	l.reports(t, storagecheck.Result{Message: "No such file or directory"})
	if l.later(t, 6); !l.suspended(t) {
		t.Fatal("it keeps its worker")
	}
	l.seen(t, true)
	l.reports(t, storagecheck.Result{Unchecked: true, Message: "too many checks hang"})
	if l.later(t, 1); !l.suspended(t) {
		t.Fatal("what no check has found well is taken for mended")
	}
	l.reports(t, storagecheck.Result{OK: true})
	await.Until(t, "it goes on", func() bool { l.later(t, 0); return !l.suspended(t) })
}

// TestSetAsideWithoutChecks: what no check had found at fault is waited for until its time.
func TestSetAsideWithoutChecks(t *testing.T) {
	l := newAsideLab(t)
	l.later(t, 16)
	l.seen(t, true)
	l.reports(t, storagecheck.Result{OK: true})
	if l.later(t, 1); !l.suspended(t) {
		t.Fatal("it goes on, and waits on its worker for as long as before")
	}
}

// TestSetAsideInPart: of a job with two task roles one was set aside when something went wrong. The next look does the rest, either way.
func TestSetAsideInPart(t *testing.T) {
	l := newAsideLab(t, "second")
	count := func(want int) {
		t.Helper()
		await.Until(t, fmt.Sprintf("%d of the Jobs are suspended", want), func() bool {
			suspended := 0
			for _, j := range jobsOf(t, l.client) {
				if *cmp.Or(j.Spec.Suspend, new(bool)) {
					suspended++
				}
			}
			a, err := l.c.attempt(l.id, -1)
			seen := 0
			for _, rj := range a.roles {
				if rj.suspended {
					seen++
				}
			}
			return err == nil && suspended == want && seen == want
		})
	}
	broken := atomic.Bool{}
	patches := atomic.Int64{}
	l.client.PrependReactor("patch", "jobs", func(ktesting.Action) (bool, runtime.Object, error) {
		if broken.Load() && patches.Add(1) > 1 {
			return true, nil, errors.New("the server is going away")
		}
		return false, nil, nil
	})
	broken.Store(true)
	l.ahead.Add(16)
	_ = l.c.keepJob(t.Context(), specs.RecordName(l.id)) // the keeper itself may have been first
	count(1)
	broken.Store(false)
	patches.Store(0)
	l.later(t, 1)
	count(2)
	l.unplace(t)
	broken.Store(true)
	l.ahead.Add(16)
	_ = l.c.keepJob(t.Context(), specs.RecordName(l.id)) // the keeper itself may have been first
	count(1)
	broken.Store(false)
	patches.Store(0)
	l.ahead.Add(-10) // another server's clock may be behind
	l.later(t, 0)
	count(0)
}

// TestNotSetAside: a task that has started has work to lose, and a job that was stopped does not go on.
func TestNotSetAside(t *testing.T) {
	running := newAsideLab(t)
	second := taskOf(t, running.c, running.id, "w", corev1.PodRunning)
	second.Name, second.Annotations[indexAnnotation] = "second", "1"
	if _, err := running.client.CoreV1().Pods("default").Create(t.Context(), second, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the second task is seen", func() bool {
		a, err := running.c.attempt(running.id, -1)
		return err == nil && len(a.pods) == 2
	})
	if running.later(t, 16); running.suspended(t) {
		t.Error("a job with a task that runs gave its workers back")
	}

	// What is remembered of a task may be old: it has just started.
	started := newAsideLab(t)
	now := &corev1.PodList{Items: []corev1.Pod{*taskOf(t, started.c, started.id, "w", corev1.PodRunning)}}
	started.client.PrependReactor("list", "pods", func(ktesting.Action) (bool, runtime.Object, error) { return true, now, nil })
	if started.later(t, 16); started.suspended(t) {
		t.Error("a job whose task has just started gave its worker back")
	}

	stopped := newAsideLab(t)
	stopped.later(t, 16)
	if err := stopped.c.StopJob(t.Context(), stopped.id); err != nil {
		t.Fatal(err)
	}
	stopped.unplace(t)
	await.Until(t, "it is stopped", func() bool {
		j, err := stopped.c.Job(t.Context(), stopped.id)
		return err == nil && j.State == pai.JobStopped
	})
	if stopped.later(t, 100); !stopped.suspended(t) {
		t.Error("a job that was stopped goes on")
	}
}
