package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

func TestReasons(t *testing.T) {
	rwx := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
	volume := func(name, size, class string, change func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
		v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}}, Spec: corev1.PersistentVolumeSpec{
			Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}, AccessModes: rwx, StorageClassName: class},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}
		if change != nil {
			change(v)
		}
		return v
	}
	owned := func(by string, phase corev1.PersistentVolumePhase) func(*corev1.PersistentVolume) {
		return func(v *corev1.PersistentVolume) {
			v.Spec.ClaimRef, v.Status.Phase = &corev1.ObjectReference{Namespace: "default", Name: by, UID: "other"}, phase
		}
	}
	claim := func(selects string, change func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		p := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}, Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: rwx, Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}}}}
		if selects != "" {
			p.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"name": selects}}
		}
		if change != nil {
			change(p)
		}
		return p
	}
	named := func(name string) func(*corev1.PersistentVolumeClaim) {
		return func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName = name }
	}
	class := "fast"
	for want, objects := range map[string][]runtime.Object{
		"there is no volume": {claim("", nil)},
		"no volume has the labels that it selects: name=v": {claim("v", nil), volume("w", "10Gi", "", nil)},
		"volume v has 1Gi, and the claim asks for 10Gi":    {claim("v", nil), volume("v", "1Gi", "", nil)},
		`volume v has storage class "slow", and the claim`: {claim("v", nil), volume("v", "10Gi", "slow", nil)},
		"volume v has access modes [ReadWriteOnce]": {claim("v", nil), volume("v", "10Gi", "", func(v *corev1.PersistentVolume) {
			v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
		})},
		"volume v fits, and belongs to the claim default/o": {claim("v", nil), volume("v", "10Gi", "", owned("o", corev1.VolumeBound))},
		"volume v was released by the claim default/o":      {claim("v", nil), volume("v", "10Gi", "", owned("o", corev1.VolumeReleased))},
		"Kubernetes is about to bind it":                    {claim("v", nil), volume("v", "10Gi", "", nil)},
		"there is no volume gone, which it names":           {claim("", named("gone")), volume("w", "10Gi", "", nil)},
		"volume v, which it names, belongs to the claim":    {claim("", named("v")), volume("v", "10Gi", "", owned("o", corev1.VolumeBound))},
		"volume v, which it names, has 1Gi":                 {claim("", named("v")), volume("v", "1Gi", "", nil)},
		`it waits for a volume of storage class "fast"`:     {claim("", func(p *corev1.PersistentVolumeClaim) { p.Spec.StorageClassName = &class })},
		"its volume v is gone":                              {claim("", func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName, p.Status.Phase = "v", corev1.ClaimLost })},
		"none of 2 volumes fits; it asks for 10Gi":          {claim("", nil), volume("v", "1Gi", "", nil), volume("w", "10Gi", "slow", nil)},
		"it is being removed, and is gone when nothing runs": {claim("", func(p *corev1.PersistentVolumeClaim) {
			now := metav1.Now()
			p.DeletionTimestamp, p.Status.Phase = &now, corev1.ClaimBound
		})},
	} {
		c, _ := onFake(t, Options{}, objects...)
		st, err := c.Storage(t.Context(), "s")
		if err != nil || st.Bound || !strings.Contains(st.Reason, want) {
			t.Errorf("got %q, want %q, %v", st.Reason, want, err)
		}
	}
}

// testVolume is a volume that every claim of [testClaim] fits, with the labels storage: NAME.
func testVolume(name string, change ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"storage": name}}, Spec: corev1.PersistentVolumeSpec{
		Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}
	for _, f := range change {
		f(v)
	}
	return v
}

// testClaim is the claim s, made so long ago, with a class that admission or somebody gave it.
func testClaim(age time.Duration, class string, change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	p := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s", UID: "mine", CreationTimestamp: metav1.NewTime(time.Now().Add(-age))},
		Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}}},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}}
	for _, f := range change {
		f(p)
	}
	return p
}

func testClass(name, provisioner string, mode storagev1.VolumeBindingMode, standard bool) *storagev1.StorageClass {
	c := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, VolumeBindingMode: &mode}
	if standard {
		c.Annotations = map[string]string{defaultClass: "true"}
	}
	return c
}

