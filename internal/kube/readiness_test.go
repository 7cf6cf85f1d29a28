package kube

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// smbStorage is a claim with its volume, mounted with a Secret.
func smbStorage(name, secret, namespace string) []runtime.Object {
	return []runtime.Object{
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name + "-pv"}, Spec: corev1.PersistentVolumeSpec{
			ClaimRef: &corev1.ObjectReference{Namespace: "default", Name: name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{FlexVolume: &corev1.FlexPersistentVolumeSource{Driver: "microsoft.com/smb",
				Options: map[string]string{"source": "//10.0.0.1/" + name, "mountoptions": "vers=3.0"}, SecretRef: &corev1.SecretReference{Name: secret, Namespace: namespace}}}}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec: corev1.PersistentVolumeClaimSpec{VolumeName: name + "-pv"}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
	}
}

// localStorage is one that certain workers alone have.
func localStorage(name string, nodes ...string) []runtime.Object {
	objects := smbStorage(name, "", "")
	pv := objects[0].(*corev1.PersistentVolume)
	pv.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/disk"}}
	pv.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: nodes}}}}}}
	return objects
}

func smbSecret(name, namespace string, data map[string]string) *corev1.Secret {
	s := original(namespace, name, data)
	s.Type = "microsoft.com/smb"
	return s
}

func holding(storages ...string) *corev1.Secret {
	list, err := json.Marshal(storages)
	if err != nil {
		panic(err) // strings are always JSON
	}
	return original(GroupNamespace, "64656661756c74", map[string]string{"groupname": "default", "extension": `{"acls":{"storageConfigs":` + string(list) + `}}`})
}

