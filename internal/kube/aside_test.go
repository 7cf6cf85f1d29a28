package kube

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// asideLab is alice's job one with a task on a worker that cannot mount its storage, and a clock that is moved by hand.
type asideLab struct {
	c      *Cluster
	client *fake.Clientset
	id     pai.JobID
	ahead  atomic.Int64 // minutes that the clock is ahead
}

func newAsideLab(t *testing.T, change func(*corev1.Pod)) *asideLab {
	t.Helper()
	volume := testVolume("v", func(v *corev1.PersistentVolume) {
		v.Spec.NFS = &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/nowhere"}
		v.Status.Phase = corev1.VolumeBound
	})
	claim := testClaim(time.Second, "", func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName, p.Status.Phase = "v", corev1.ClaimBound })
	lab := &asideLab{client: kubefake.New(worker("one", corev1.ConditionTrue), volume, claim)}
	var err error
	lab.c, err = New(lab.client, Options{JobsNamespace: "default", PlacePatience: 15 * time.Minute,
		Now: func() time.Time { return time.Now().Add(time.Duration(lab.ahead.Load()) * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	run(t, lab.c)
	s := submission("alice", "one", "w")
	s.Mounts = []pai.Mount{{Storage: "s", Path: "/mnt/s"}}
	s.MountTypes = []pai.StorageType{pai.StorageNFS}
	if lab.id, err = lab.c.Submit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	lab.place(t, change)
	return lab
}

// place does what Kubernetes does for a task that finds a worker and cannot mount its storage there.
func (l *asideLab) place(t *testing.T, change func(*corev1.Pod)) {
	t.Helper()
	pod := taskOf(t, l.c, l.id, "w", corev1.PodPending)
	pod.UID, pod.Spec.NodeName = "task", "one"
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(l.c.now())},
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionFalse},
	}
	if change != nil {
		change(pod)
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
	l := newAsideLab(t, nil)
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
		l.place(t, nil)
	}
}

// TestSetAsideGoesOnWhenMended: what the workers' checks found at fault and find well is not waited for.
func TestSetAsideGoesOnWhenMended(t *testing.T) {
	l := newAsideLab(t, nil)
	l.later(t, 16)
	l.seen(t, true)
	if l.later(t, 1); !l.suspended(t) {
		t.Fatal("what no check has found is taken for mended")
	}
	job := l.job(t)
	aside, err := specs.ParseSetAside(job.Annotations[specs.AsideAnnotation])
	if err != nil {
		t.Fatal(err)
	}
	aside.Failing = []pai.StorageName{"s"} // as if workers had said so, which they do not any more
	job.Annotations[specs.AsideAnnotation] = aside.Text()
	if _, err := l.client.BatchV1().Jobs("default").Update(t.Context(), &job, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "it goes on", func() bool { l.later(t, 0); return !l.suspended(t) })
}

// TestNotSetAside: a task that has started has work to lose, and a job that was stopped does not go on.
func TestNotSetAside(t *testing.T) {
	running := newAsideLab(t, nil)
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

	stopped := newAsideLab(t, nil)
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