// TestBinding: every reason for which Kubernetes leaves a claim alone has its code, for a young claim and for one that has been there for long,
// and nobody is told to wait for what has not happened in a minute.
func TestBinding(t *testing.T) {
	type claims = func(*corev1.PersistentVolumeClaim)
	type volumes = func(*corev1.PersistentVolume)
	block, files := corev1.PersistentVolumeBlock, corev1.PersistentVolumeFilesystem
	selects := func(p *corev1.PersistentVolumeClaim) {
		p.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"storage": "v"}}
	}
	names := func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName = "v" }
	asks := func(mode *corev1.PersistentVolumeMode) claims {
		return func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeMode = mode }
	}
	phase := func(to corev1.PersistentVolumeClaimPhase) claims {
		return func(p *corev1.PersistentVolumeClaim) { p.Status.Phase = to }
	}
	device := func(v *corev1.PersistentVolume) { v.Spec.VolumeMode = &block }
	owner := func(name string, phase corev1.PersistentVolumePhase) volumes {
		return func(v *corev1.PersistentVolume) {
			v.Spec.ClaimRef, v.Status.Phase = &corev1.ObjectReference{Namespace: "default", Name: name}, phase
			v.Spec.ClaimRef.UID = "other"
			if name == "s" {
				v.Spec.ClaimRef.UID = ""
			}
		}
	}
	class := func(name string) volumes {
		return func(v *corev1.PersistentVolume) { v.Spec.StorageClassName = name }
	}
	small := func(v *corev1.PersistentVolume) { v.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("1Gi") }
	once := func(v *corev1.PersistentVolume) {
		v.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	}
	failed := func(v *corev1.PersistentVolume) {
		v.Status.Phase, v.Status.Message = corev1.VolumeFailed, "error deleting //u:CANARY@h/s: password=CANARY"
	}
	leaving := func(v *corev1.PersistentVolume) {
		now := metav1.Now()
		v.DeletionTimestamp, v.Finalizers = &now, []string{"kubernetes.io/pv-protection"}
	}
	elsewhere := func(v *corev1.PersistentVolume) { // no reason for the binder, unless the class waits
		v.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
			MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"gone"}}}}}}}
	}
	unlabelled := func(v *corev1.PersistentVolume) { v.Labels = nil }
	waits := testClass("waits", "example.org/disks", storagev1.VolumeBindingWaitForFirstConsumer, false)
	manual := testClass("manual", noProvisioner, storagev1.VolumeBindingWaitForFirstConsumer, false)
	fast := testClass("fast", "example.org/disks", storagev1.VolumeBindingImmediate, false)
	standard := testClass("standard", "example.org/disks", storagev1.VolumeBindingImmediate, true)
	lazy := testClass("lazy", "example.org/disks", storagev1.VolumeBindingWaitForFirstConsumer, true)
	static := testClass("static", noProvisioner, storagev1.VolumeBindingImmediate, false)
	with := func(v ...volumes) *corev1.PersistentVolume { return testVolume("v", v...) }
	for name, c := range map[string]struct {
		class   string
		claim   []claims
		objects []runtime.Object
		code    string // "" for one that is bound with the first job
		want    string
	}{
		"fits":                     {"", []claims{selects}, []runtime.Object{with()}, "fits", ""},
		"fits, on no worker":       {"", []claims{selects}, []runtime.Object{with(elsewhere)}, "fits", ""},
		"named, fits":              {"", []claims{names}, []runtime.Object{with()}, "fits", ""},
		"each names the other":     {"x", []claims{names}, []runtime.Object{with(owner("s", corev1.VolumeAvailable), small, once)}, "fits", ""},
		"reserved":                 {"x", []claims{selects}, []runtime.Object{with(owner("s", corev1.VolumeAvailable), unlabelled)}, "fits", ""},
		"reserved, small":          {"", nil, []runtime.Object{with(owner("s", corev1.VolumeAvailable), small)}, "STO-104", "volume v, which is reserved for it, has 1Gi"},
		"reserved, device":         {"", nil, []runtime.Object{with(owner("s", corev1.VolumeAvailable), device)}, "STO-116", "volume v, which is reserved for it, has volumeMode Block"},
		"reserved, leaves":         {"", nil, []runtime.Object{with(owner("s", corev1.VolumeAvailable), leaving)}, "STO-120", "volume v, which is reserved for it, is being deleted"},
		"volume is a device":       {"", []claims{selects}, []runtime.Object{with(device)}, "STO-116", "volume v has volumeMode Block, and the claim asks for Filesystem"},
		"said to be files":         {"", []claims{selects, asks(&files)}, []runtime.Object{with(device)}, "STO-116", "volume v has volumeMode Block"},
		"named device":             {"", []claims{names}, []runtime.Object{with(device)}, "STO-116", "volume v, which it names, has volumeMode Block"},
		"device among others":      {"", nil, []runtime.Object{with(device), testVolume("w", owner("o", corev1.VolumeBound)), testVolume("x", class("x"))}, "STO-116", "none of 3 volumes fits; it asks for 10Gi, [ReadWriteMany] and storage class \"\"; closest is this one: volume v has volumeMode Block"},
		"size":                     {"", []claims{selects}, []runtime.Object{with(small)}, "STO-104", "volume v has 1Gi"},
		"class":                    {"x", []claims{selects}, []runtime.Object{with()}, "STO-106", `volume v has storage class "", and the claim asks for "x"`},
		"access modes":             {"", []claims{selects}, []runtime.Object{with(once)}, "STO-105", "volume v has access modes [ReadWriteOnce]"},
		"selector":                 {"", []claims{selects}, []runtime.Object{with(unlabelled)}, "STO-103", "no volume has the labels that it selects: storage=v"},
		"taken":                    {"", []claims{selects}, []runtime.Object{with(owner("o", corev1.VolumeBound))}, "STO-108", "volume v fits, and belongs to the claim default/o"},
		"reserved for another":     {"", []claims{selects}, []runtime.Object{with(owner("o", corev1.VolumeAvailable))}, "STO-108", "belongs to the claim default/o"},
		"named, taken":             {"", []claims{names}, []runtime.Object{with(owner("o", corev1.VolumeBound))}, "STO-108", "volume v, which it names, belongs to the claim default/o"},
		"leaves":                   {"", []claims{selects}, []runtime.Object{with(leaving)}, "STO-120", "volume v is being deleted"},
		"named, leaves":            {"", []claims{names}, []runtime.Object{with(leaving)}, "STO-120", "volume v, which it names, is being deleted"},
		"failed":                   {"", []claims{selects}, []runtime.Object{with(failed)}, "STO-119", "volume v has failed: error deleting //h/s: password=(withheld)"},
		"released":                 {"", []claims{selects}, []runtime.Object{with(owner("o", corev1.VolumeReleased))}, "STO-107", "volume v was released by the claim default/o"},
		"named, released":          {"", []claims{names}, []runtime.Object{with(owner("o", corev1.VolumeReleased))}, "STO-107", "volume v was released"},
		"no volume":                {"", nil, nil, "STO-102", "there is no volume"},
		"named, not there":         {"", []claims{names}, nil, "STO-111", "there is no volume v"},
		"waits for a job":          {"waits", nil, []runtime.Object{waits}, "", ""},
		"waits, volumes of others": {"waits", nil, []runtime.Object{waits, testVolume("w"), testVolume("x", class("waits"), small)}, "", ""},
		"waits, made by hand":      {"manual", []claims{selects}, []runtime.Object{manual, with(class("manual"), elsewhere)}, "", ""},
		"waits in vain":            {"manual", nil, []runtime.Object{manual}, "STO-106", `it waits for a volume of storage class "manual", and nobody makes any of that class`},
		"waits, and too small":     {"manual", nil, []runtime.Object{manual, with(class("manual"), small)}, "STO-104", "volume v has 1Gi"},
		"waits, named":             {"waits", []claims{names}, []runtime.Object{waits, with(class("waits"))}, "fits", ""},
		"waits for its maker":      {"fast", nil, []runtime.Object{fast, testVolume("w")}, "STO-106", `it waits for a volume of storage class "fast", which example.org/disks makes`},
		"nobody makes any":         {"static", nil, []runtime.Object{static}, "STO-106", `storage class "static", and nobody makes any`},
		"no such class":            {"gold", nil, nil, "STO-106", `storage class "gold", and there is no such class`},
		"default class":            {"standard", []claims{selects}, []runtime.Object{standard, with()}, "STO-118", `volume v has no storage class, and the claim has "standard", the default one`},
		"default class that waits": {"lazy", []claims{selects}, []runtime.Object{lazy, with()}, "STO-118", `and the claim has "lazy", the default one`},
		"default class, named":     {"standard", []claims{names}, []runtime.Object{standard, with()}, "STO-118", "volume v, which it names, has no storage class"},
		"lost":                     {"", []claims{names, phase(corev1.ClaimLost)}, nil, "STO-110", "its volume v is gone; make a volume of that name again"},
		"lost to another":          {"", []claims{names, phase(corev1.ClaimLost)}, []runtime.Object{with(owner("o", corev1.VolumeBound))}, "STO-110", "its volume v belongs to the claim default/o now"},
		"lost, and there again":    {"", []claims{names, phase(corev1.ClaimLost)}, []runtime.Object{with()}, "fits", ""},
	} {
		for _, age := range []time.Duration{time.Second, time.Hour} {
			code, want := c.code, c.want
			switch {
			case code == "fits" && age < bindingTime:
				code, want = "STO-112", "no volume is bound to its claim yet: Kubernetes is about to bind it"
			case code == "fits":
				code, want = "STO-117", "volume v fits, and Kubernetes has not bound it, although the claim is older than a minute; an administrator sees what Kubernetes says with: kubectl describe pvc s -n default"
			}
			cluster, _ := onFake(t, Options{}, append([]runtime.Object{testClaim(age, c.class, c.claim...)}, c.objects...)...)
			st, err := cluster.Storage(t.Context(), "s")
			if err != nil || st.Bound || st.BindsWithJob != (code == "") || st.Usable() != (code == "") || !strings.Contains(st.Reason, want) || (code == "") != (st.Reason == "") {
				t.Errorf("%s, after %s: got %+v, want %q, %v", name, age, st, want, err)
			}
			if strings.Contains(st.Reason, "CANARY") {
				t.Errorf("%s: a secret is shown: %s", name, st.Reason)
			}
			cl, _ := cluster.claims.get("s")
			fault := cluster.claimFault(cl)
			if code != "" && fault.Code() != code || code == "" && fault.Kind != doctor.ClaimFirstJob {
				t.Errorf("%s, after %s: got %s, want %s", name, age, fault.Code(), code)
			}
			facts := doctor.Facts{Now: time.Now(), Job: doctor.Job{State: pai.JobWaiting}, Storages: []doctor.Storage{cluster.storageFacts(specs.KeptMount{Storage: "s"})},
				Tasks: []doctor.Task{{Name: "w[0]", State: pai.JobWaiting, Created: time.Now().Add(-age), Unschedulable: "pod has unbound immediate PersistentVolumeClaims"}}}
			for _, f := range doctor.Diagnose(facts) {
				if f.Who == pai.FixedByWaiting && age > bindingTime {
					t.Errorf("%s: nobody has to do anything, for an hour: %+v", name, f)
				}
			}
		}
	}
}