// orders are what is asked of workers in the cluster once as asks, by storage.
func orders(t *testing.T, client kubernetes.Interface, as func(map[string]storagecheck.Order) bool) (map[string]storagecheck.Order, map[string]string) {
	t.Helper()
	all, versions := map[string]storagecheck.Order{}, map[string]string{}
	await.Until(t, "orders are as they should be", func() bool {
		clear(all)
		clear(versions)
		list, err := client.CoreV1().Secrets(storagecheck.OrderNamespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list.Items {
			var o storagecheck.Order
			if err := json.Unmarshal(s.Data[storagecheck.OrderKey], &o); err != nil {
				t.Fatal(err)
			}
			all[s.Name], versions[s.Name] = o, s.ResourceVersion
		}
		return as(all)
	})
	return all, versions
}

// TestOrders: workers are asked to check what a group holds and what can be read, and nothing else.
func TestOrders(t *testing.T) {
	objects := []runtime.Object{
		holding("home", "keyless", "typed", "secretless", "elsewhere", "foreign", "disk", "nowhere"),
		smbSecret("smb", "default", map[string]string{"username": "u", "password": "CANARY"}),
		smbSecret("other", "default", map[string]string{"username": "u", "password": "CANARY-2"}),
		smbSecret("half", "default", map[string]string{"username": "u"}),
		smbSecret("far", "kube-system", map[string]string{"username": "u", "password": "CANARY-3"}),
		original("default", "opaque", map[string]string{"username": "u", "password": "CANARY-4"}),
	}
	for name, secret := range map[string]string{"home": "smb", "keyless": "half", "typed": "opaque", "secretless": "missing", "ungranted": "other"} {
		objects = append(objects, smbStorage(name, secret, "default")...)
	}
	objects = append(objects, smbStorage("elsewhere", "far", "kube-system")...)
	objects = append(objects, localStorage("disk", "one")...)
	foreign := localStorage("foreign", "one")
	foreign[0].(*corev1.PersistentVolume).Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "ceph.example", VolumeHandle: "1"}}
	objects = append(objects, foreign...)
	client := kubefake.New(objects...)
	c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	got, before := orders(t, client, func(all map[string]storagecheck.Order) bool { return len(all) == 7 })
	if _, ok := got["ungranted"]; ok {
		t.Error("a storage that no group holds is checked")
	}
	home := got["home"]
	if home.Mount == nil || home.Mount.Kind != mount.SMB || home.Mount.Source != "//10.0.0.1/home" || home.Secret["password"] != "CANARY" || home.Flex != "microsoft.com/smb" || home.Type != "samba" {
		t.Errorf("home: %+v", home)
	}
	for name, words := range map[string]string{"keyless": "the Secret lacks the key password", "typed": "Cannot get secret of type microsoft.com/smb", "secretless": `secrets "missing" not found`} {
		if o := got[name]; !strings.Contains(o.Fault, words) || o.Mount != nil || len(o.Secret) > 0 {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if o := got["elsewhere"]; o.Mount != nil || len(o.Secret) > 0 || o.Flex == "" || !strings.Contains(o.Unmounted, "namespace kube-system") {
		t.Errorf("a Secret of another namespace: %+v", o)
	}
	if home.Unmounted != "" {
		t.Errorf("it is mounted for its check: %+v", home)
	}
	if o := got["foreign"]; o.Mount != nil || o.Driver != "ceph.example" || !strings.Contains(o.Unmounted, "driver ceph.example") {
		t.Errorf("a driver of somebody else: %+v", o)
	}
	if o := got["disk"]; o.Unmounted != "" || o.Path != "/disk" || len(o.Nodes) != 1 || o.Nodes[0] != "one" {
		t.Errorf("disk: %+v", o)
	}
	for _, obj := range c.informers {
		for _, kept := range obj.GetStore().List() {
			if s, ok := kept.(*corev1.Secret); ok && s.Namespace == storagecheck.OrderNamespace && strings.Contains(string(s.Data[storagecheck.OrderKey]), "CANARY") {
				t.Error("the caches hold what storages are mounted with")
			}
		}
	}

	// A changed Secret is a new order; what is the same stays as it is.
	changed := smbSecret("smb", "default", map[string]string{"username": "u", "password": "CANARY-5"})
	if _, err := client.CoreV1().Secrets("default").Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.orderKeeper.touchAll()
	_, after := orders(t, client, func(all map[string]storagecheck.Order) bool { return all["home"].Secret["password"] == "CANARY-5" })
	if after["home"] == before["home"] || after["disk"] != before["disk"] || after["keyless"] != before["keyless"] {
		t.Errorf("versions were %v and are %v", before, after)
	}

	// What no group holds any more is checked no more, and what one holds now is.
	if _, err := c.ChangeGroup(t.Context(), pai.GroupChange{Name: "default", Patch: true, Extension: map[string]any{"acls": map[string]any{"storageConfigs": []any{"ungranted"}}}}); err != nil {
		t.Fatal(err)
	}
	orders(t, client, func(all map[string]storagecheck.Order) bool { _, ok := all["ungranted"]; return ok && len(all) == 1 })
	if err := client.CoreV1().PersistentVolumeClaims("default").Delete(t.Context(), "ungranted", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	orders(t, client, func(all map[string]storagecheck.Order) bool { return len(all) == 0 })
}

// TestOfficialDrivers: what an official driver mounts without a Secret cannot be checked, which is no fault of it.
func TestOfficialDrivers(t *testing.T) {
	type attributes = map[string]string
	secret := &corev1.SecretReference{Name: "keys", Namespace: "default"}
	keys := original("default", "keys", map[string]string{"azurestorageaccountname": "acme", "azurestorageaccountkey": "CANARY"})
	objects := []runtime.Object{keys}
	var names []string
	cases := map[string]struct {
		source         corev1.CSIPersistentVolumeSource
		unmounted, own string // parts of them; "" when it is mounted
	}{
		"file":         {corev1.CSIPersistentVolumeSource{Driver: "file.csi.azure.com", VolumeHandle: "rg#acme#share", VolumeAttributes: attributes{"shareName": "aksshare"}}, "names no Secret", "the Secret lacks the key"},
		"file-secret":  {corev1.CSIPersistentVolumeSource{Driver: "file.csi.azure.com", NodeStageSecretRef: secret, VolumeAttributes: attributes{"shareName": "aksshare"}}, "", ""},
		"file-nfs":     {corev1.CSIPersistentVolumeSource{Driver: "file.csi.azure.com", VolumeAttributes: attributes{"shareName": "aksshare", "protocol": "nfs"}}, "may know how", "protocol:"},
		"blob-msi":     {corev1.CSIPersistentVolumeSource{Driver: "blob.csi.azure.com", NodeStageSecretRef: secret, VolumeAttributes: attributes{"containerName": "images", "AzureStorageAuthType": "MSI"}}, "identity", ""},
		"blob-key":     {corev1.CSIPersistentVolumeSource{Driver: "blob.csi.azure.com", NodeStageSecretRef: secret, VolumeAttributes: attributes{"containerName": "images", "AzureStorageAuthType": "key"}}, "", ""},
		"smb-guest":    {corev1.CSIPersistentVolumeSource{Driver: "smb.csi.k8s.io", VolumeAttributes: attributes{"source": "//10.0.0.1/share"}}, "names no Secret", ""},
		"official-nfs": {corev1.CSIPersistentVolumeSource{Driver: "nfs.csi.k8s.io", VolumeAttributes: attributes{"server": "10.0.0.1", "share": "/data"}}, "", ""},
	}
	for name, c := range cases {
		both := smbStorage(name, "", "")
		both[0].(*corev1.PersistentVolume).Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{CSI: &c.source}
		objects, names = append(objects, both...), append(names, name)
	}
	client := kubefake.New(append(objects, holding(names...))...)
	c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	got, _ := orders(t, client, func(all map[string]storagecheck.Order) bool { return len(all) == len(cases) })
	for name, want := range cases {
		o := got[name]
		if o.Fault != "" || (o.Mount == nil) != (want.unmounted != "") || (o.Unmounted == "") != (want.unmounted == "") ||
			!strings.Contains(o.Unmounted, want.unmounted) || !strings.Contains(o.OwnFault, want.own) {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

// TestSecretOfStaging: our driver mounts with the Secret of staging, whatever else the volume names.
func TestSecretOfStaging(t *testing.T) {
	secret := &corev1.SecretReference{Name: "smb", Namespace: "default"}
	objects := []runtime.Object{holding("publish", "both"), original("default", "smb", map[string]string{"username": "u", "password": "CANARY"})}
	for name, stage := range map[string]*corev1.SecretReference{"publish": nil, "both": secret} {
		both := smbStorage(name, "", "")
		both[0].(*corev1.PersistentVolume).Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.pai.storage",
			VolumeHandle: name, VolumeAttributes: map[string]string{"type": "samba", "address": "//10.0.0.1/share"}, NodePublishSecretRef: secret, NodeStageSecretRef: stage}}
		objects = append(objects, both...)
	}
	client := kubefake.New(objects...)
	c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	got, _ := orders(t, client, func(all map[string]storagecheck.Order) bool { return len(all) == 2 })
	if o := got["both"]; o.Fault != "" || o.Secret["password"] != "CANARY" {
		t.Errorf("%+v", o)
	}
	o := got["publish"]
	if o.Mount != nil || len(o.Secret) > 0 || !strings.Contains(o.Fault, "nodePublishSecretRef alone") {
		t.Errorf("%+v", o)
	}
	f := doctor.Cell(c.storageFacts(specs.KeptMount{Storage: "publish"}), "one", o.Fault, time.Now())
	if f.Code != "STO-501" || f.Object != "volume publish-pv" || !strings.Contains(f.Fix, "nodeStageSecretRef") {
		t.Errorf("%+v", f)
	}
}

// TestHostNames: volumes name workers by their host names, which may be other ones than those of their nodes.
func TestHostNames(t *testing.T) {
	named := func(name, host string) *corev1.Node {
		n := worker(name, corev1.ConditionTrue)
		n.Labels = map[string]string{corev1.LabelHostname: host}
		return n
	}
	objects := []runtime.Object{holding("disk", "wrong", "later"), named("ip-1.internal", "ip-1"), named("ip-2.internal", "ip-2")}
	for name, host := range map[string]string{"disk": "ip-1", "wrong": "ip-2.internal", "later": "ip-3"} {
		objects = append(objects, localStorage(name, host)...)
	}
	client := kubefake.New(objects...)
	c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	got, _ := orders(t, client, func(all map[string]storagecheck.Order) bool { return len(all) == 3 })
	for name, want := range map[string]string{"disk": "ip-1.internal", "wrong": "kubernetes.io/hostname=ip-2.internal", "later": "ip-3"} {
		if nodes := got[name].Nodes; !slices.Equal(nodes, []string{want}) {
			t.Errorf("%s is for %v, want %s", name, nodes, want)
		}
	}
	if hosts := c.hostsOf([]string{"ip-2.internal", "ip-3"}); !slices.Equal(hosts, []string{"ip-2", "ip-3"}) {
		t.Errorf("a declaration has %v", hosts)
	}
}

// reportOf is what a worker's agent says.
func reportOf(t *testing.T, node string, at time.Time, results map[string]storagecheck.Result) *corev1.ConfigMap {
	t.Helper()
	text, err := json.Marshal(storagecheck.Report{Node: node, Time: at, Results: results, Facts: storagecheck.Facts{Helpers: map[string]bool{}, FUSE: true}})
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: node, ResourceVersion: "1"}, Data: map[string]string{storagecheck.ReportKey: string(text)}}
}

// TestReadiness: the states of cells.
func TestReadiness(t *testing.T) {
	now := time.Now()
	c, err := New(kubefake.New(), Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, objects := range [][]runtime.Object{smbStorage("home", "smb", "default"), localStorage("disk", "well"), localStorage("foreign", "well")} {
		c.volumes.put(objects[0])
		c.claims.put(objects[1])
	}
	for _, o := range []storagecheck.Order{{Storage: "home"}, {Storage: "foreign", Unmounted: "nobody mounts it", Nodes: []string{"well", "fails"}}, {Storage: "disk", Nodes: []string{"well"}}} {
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		slim, err := slimOrder(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: o.Storage, ResourceVersion: "7"}, Data: map[string][]byte{storagecheck.OrderKey: text}})
		if err != nil {
			t.Fatal(err)
		}
		c.orders.put(slim)
	}
	ok := storagecheck.Result{OK: true, Time: now, Latency: time.Second, Free: 5, Size: 9, Order: "7"}
	outdated, failed := ok, storagecheck.Result{Message: "mount error(13): Permission denied", Time: now, Free: -1, Size: -1, Order: "7"}
	outdated.Order = "6"
	overdue, refused := ok, storagecheck.Result{Unchecked: true, Message: "too many checks hang", Time: now, Free: -1, Size: -1, Order: "7"}
	overdue.Time = now.Add(-time.Hour)
	overdueFailed := failed
	overdueFailed.Time = overdue.Time
	late := now.Add(-13 * time.Minute)
	for node, results := range map[string]map[string]storagecheck.Result{
		"well": {"home": ok, "disk": ok, "gone": ok, "foreign": ok}, "fails": {"home": failed, "foreign": failed}, "behind": {"home": outdated}, "busy": {}, "late": {"home": failed}, "dead": {"home": ok}, "new": nil, "mute": nil,
		"overdue": {"home": overdue}, "overdue and failed": {"home": overdueFailed}, "full": {"home": refused},
	} {
		w := worker(node, corev1.ConditionTrue)
		w.CreationTimestamp = metav1.NewTime(late)
		at := now
		switch node {
		case "late":
			at = late
		case "dead":
			w.Status.Conditions[0].Status = corev1.ConditionUnknown
		case "new":
			w.CreationTimestamp = metav1.NewTime(now)
		}
		w.Labels = map[string]string{"pai-worker": "true"}
		c.nodes.put(w)
		if results != nil {
			c.reports.put(reportOf(t, node, at, results))
		}
	}
	want := map[string]pai.CellState{"well": pai.CellOK, "fails": pai.CellFailed, "behind": pai.CellPending, "busy": pai.CellPending, "late": pai.CellStale,
		"dead": pai.CellStale, "new": pai.CellPending, "mute": pai.CellStale, "overdue": pai.CellStale, "overdue and failed": pai.CellStale, "full": pai.CellUnchecked}
	health, err := c.StorageHealth(t.Context(), "home")
	if err != nil || len(health.Cells) != len(want) {
		t.Fatalf("got %+v, %v", health, err)
	}
	for _, cell := range health.Cells {
		if cell.State != want[cell.Node] || (cell.Finding != nil) != (cell.State == pai.CellFailed) {
			t.Errorf("%s: %+v, want %s", cell.Node, cell, want[cell.Node])
		}
		if f := cell.Finding; f != nil && (f.Code != "STO-308" || !strings.Contains(f.Message, "node fails cannot mount samba storage \"home\"") || f.Evidence != failed.Message) {
			t.Errorf("finding %+v", f)
		}
		if (cell.Note == refused.Message) != (cell.State == pai.CellUnchecked) {
			t.Errorf("%+v", cell)
		}
		if cell.Node == "well" && (cell.Free != 5 || cell.Latency != time.Second || cell.At.IsZero()) {
			t.Errorf("%+v", cell)
		}
	}
	if broken := c.failures("home"); len(broken) != 1 || broken["fails"].Message == "" {
		t.Errorf("it cannot be used on %v", broken)
	}
	if counts := (pai.CellCounts{OK: 1, Failed: 1, Pending: 3, Stale: 5, Unchecked: 1}); health.Counts() != counts {
		t.Errorf("counts %+v", health.Counts())
	}
	if health, err = c.StorageHealth(t.Context(), "foreign"); err != nil || health.Counts().Unchecked != 1 || health.Counts().Failed != 1 {
		t.Errorf("got %+v, %v", health, err)
	}
	for _, cell := range health.Cells {
		if (cell.Note == "nobody mounts it") != (cell.State == pai.CellUnchecked) {
			t.Errorf("%+v", cell)
		}
	}
	if _, err := c.StorageHealth(t.Context(), "nowhere"); pai.CodeOf(err) != pai.NoStorageError {
		t.Errorf("got %v", err)
	}
	for _, q := range []struct {
		pai.ReadinessQuery
		nodes, cells int
	}{
		{pai.ReadinessQuery{}, 11, 14}, {pai.ReadinessQuery{Node: "well"}, 1, 3}, {pai.ReadinessQuery{Storage: "disk"}, 11, 1}, {pai.ReadinessQuery{State: pai.CellFailed}, 11, 2},
		{pai.ReadinessQuery{Summary: true}, 11, 0}, {pai.ReadinessQuery{Node: "nowhere"}, 0, 0},
	} {
		rows, err := c.Readiness(t.Context(), q.ReadinessQuery)
		if err != nil {
			t.Fatal(err)
		}
		nodes, cells, silent := 0, 0, 0
		for row := range rows {
			nodes++
			cells += len(row.Cells)
			for _, f := range row.Missing {
				if f.Code == "STO-211" {
					silent++
				}
			}
		}
		if nodes != q.nodes || cells != q.cells || (q.ReadinessQuery == pai.ReadinessQuery{} && silent != 2) {
			t.Errorf("%+v: got %d workers, %d cells, %d silent agents", q.ReadinessQuery, nodes, cells, silent)
		}
	}
}

