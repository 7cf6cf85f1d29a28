package kube

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// onUnbound is a cluster with the claim s, which is not bound, and a read-only volume that it will get, and alice's job one that mounts it.
func onUnbound(t *testing.T, roles ...string) (*Cluster, *fake.Clientset, pai.JobID) {
	t.Helper()
	volume := testVolume("v", func(v *corev1.PersistentVolume) {
		v.Spec.NFS = &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/data", ReadOnly: true}
	})
	client := kubefake.New(testClaim(time.Second, ""), volume)
	c, err := New(client, Options{JobsNamespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	s := submission("alice", "one", roles...)
	s.Mounts = []pai.Mount{{Storage: "s", Path: "/mnt/s"}}
	s.MountTypes = []pai.StorageType{pai.StorageUnknown}
	s.Spec.Registries = []pai.Registry{{Server: "registry.example", Username: "u", Password: "hidden"}}
	id, err := c.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return c, client, id
}

// bind does what Kubernetes does.
func bind(t *testing.T, client *fake.Clientset) {
	t.Helper()
	claim := testClaim(time.Second, "", func(p *corev1.PersistentVolumeClaim) {
		p.Spec.VolumeName, p.Status.Phase = "v", corev1.ClaimBound
	})
	if _, err := client.CoreV1().PersistentVolumeClaims("default").Update(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func jobsOf(t *testing.T, client *fake.Clientset) []batchv1.Job {
	t.Helper()
	list, err := client.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// TestHeldUntilBound: what the volume says counts, also for jobs that were submitted before it was bound.
func TestHeldUntilBound(t *testing.T) {
	c, client, id := onUnbound(t, "a", "b")
	if jobs := jobsOf(t, client); len(jobs) != 0 {
		t.Fatalf("%d Jobs before anybody knows how to mount", len(jobs))
	}
	record, err := client.CoreV1().Secrets("default").Get(t.Context(), specs.RecordName(id), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for field, text := range record.Data {
		if strings.Contains(string(text), "hidden") {
			t.Errorf("field %s has the password of a registry", field)
		}
	}
	c.now = func() time.Time { return time.Now().Add(5 * time.Minute) }
	j, err := c.Job(t.Context(), id)
	if err != nil || j.State != pai.JobWaiting || j.Finding == nil || j.Finding.Object != "storage s" || len(j.Roles) != 2 {
		t.Fatalf("got %+v, %v", j, err)
	}
	if d, err := c.Diagnose(t.Context(), id); err != nil || len(d.Findings) != 1 || !strings.HasPrefix(d.Findings[0].Code, "STO-1") {
		t.Errorf("got %+v, %v", d, err)
	}
	if err := c.TagJob(t.Context(), id, "x"); pai.CodeOf(err) != pai.InvalidParametersError {
		t.Errorf("a tag, which nothing could hold: %v", err)
	}

	bind(t, client)
	await.Until(t, "the Jobs are made", func() bool { return len(jobsOf(t, client)) == 2 })
	for _, job := range jobsOf(t, client) {
		pod := job.Spec.Template.Spec
		mount := pod.Containers[0].VolumeMounts[0]
		if !pod.Volumes[0].PersistentVolumeClaim.ReadOnly || !mount.ReadOnly || mount.MountPath != "/mnt/s" || pod.Affinity == nil || len(pod.ImagePullSecrets) != 1 {
			t.Errorf("the pods of %s are not as the volume says: %+v", job.Name, pod)
		}
		if job.Spec.Suspend != nil || len(job.OwnerReferences) != 1 || job.OwnerReferences[0].UID != record.UID {
			t.Errorf("got %+v", job.ObjectMeta)
		}
	}
	await.Until(t, "the Jobs are seen", func() bool { a, err := c.attempt(id, -1); return err == nil && a.made })
	if a, _ := c.attempt(id, -1); a.held || !a.mounts[0].ReadOnly {
		t.Errorf("got %+v", a.record)
	}
	if err := c.TagJob(t.Context(), id, "x"); err != nil {
		t.Error(err)
	}
}

// TestHeldIsFinished: what a server began to release, another one finishes.
func TestHeldIsFinished(t *testing.T) {
	c, client, id := onUnbound(t, "a", "b")
	a, err := c.attempt(id, -1)
	if err != nil {
		t.Fatal(err)
	}
	client.PrependReactor("create", "jobs", failOnce("b"))
	bind(t, client)
	await.Until(t, "the claim is seen", func() bool { return !c.unbound([]pai.Mount{{Storage: "s"}}) })
	for range 2 { // the keeper may be at it, too
		_ = c.releaseJob(t.Context(), a, "")
	}
	await.Until(t, "both Jobs are there", func() bool { return len(jobsOf(t, client)) == 2 })
}

// TestHeldIsStopped: a job that is held can be stopped, and nothing of it ever runs; it can be deleted, too.
func TestHeldIsStopped(t *testing.T) {
	c, client, id := onUnbound(t, "a", "b")
	if err := c.StopJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	jobs := jobsOf(t, client)
	if len(jobs) != 2 || slices.ContainsFunc(jobs, func(j batchv1.Job) bool { return j.Spec.Suspend == nil || !*j.Spec.Suspend }) {
		t.Errorf("got %+v", jobs)
	}
	bind(t, client)
	if j, err := c.Job(t.Context(), id); err != nil || j.State != pai.JobStopped || !j.Stopped {
		t.Errorf("got %+v, %v", j, err)
	}
	if err := c.DeleteJob(t.Context(), id); err != nil || len(jobsOf(t, client)) != 0 {
		t.Errorf("deleted: %v, %d Jobs are left", err, len(jobsOf(t, client)))
	}
}

// TestNotHeld: a storage that binds with the first job that mounts it is not waited for.
func TestNotHeld(t *testing.T) {
	c := started(t, testClaim(time.Hour, "later"), testClass("later", "some.driver", storagev1.VolumeBindingWaitForFirstConsumer, false))
	if c.unbound([]pai.Mount{{Storage: "s"}}) {
		cl, _ := c.claims.get("s")
		t.Errorf("it would be held for ever: %+v", c.claimFault(cl))
	}
	if !c.unbound([]pai.Mount{{Storage: "none"}}) {
		t.Error("a claim that is gone says nothing")
	}
	if cl, _ := c.claims.get("s"); c.claimFault(cl).Kind != doctor.ClaimFirstJob {
		t.Errorf("got %+v", c.claimFault(cl))
	}
}

// failOnce refuses the first Job of a role.
func failOnce(role string) ktesting.ReactionFunc {
	var failed atomic.Bool
	return func(action ktesting.Action) (bool, runtime.Object, error) {
		job := action.(ktesting.CreateAction).GetObject().(*batchv1.Job)
		if job.Annotations[specs.RoleAnnotation] == role && !failed.Swap(true) {
			return true, nil, errors.New("the API server is away")
		}
		return false, nil, nil
	}
}