// TestRawDevices: a storage without files is never ready, bound or not, and workers do not look at it.
func TestRawDevices(t *testing.T) {
	block := corev1.PersistentVolumeBlock
	asks := func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeMode = &block }
	bound := func(p *corev1.PersistentVolumeClaim) { p.Spec.VolumeName, p.Status.Phase = "v", corev1.ClaimBound }
	device := func(v *corev1.PersistentVolume) { v.Spec.VolumeMode = &block }
	for want, objects := range map[string][]runtime.Object{
		"its claim asks for": {testClaim(0, "", asks), testVolume("v", device)},
		"its claim asks":     {testClaim(0, "", asks, bound), testVolume("v", device)},
		"its volume v is":    {testClaim(0, "", bound), testVolume("v", device)},
	} {
		c, _ := onFake(t, Options{}, append(objects, holding("s"))...)
		st, err := c.Storage(t.Context(), "s")
		if err != nil || !st.Refused || st.Usable() || !strings.HasPrefix(st.Reason, want) || !strings.Contains(st.Reason, "a raw device (volumeMode Block)") || !strings.HasSuffix(st.Reason, "[STO-115]") {
			t.Errorf("got %+v, %v", st, err)
		}
		if _, ordered, err := c.orderFor(t.Context(), "s"); ordered || err != nil {
			t.Errorf("workers mount it, %v", err)
		}
		if facts := c.storageFacts(specs.KeptMount{Storage: "s"}); facts.Claim.Code() != "STO-115" {
			t.Errorf("a job that mounts it: %+v", facts.Claim)
		}
	}
}

// TestDeadNames: a name of older days that no storage can have is in nobody's way, and can be taken away.
func TestDeadNames(t *testing.T) {
	c, _ := onFake(t, Options{}, holding("TEAM_NFS", "nfs-storage"))
	ctx, text := by(t, "admin"), "new"
	g, err := c.ChangeGroup(ctx, pai.GroupChange{Name: "default", Patch: true, Description: &text})
	if err != nil || g.Description != text || len(g.ACLs().StorageConfigs) != 2 {
		t.Errorf("got %+v, %v", g, err)
	}
	if _, err := c.GrantStorage(ctx, "default", "TEAM_SMB"); pai.CodeOf(err) != pai.NoStorageError {
		t.Errorf("a dead name is granted: %v", err)
	}
	if result, err := c.RevokeStorage(ctx, "default", "TEAM_NFS", false); err != nil || !result.Changed || len(result.Group.ACLs().StorageConfigs) != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
}
