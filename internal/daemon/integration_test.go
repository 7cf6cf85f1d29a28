package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	k8srest "k8s.io/client-go/rest"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
	"github.com/pai-storage/pai-storage/internal/kubetest"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestOnARealAPIServer runs two replicas as the service account of the manifest, with no right beyond it.
func TestOnARealAPIServer(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	config := kubetest.Start(t)
	config.QPS, config.Burst = 500, 1000
	root, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := kubeapply.Apply(t.Context(), config, "test", deploy.RestServerRBAC); err != nil {
		t.Fatal(err)
	}
	createObjects(t, root)
	limited := k8srest.CopyConfig(config)
	limited.Impersonate.UserName = "system:serviceaccount:pai-system:rest-server"
	limited.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:pai-system", "system:authenticated"}
	first, second := replica(t, limited), replica(t, limited)

	admin := connectAs(t, first, "admin", "secret-admin")
	if _, err := admin.CreateUser(t.Context(), client.NewUser{Username: "alice", Password: "secret-alice"}); err != nil {
		t.Fatal(err)
	}
	t.Run("grants at two replicas at once are all kept", func(t *testing.T) { testGrantsAtOnce(t, root, admin, connectAs(t, second, "admin", "secret-admin")) })
	grants := client.GroupChange{Groupname: "default", Extension: map[string]any{"acls": map[string]any{"storageConfigs": []string{"personal", "readonly"}}}}
	if err := admin.PatchGroup(t.Context(), grants, ""); err != nil {
		t.Fatal(err)
	}
	alice := connectAs(t, first, "alice", "secret-alice")
	t.Run("the readiness matrix", func(t *testing.T) { testMatrix(t, root, admin, connectAs(t, second, "admin", "secret-admin"), alice) })
	t.Run("jobs", func(t *testing.T) { testJobs(t, root, alice) })
	t.Run("storages", func(t *testing.T) { testDeclare(t, root, admin) })
	t.Run("a token that one replica revokes dies on the other", func(t *testing.T) { testRevocation(t, first, second) })
}

// createObjects brings the storages of the tests into the cluster, with the status that controllers would set.
func createObjects(t *testing.T, root kubernetes.Interface) {
	t.Helper()
	for _, o := range servertest.Objects() {
		var err error
		switch o := o.(type) {
		case *corev1.PersistentVolume:
			o.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
			o.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: *megabytes(10)}
			_, err = root.CoreV1().PersistentVolumes().Create(t.Context(), o, metav1.CreateOptions{})
		case *corev1.PersistentVolumeClaim:
			o.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
			o.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: *megabytes(10)}
			status := o.Status
			if o, err = root.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), o, metav1.CreateOptions{}); err == nil {
				o.Status = status
				_, err = root.CoreV1().PersistentVolumeClaims("default").UpdateStatus(t.Context(), o, metav1.UpdateOptions{})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// replica runs a server until the test ends and returns its URL, ready.
func replica(t *testing.T, config *k8srest.Config) string {
	t.Helper()
	return replicaOf(t, config, func(*restServer) {})
}

// replicaOf is replica with another configuration than the usual.
func replicaOf(t *testing.T, config *k8srest.Config, configure func(*restServer)) string {
	t.Helper()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret-admin"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, in := io.Pipe()
	var log bytes.Buffer
	s := &restServer{listen: "127.0.0.1:0", jobsNamespace: "default", systemNamespace: "pai-system", bootstrapAdmin: "admin", bootstrapPassword: password,
		stdout: in, log: slog.New(slog.NewJSONHandler(&log, nil))}
	configure(s)
	kubernetes, err := s.connect(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		err := s.run(ctx, kubernetes)
		in.CloseWithError(fmt.Errorf("the server ended: %w", err))
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		if t.Failed() {
			t.Logf("log of the replica:\n%s", log.String())
		}
	})
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "listening on "))
}

// connectAs signs in, once the server is ready.
func connectAs(t *testing.T, url string, user pai.UserName, password pai.Password) *client.Client {
	t.Helper()
	c, err := client.New(url, "")
	if err != nil {
		t.Fatal(err)
	}
	var in *client.Client
	await.Until(t, fmt.Sprintf("%s signs in", user), func() bool {
		session, err := c.Login(t.Context(), user, password, 0)
		switch pai.CodeOf(err) {
		case "":
			in = c.WithToken(session.Token)
		case pai.UnavailableError, pai.NoUserError: // starting, or the user has not reached this replica yet
		default:
			t.Fatal(err)
		}
		return in != nil
	})
	return in
}