// TestReportsThatSayTheSame do not have jobs looked at again; times and numbers are no news.
func TestReportsThatSayTheSame(t *testing.T) {
	now := time.Now()
	c, err := New(kubefake.New(), Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	result := storagecheck.Result{OK: true, Time: now, Free: 5, Order: "7"}
	say := func() uint64 {
		result.Time, result.Free = result.Time.Add(time.Minute), result.Free+1
		c.reports.put(reportOf(t, "one", result.Time, map[string]storagecheck.Result{"home": result}))
		return c.heard.generation.Load()
	}
	first := say()
	if again := say(); again != first {
		t.Error("the same again counts as news")
	}
	result.OK, result.Message = false, "Connection refused"
	if other := say(); other == first {
		t.Error("a failure is no news")
	}
}

// TestReportsOfNodesThatAreGone are deleted.
func TestReportsOfNodesThatAreGone(t *testing.T) {
	client := kubefake.New(worker("here", corev1.ConditionTrue), reportOf(t, "here", time.Now(), nil), reportOf(t, "gone", time.Now(), nil))
	c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	c.forgetNodes(t.Context())
	reports := client.CoreV1().ConfigMaps(storagecheck.ReportNamespace)
	if _, err := reports.Get(t.Context(), "gone", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	if _, err := reports.Get(t.Context(), "here", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

// TestMountsThatNeedSomebody: what the matrix says of a worker's object store mounts.
func TestMountsThatNeedSomebody(t *testing.T) {
	now := time.Now()
	full := report{at: now, facts: storagecheck.Facts{Helpers: map[string]bool{"mount.nfs": true}, FUSE: true}, mounts: []mount.Served{
		{Target: "/busy", Volume: mount.Volume{Source: "busy"}, Alive: true, Pending: 3},
		{Target: "/past", Volume: mount.Volume{Source: "past"}, Alive: true, Fault: "the store was away"},
		{Target: "/stuck", Volume: mount.Volume{Source: "stuck"}, Alive: true, Pending: 2, Files: []string{"a", "b"}, Fault: "403 Forbidden"},
		{Target: "/dead", Volume: mount.Volume{Source: "dead"}, Pending: 1, Files: []string{"d"}},
		{Target: "/home", Volume: mount.Volume{Source: "home"}, Pending: 1, Files: []string{"l"}, Lost: true},
	}}
	n := node{name: "worker1", fact: doctor.Node{Ready: true}, created: now}
	var said []string
	for _, f := range missing(n, full, now) {
		said = append(said, f.Code+" "+f.Message+" "+f.Evidence)
	}
	want := []string{"STO-315 stuck on node worker1 does not take what was written; 2 files were not uploaded: a; b 403 Forbidden", "STO-314 the process that serves dead on node worker1 is gone; 1 file was not uploaded: d ",
		"STO-316 a mount of home on node worker1 ended; 1 file was not uploaded: l "}
	if !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
}

// TestReadableOnly: a storage into which workers may not write is not plainly ok, unless each user has a folder of it.
func TestReadableOnly(t *testing.T) {
	now := time.Now()
	c, err := New(kubefake.New(), Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"home", "shared"} {
		objects := smbStorage(name, "smb", "default")
		if name == "home" {
			objects[1].(*corev1.PersistentVolumeClaim).Labels = map[string]string{personalLabel: "false"}
		}
		c.volumes.put(objects[0])
		c.claims.put(objects[1])
		c.orders.put(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "7"}})
	}
	denied := storagecheck.Result{OK: true, WriteDenied: true, Time: now, Order: "7"}
	c.nodes.put(worker("one", corev1.ConditionTrue))
	c.reports.put(reportOf(t, "one", now, map[string]storagecheck.Result{"home": denied, "shared": denied}))
	for name, note := range map[pai.StorageName]string{"home": "", "shared": "readable; the check may not write"} {
		health, err := c.StorageHealth(t.Context(), name)
		if err != nil || len(health.Cells) != 1 || health.Cells[0].State != pai.CellOK || health.Cells[0].Note != note {
			t.Errorf("%s: %+v, %v", name, health, err)
		}
	}
}

// TestLostFiles: what a mount that is no more left behind is nothing that a storage lacks, and nobody but administrators sees names of files.
func TestLostFiles(t *testing.T) {
	c, err := New(kubefake.New(), Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	objects := smbStorage("home", "smb", "default")
	c.volumes.put(objects[0])
	c.claims.put(objects[1])
	say := func(mounts ...mount.Served) map[string]doctor.Check {
		text, err := json.Marshal(storagecheck.Report{Node: "one", Time: time.Now(), Mounts: mounts})
		if err != nil {
			t.Fatal(err)
		}
		c.reports.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: "one"}, Data: map[string]string{storagecheck.ReportKey: string(text)}})
		return c.failures("home")
	}
	live := mount.Served{Target: "/var/lib/kubelet/pods/1/volumes/flex/home-pv", Alive: true}
	old := mount.Served{Target: "/var/lib/kubelet/pods/0/volumes/flex/home-pv", Pending: 1, Files: []string{"bob/resignation-letter.txt"}}
	lost := old
	lost.Lost = true
	if failures := say(live, lost); len(failures) != 0 {
		t.Errorf("got %+v", failures)
	}
	if x := say(live, old)["one"]; !x.Dead || x.Pending != 1 || len(x.Files) != 0 {
		t.Errorf("got %+v", x)
	}
}

// TestUnknownMachine: nothing is missed on a worker that its agent could not look at.
func TestUnknownMachine(t *testing.T) {
	now := time.Now()
	n := node{name: "worker1", fact: doctor.Node{Ready: true}, created: now}
	if found := missing(n, report{at: now, facts: storagecheck.Facts{Unknown: true}}, now); len(found) != 0 {
		t.Errorf("got %+v", found)
	}
}
