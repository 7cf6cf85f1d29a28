package kube

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// samba is a storage with a secret of its own.
func samba(name pai.StorageName) pai.StorageDeclaration {
	return pai.StorageDeclaration{Name: name, Type: pai.StorageSamba, Address: "//h/s", Secret: pai.Secret{"username": "u", "password": "CANARY"}}
}

func onFake(t *testing.T, o Options, objects ...runtime.Object) (*Cluster, *fake.Clientset) {
	t.Helper()
	client := kubefake.New(objects...)
	o.JobsNamespace = "default"
	c, err := New(client, o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	return c, client
}

// storageParts is what is there of a storage.
func storageParts(t *testing.T, client *fake.Clientset, name string) []string {
	t.Helper()
	var parts []string
	_, err := client.CoreV1().PersistentVolumes().Get(t.Context(), name+"-pv", metav1.GetOptions{})
	if err == nil {
		parts = append(parts, "volume")
	}
	secret, err2 := client.CoreV1().Secrets("default").Get(t.Context(), name+"-secret", metav1.GetOptions{})
	if err2 == nil && (err == nil || len(secret.OwnerReferences) == 0) { // without its owner it is garbage, which the fake does not collect
		parts = append(parts, "secret")
	}
	if _, err := client.CoreV1().PersistentVolumeClaims("default").Get(t.Context(), name, metav1.GetOptions{}); err == nil {
		parts = append(parts, "claim")
	}
	return parts
}

func TestDeclareAndRemove(t *testing.T) {
	c, client := onFake(t, Options{})
	ctx := by(t, "admin")
	made, err := c.DeclareStorage(ctx, samba("team"))
	if err != nil || made.VolumeName != "team-pv" || made.SecretName != "team-secret" || strings.Contains(made.Manifest, "CANARY") || !strings.Contains(made.Manifest, withheld) {
		t.Fatalf("got %+v, %v", made, err)
	}
	if got := storageParts(t, client, "team"); len(got) != 3 {
		t.Fatalf("there is %v", got)
	}
	if _, err := c.Storage(ctx, "team"); err != nil {
		t.Errorf("it is not there at once: %v", err)
	}
	if _, err := c.DeclareStorage(ctx, samba("team")); pai.CodeOf(err) != pai.ConflictStorageError {
		t.Errorf("twice: got %v", err)
	}
	if _, err := c.CreateGroup(ctx, pai.Group{Name: "g", Extension: map[string]any{"acls": map[string]any{"storageConfigs": []any{"team", "other"}}}}); err != nil {
		t.Fatal(err)
	}
	removed, err := c.RemoveStorage(ctx, pai.StorageRemoval{Name: "team"})
	if err != nil || len(removed.Deleted) != 2 || len(removed.Granted) != 1 {
		t.Errorf("got %+v, %v", removed, err)
	}
	if got := storageParts(t, client, "team"); len(got) != 0 {
		t.Errorf("there still is %v", got)
	}
	if _, err := c.RemoveStorage(ctx, pai.StorageRemoval{Name: "team"}); pai.CodeOf(err) != pai.NoStorageError {
		t.Errorf("got %v", err)
	}
	var trail []string
	for _, e := range entries(t, c, pai.AuditQuery{Kind: "storage"}) {
		trail = append(trail, string(e.Action), string(e.Before), string(e.After))
	}
	if text := strings.Join(trail, " "); strings.Contains(text, "CANARY") || !strings.Contains(text, "create") || !strings.Contains(text, `"secret":"new"`) {
		t.Errorf("the audit trail says %s", text)
	}
}

func TestDryRunMakesNothing(t *testing.T) {
	c, client := onFake(t, Options{})
	d := samba("team")
	d.DryRun = true
	if made, err := c.DeclareStorage(by(t, "admin"), d); err != nil || !strings.Contains(made.Manifest, "kind: PersistentVolumeClaim") {
		t.Errorf("got %+v, %v", made, err)
	}
	if got := storageParts(t, client, "team"); got != nil || len(entries(t, c, pai.AuditQuery{})) != 0 {
		t.Errorf("there is %v", got)
	}
}

// TestDeclarationUndoesItself lets each of the steps fail, once by a fault and once because the name is taken.
func TestDeclarationUndoesItself(t *testing.T) {
	for _, step := range []string{"persistentvolumes", "secrets", "persistentvolumeclaims"} {
		for code, fault := range map[pai.Code]error{
			pai.UnknownError:         errors.New("no quota left"),
			pai.ConflictStorageError: apierrors.NewAlreadyExists(corev1.Resource(step), "x"),
		} {
			c, client := onFake(t, Options{})
			client.PrependReactor("create", step, func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, fault })
			if _, err := c.DeclareStorage(by(t, "admin"), samba("team")); pai.CodeOf(err) != code {
				t.Errorf("%s: got %v", step, err)
			}
			if got := storageParts(t, client, "team"); got != nil {
				t.Errorf("%s, %s: there is %v", step, code, got)
			}
		}
	}
}