// testGrantsAtOnce lets 200 writers grant and revoke storages of one group at two replicas. Each of them reads what it wrote. A server that has too
// much to do refuses what can be tried again, and they do.
func testGrantsAtOnce(t *testing.T, root kubernetes.Interface, replicas ...*client.Client) {
	const writers, group = 200, pai.GroupName("crowd")
	before := make([]string, writers) // half of the storages are granted, and half of them stay so
	for i := range writers {
		before[i] = fmt.Sprintf("old-%d", i)
	}
	order := client.GroupChange{Groupname: string(group), Extension: map[string]any{
		"acls": map[string]any{"storageConfigs": before, "virtualClusters": []string{"kept"}},
	}}
	if err := replicas[0].CreateGroup(t.Context(), order); err != nil {
		t.Fatal(err)
	}
	createClaims(t, root, writers)
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() { grantAndRevoke(t, replicas[i%len(replicas)], group, i) })
	}
	running.Wait()
	want := map[pai.StorageName]bool{}
	for i := range writers {
		if i%2 == 0 {
			want[pai.StorageName(fmt.Sprintf("new-%d", i))] = true
			want[pai.StorageName(fmt.Sprintf("old-%d", i))] = true
		}
	}
	g, _, err := replicas[0].Group(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	acls := g.ACLs()
	for _, name := range acls.StorageConfigs {
		if !want[name] {
			t.Errorf("%s is granted", name)
		}
		delete(want, name)
	}
	if len(want) > 0 || len(acls.VirtualClusters) != 1 {
		t.Errorf("lost: %v; virtual clusters: %v", want, acls.VirtualClusters)
	}
}

// createClaims makes the storages that are granted, not bound.
func createClaims(t *testing.T, root kubernetes.Interface, count int) {
	t.Helper()
	for i := range count {
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("new-%d", i)}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *megabytes(10)}},
		}}
		if _, err := root.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// grantAndRevoke is one writer: an even one grants its storage, an odd one grants and revokes it, and revokes one that was there.
func grantAndRevoke(t *testing.T, c *client.Client, group pai.GroupName, i int) {
	began := time.Now()
	defer func() { await.Kept(t, fmt.Sprintf("writer %d of many", i), time.Since(began), 20*time.Second) }()
	name := pai.StorageName(fmt.Sprintf("new-%d", i))
	answer, tries, err := insist(func() (client.Grant, error) { return c.GrantStorage(t.Context(), group, name) })
	if err != nil || tries == 1 && !answer.Changed || answer.Warning == "" {
		t.Errorf("grant %s: %+v after %d tries, %v", name, answer, tries, err)
		return
	}
	if i%2 == 1 {
		for _, name := range []pai.StorageName{name, pai.StorageName(fmt.Sprintf("old-%d", i))} {
			answer, tries, err := insist(func() (client.Grant, error) { return c.RevokeStorage(t.Context(), group, name, false) })
			if err != nil || tries == 1 && !answer.Changed {
				t.Errorf("revoke %s: %+v after %d tries, %v", name, answer, tries, err)
			}
		}
	}
	g, _, err := c.Group(t.Context(), group)
	if err != nil || slices.Contains(g.ACLs().StorageConfigs, name) != (i%2 == 0) {
		t.Errorf("writer %d does not read what it wrote: %v", i, err)
	}
}

// insist makes a change until it is not refused as what can be tried again. More than one try may find that the one before has made it.
func insist(change func() (client.Grant, error)) (answer client.Grant, tries int, err error) {
	for end := time.Now().Add(await.Limit); ; {
		answer, err = change()
		tries++
		again := pai.CodeOf(err) == pai.UnavailableError || pai.CodeOf(err) == pai.ConflictGroupError
		if !again || time.Now().After(end) {
			return answer, tries, err
		}
	}
}

// testJobs submits what a real API server has to accept, and looks at what it made of it.
func testJobs(t *testing.T, root kubernetes.Interface, alice *client.Client) {
	source := `{protocolVersion: 2, name: one, type: job, prerequisites: [{name: i, type: dockerimage, uri: busybox}], taskRoles: {
  a: {instances: 3, taskRetryCount: 2, completion: {minFailedInstances: 2, minSucceededInstances: 2}, dockerImage: i, extraContainerOptions: {shmMB: 64},
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 1}, commands: ["true"]},
  b: {dockerImage: i, completion: {minFailedInstances: -1, minSucceededInstances: -1}, resourcePerInstance: {cpu: 1, memoryMB: 64}, commands: ["true"]}},
  extras: {storages: [{name: personal}, {name: readonly, mountPath: /models}]}}`
	id, _, err := alice.SubmitJob(t.Context(), []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := alice.SubmitJob(t.Context(), []byte(source)); pai.CodeOf(err) != pai.ConflictJobError {
		t.Errorf("the same name again: got %v", err)
	}
	job, err := alice.Job(t.Context(), id)
	if err != nil || job.JobStatus.State != pai.JobWaiting || len(job.TaskRoles) != 2 || len(job.TaskRoles["a"].TaskStatuses) != 3 {
		t.Errorf("got %+v, %v", job, err)
	}
	list, err := root.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("got %d jobs, %v", len(list.Items), err)
	}
	for _, j := range list.Items {
		checkMounts(t, j)
	}
	if _, err := alice.Log(t.Context(), pai.LogRequest{Job: id}); pai.CodeOf(err) != pai.NoTaskLogError {
		t.Errorf("got %v", err)
	}
}