// TestSweepUndoesHalves ends a declaration after each step, as kill -9 does, and lets another server sweep.
// TestDeclarationIsFinished: Kubernetes made the claim, and its answer was lost on the way. Then there is a storage, and nothing to undo.
func TestDeclarationIsFinished(t *testing.T) {
	c, client := onFake(t, Options{})
	client.PrependReactor("create", "persistentvolumeclaims", func(a ktesting.Action) (bool, runtime.Object, error) {
		create := a.(ktesting.CreateAction)
		if err := client.Tracker().Create(create.GetResource(), create.GetObject(), "default"); err != nil {
			t.Error(err)
		}
		return true, nil, errors.New("connection reset")
	})
	if _, err := c.DeclareStorage(by(t, "admin"), samba("team")); err != nil {
		t.Errorf("got %v", err)
	}
	if got := storageParts(t, client, "team"); len(got) != 3 {
		t.Errorf("there is %v", got)
	}
}

func TestSweepUndoesHalves(t *testing.T) {
	for steps, want := range [][]string{1: {}, 2: {}, 3: {"volume", "secret", "claim"}} {
		if steps == 0 {
			continue
		}
		dead, client := onFake(t, Options{})
		d, err := samba("team").Normalize()
		if err != nil {
			t.Fatal(err)
		}
		objects, err := dead.declaredObjects(d, "d1")
		if err != nil {
			t.Fatal(err)
		}
		volume, err := client.CoreV1().PersistentVolumes().Create(t.Context(), objects.volume, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if steps > 1 {
			objects.secret.OwnerReferences[0].UID = volume.UID
			if _, err = client.CoreV1().Secrets("default").Create(t.Context(), objects.secret, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if steps > 2 {
			if _, err = client.CoreV1().PersistentVolumeClaims("default").Create(t.Context(), objects.claim, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		later := func() time.Time { return time.Now().Add(2 * time.Minute) }
		for _, o := range []struct {
			options Options
			want    []string
		}{{Options{}, []string{"volume", "secret", "claim"}[:steps]}, {Options{Now: later}, want}} { // a young one may be under way
			o.options.JobsNamespace = "default"
			next, err := New(client, o.options)
			if err != nil {
				t.Fatal(err)
			}
			run(t, next)
			next.sweep(t.Context())
			if got := storageParts(t, client, "team"); !slices.Equal(got, o.want) {
				t.Errorf("after %d steps: there is %v, want %v", steps, got, o.want)
			}
		}
	}
}

// TestSweepLeavesOthers: volumes that were not declared, that belong to a bound claim or were released by one stay.
func TestSweepLeavesOthers(t *testing.T) {
	pv := func(name, declaration string, owner *corev1.ObjectReference) *corev1.PersistentVolume {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{ClaimRef: owner}}
		if declaration != "" {
			v.Labels = map[string]string{"pai.storage/declaration": declaration}
		}
		return v
	}
	c, client := onFake(t, Options{Now: func() time.Time { return time.Now().Add(time.Hour) }},
		pv("somebodys", "", &corev1.ObjectReference{Namespace: "default", Name: "x"}), pv("free", "d", nil),
		pv("released", "d", &corev1.ObjectReference{Namespace: "default", Name: "x", UID: "u"}),
		pv("elsewhere", "d", &corev1.ObjectReference{Namespace: "other", Name: "x"}))
	c.sweep(t.Context())
	list, err := client.CoreV1().PersistentVolumes().List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 4 {
		t.Errorf("%d volumes are left, %v", len(list.Items), err)
	}
}

// bound makes a volume and its claim that nobody declared.
func bound(name string, policy corev1.PersistentVolumeReclaimPolicy) []runtime.Object {
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")}
	return []runtime.Object{
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name + "-pv"}, Spec: corev1.PersistentVolumeSpec{Capacity: size, PersistentVolumeReclaimPolicy: policy,
			PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "h", Path: "/p"}}},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: name + "-pv"},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
	}
}