// testDeclare makes a storage of several objects with the rights of the manifest, and removes it. Nobody binds volumes here.
func testDeclare(t *testing.T, root kubernetes.Interface, admin *client.Client) {
	declared, err := admin.DeclareStorage(t.Context(), client.Declaration{Name: "blobs", Type: "azureBlob", ContainerName: "c", Personal: true,
		Secret: pai.Secret{"accountname": "a", "accountkey": "a2V5"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeclareStorage(t.Context(), client.Declaration{Name: "blobs", Type: "nfs", Server: "10.0.0.1", Path: "/"}, false); pai.CodeOf(err) != pai.ConflictStorageError {
		t.Errorf("the same name again: got %v", err)
	}
	volume, err := root.CoreV1().PersistentVolumes().Get(t.Context(), declared.VolumeName, metav1.GetOptions{})
	if err != nil || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || volume.Spec.ClaimRef.Name != "blobs" {
		t.Errorf("got %+v, %v", volume, err)
	}
	secret, err := root.CoreV1().Secrets("default").Get(t.Context(), declared.SecretName, metav1.GetOptions{})
	if err != nil || secret.OwnerReferences[0].UID != volume.UID || string(secret.Data["accountkey"]) != "a2V5" {
		t.Errorf("got the Secret's owners %+v, %v", secret.OwnerReferences, err)
	}
	pod := podOf(t, root, "blobs")
	gone := func() bool {
		_, err := root.CoreV1().PersistentVolumeClaims("default").Get(t.Context(), "blobs", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	}
	removed, err := admin.RemoveStorage(t.Context(), pai.StorageRemoval{Name: "blobs"})
	if err != nil || len(removed.Deleted) != 2 || gone() {
		t.Errorf("while a pod uses it: got %+v, %v, gone %v", removed, err, gone())
	}
	pod.Status.Phase = corev1.PodSucceeded
	if _, err := root.CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if removed, err := admin.RemoveStorage(t.Context(), pai.StorageRemoval{Name: "blobs"}); err != nil || !gone() {
		t.Errorf("after its pod has ended: got %+v, %v, gone %v", removed, err, gone())
	}
	if volume, err = root.CoreV1().PersistentVolumes().Get(t.Context(), declared.VolumeName, metav1.GetOptions{}); err == nil && volume.DeletionTimestamp == nil {
		t.Errorf("the volume stays: %+v", volume.ObjectMeta)
	}
}

// podOf is a pod that mounts a claim, and that nobody starts here.
func podOf(t *testing.T, root kubernetes.Interface, claim string) *corev1.Pod {
	t.Helper()
	source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}
	if _, err := root.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	pod, err := root.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "user-of-" + claim}, Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: source}}, Containers: []corev1.Container{{Name: "c", Image: "i"}},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func checkMounts(t *testing.T, j batchv1.Job) {
	t.Helper()
	mounts := j.Spec.Template.Spec.Containers[0].VolumeMounts
	if len(mounts) < 2 || mounts[0].SubPath != "alice" || mounts[0].ReadOnly || !mounts[1].ReadOnly || mounts[1].MountPath != "/models" {
		t.Errorf("got mounts %+v", mounts)
	}
}

func testRevocation(t *testing.T, first, second string) {
	here, err := client.New(first, "")
	if err != nil {
		t.Fatal(err)
	}
	session, err := here.Login(t.Context(), "alice", "secret-alice", 0)
	if err != nil {
		t.Fatal(err)
	}
	there, err := client.New(second, session.Token)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(want pai.Code) {
		t.Helper()
		await.Until(t, fmt.Sprintf("the other replica answers %q", want), func() bool {
			_, err := there.Storages(t.Context(), false)
			return pai.CodeOf(err) == want
		})
	}
	answers("")
	if err := here.WithToken(session.Token).Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers(pai.UnauthorizedUserError)
}

// megabytes is a size for volumes.
func megabytes(n int64) *resource.Quantity { return resource.NewQuantity(n<<20, resource.BinarySI) }