func TestRemovalKeepsWhatOthersMade(t *testing.T) {
	c, client := onFake(t, Options{}, bound("dynamic", corev1.PersistentVolumeReclaimDelete)...)
	removed, err := c.RemoveStorage(by(t, "admin"), pai.StorageRemoval{Name: "dynamic"})
	if err != nil || !slices.Equal(removed.Kept, []string{"volume dynamic-pv"}) {
		t.Fatalf("got %+v, %v", removed, err)
	}
	pv, err := client.CoreV1().PersistentVolumes().Get(t.Context(), "dynamic-pv", metav1.GetOptions{})
	if err != nil || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
		t.Errorf("the data would be deleted: %v, %v", pv, err)
	}
	var order []string
	for _, a := range client.Actions() {
		if a.GetVerb() == "patch" || a.GetVerb() == "delete" {
			order = append(order, a.GetVerb()+" "+a.GetResource().Resource)
		}
	}
	if !slices.Equal(order, []string{"patch persistentvolumes", "delete persistentvolumeclaims"}) {
		t.Errorf("got %v", order)
	}
}

func TestRemovalOfWhatJobsMount(t *testing.T) {
	c, _ := onFake(t, Options{}, bound("busy", corev1.PersistentVolumeReclaimRetain)...)
	ctx := by(t, "admin")
	s := pai.Submission{Owner: "alice", Mounts: []pai.Mount{{Storage: "busy", Path: "/mnt/busy"}},
		Spec: pai.JobSpec{Name: "one", TaskRoles: []pai.TaskRole{{Name: "a", Instances: 1}, {Name: "b", Instances: 1}}}}
	if _, err := c.Submit(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateGroup(ctx, pai.Group{Name: "g", Extension: map[string]any{"acls": map[string]any{"storageConfigs": []any{"busy"}}}}); err != nil {
		t.Fatal(err)
	}
	all, err := c.AllStorages(ctx)
	if err != nil || len(all) != 1 || len(all[0].Jobs) != 1 || all[0].State != "Bound" || all[0].VolumeState != "Bound" || all[0].Size != "5Gi" || len(all[0].Groups) != 1 {
		t.Errorf("got %+v, %v", all, err)
	}
	if _, err := c.RemoveStorage(ctx, pai.StorageRemoval{Name: "busy"}); pai.CodeOf(err) != pai.StorageInUseError || !strings.Contains(err.Error(), "alice~one") {
		t.Errorf("got %v", err)
	}
	removed, err := c.RemoveStorage(ctx, pai.StorageRemoval{Name: "busy", Force: true, Revoke: true})
	if err != nil || len(removed.Jobs) != 1 || len(removed.Granted) != 0 {
		t.Errorf("got %+v, %v", removed, err)
	}
	if g, err := c.Group(ctx, "g"); err != nil || len(g.ACLs().StorageConfigs) != 0 {
		t.Errorf("the group has %v, %v", g.ACLs().StorageConfigs, err)
	}
}
