package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// output is a log that two can use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// reported waits until the report of worker1 is as it should be.
func reported(t *testing.T, admin kubernetes.Interface, what string, good func(storagecheck.Report) bool) storagecheck.Report {
	t.Helper()
	var r storagecheck.Report
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: the report was %+v", what, r)
		}
	})
	await.Until(t, what, func() bool {
		r = storagecheck.Report{}
		m, err := admin.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Get(t.Context(), "worker1", metav1.GetOptions{})
		return err == nil && json.Unmarshal([]byte(m.Data[storagecheck.ReportKey]), &r) == nil && good(r)
	})
	return r
}

func secretOf(t *testing.T, o storagecheck.Order) *corev1.Secret {
	t.Helper()
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.OrderNamespace, Name: o.Storage}, Data: map[string][]byte{storagecheck.OrderKey: []byte(text(t, o))}}
}

const canary = "canary-password"

// laboratory is a worker1 that is made of files, with an agent.
type laboratory struct {
	admin   kubernetes.Interface
	machine *machine
	probes  http.Handler
	log     output
}

// newLaboratory runs an agent with the rights of its manifest against a real API server.
func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	config := kubetest.Start(t)
	l := &laboratory{admin: install(t, config)}
	node := &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "worker1"}, Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "csi.pai.storage", NodeID: "worker1"}}}}
	if _, err := l.admin.StorageV1().CSINodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	m := tree(t, map[string]string{"root/sbin/mount.nfs": "#!", "proc/filesystems": "nodev\tnfs\nnodev\tcifs\n", "flex/microsoft.com~smb/smb": "#!"})
	l.machine = m
	mounter := fakeMounter{served: func() ([]mount.Served, error) { return nil, nil }, check: func(_ context.Context, v mount.Volume, s mount.Secret) (mount.Checked, error) {
		if v.Kind == mount.SMB {
			return mount.Checked{}, &mount.Error{Op: "mount", Output: "mount error(13): Permission denied for " + s["password"], Err: errors.New("exit status 32")}
		}
		if _, err := m.mode("/sbin/mount.nfs"); err != nil {
			return mount.Checked{}, &mount.Error{Op: "mount", Output: "you might need a /sbin/mount.<type> helper program", Err: err}
		}
		return mount.Checked{Total: 20 * time.Millisecond, Usage: mount.Usage{Free: 5, Size: 9}}, nil
	}}
	o := options{node: "worker1", log: slog.New(slog.NewJSONHandler(&l.log, nil)), pace: defaultPace(), machine: t.TempDir(), state: t.TempDir(), kubelet: t.TempDir(), flex: m.flex}
	o.pace.spread = 0
	a := o.wire(as(t, config, "worker1"), t.TempDir())
	a.every, a.machine, a.lookout.machine, a.served.mounter = 50*time.Millisecond, m, m, mounter
	a.install = func() map[string]error { return nil }
	a.drivers = &drivers{others: func(context.Context) ([]string, error) { return nil, nil }, start: func(name string) (func(), error) {
		if name != "csi.pai.storage" {
			return nil, errors.New("not in this test")
		}
		return func() {}, nil
	}}
	a.checker.look = looker{mounter: mounter, facts: a.board.getFacts, path: pathOn(m.root)}.look
	a.publisher.debounce, a.publisher.least = 20*time.Millisecond, 20*time.Millisecond
	l.probes = a.vitals.handler(a.publisher)
	if status := get(l.probes, "/readyz"); status.Code != http.StatusServiceUnavailable {
		t.Errorf("ready before the first report: %s", status.Body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })

	return l
}

// TestAgent: orders come in, reports and labels go out.
func TestAgent(t *testing.T) {
	l := newLaboratory(t)
	admin, m, probes := l.admin, l.machine, l.probes
	secrets := admin.CoreV1().Secrets(storagecheck.OrderNamespace)
	home := nfs("home", "10.0.0.1")
	orders := []storagecheck.Order{home,
		{Storage: "share", Type: "samba", Flex: "microsoft.com/smb", Mount: &mount.Volume{Kind: mount.SMB, Source: "//10.0.0.1/share"}, Secret: mount.Secret{"username": "u", "password": canary}},
		{Storage: "elsewhere", Type: "local", Path: "/x", Nodes: []string{"worker2"}},
		{Storage: "azure", Type: "azureFile", Driver: "file.csi.azure.com"}}
	for _, order := range orders {
		if _, err := secrets.Create(t.Context(), secretOf(t, order), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	broken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "broken"}, Data: map[string][]byte{storagecheck.OrderKey: []byte(`{"secret":"` + canary)}}
	if _, err := secrets.Create(t.Context(), broken, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := reported(t, admin, "first checks", func(r storagecheck.Report) bool { return len(r.Results) == 4 && r.Results["home"].OK })
	for name, message := range map[string]string{"share": "mount error(13): Permission denied for [redacted]", "azure": "driver name file.csi.azure.com not found", "broken": "cannot be read"} {
		if got := r.Results[name]; got.OK || !strings.Contains(got.Message, message) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if r.Node != "worker1" || !r.Facts.Helpers["mount.nfs"] || len(r.Facts.CSI) != 1 || len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "not in this test") {
		t.Errorf("%+v", r)
	}
	await.Until(t, "it is ready", func() bool { return get(probes, "/readyz").Code == http.StatusOK })

	// A changed order is checked anew, and its result says so.
	changed, err := secrets.Update(t.Context(), secretOf(t, nfs("home", "10.0.0.2")), metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	reported(t, admin, "changed order", func(r storagecheck.Report) bool { return r.Results["home"].Order == changed.ResourceVersion })

	// The package that mounts is removed, and comes back.
	helper := filepath.Join(m.root, "sbin/mount.nfs")
	if err := os.Rename(helper, helper+".away"); err != nil {
		t.Fatal(err)
	}
	reported(t, admin, "without mount.nfs", func(r storagecheck.Report) bool { return !r.Results["home"].OK && !r.Facts.Helpers["mount.nfs"] })
	await.Until(t, "the labels say so", func() bool {
		n, err := admin.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{})
		return err == nil && n.Labels[labelPrefix+"nfs"] == "false" && n.Labels[labelPrefix+"samba"] == "true"
	})
	if err := os.Rename(helper+".away", helper); err != nil {
		t.Fatal(err)
	}
	reported(t, admin, "with it again", func(r storagecheck.Report) bool { return r.Results["home"].OK })

	if err := secrets.Delete(t.Context(), "home", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	reported(t, admin, "without the order", func(r storagecheck.Report) bool { _, there := r.Results["home"]; return !there })

	metrics := get(probes, "/metrics").Body.String()
	for _, want := range []string{`pai_node_agent_checks_total{result="ok"}`, "pai_node_agent_checks_left_behind 0", "pai_node_agent_report_failures_total 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s:\n%s", want, metrics)
		}
	}
	m2, err := admin.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Get(t.Context(), "worker1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for where, said := range map[string]string{"log": l.log.String(), "report": m2.Data[storagecheck.ReportKey], "metrics": metrics} {
		if strings.Contains(said, canary) {
			t.Errorf("the %s has a secret:\n%s", where, said)
		}
	}
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestUsage(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, 2, "which node is this?"},
		{[]string{"--node", "n", "extra"}, 2, `unknown argument "extra"`},
		{[]string{"--nothing"}, 2, "flag provided but not defined"},
		{[]string{"--state-dir", "/data"}, 2, "flag provided but not defined"},
		{[]string{"--help"}, 0, "-flexvolume-dir"},
		{[]string{"--node", "n", "--kubeconfig", "/nowhere"}, 1, "/nowhere"},
	} {
		var said bytes.Buffer
		if status := Main(t.Context(), c.args, &said, &said); status != c.status || !strings.Contains(said.String(), c.says) {
			t.Errorf("%v: %d\n%s", c.args, status, said.String())
		}
	}
}

func TestProbes(t *testing.T) {
	v := newVitals()
	now := time.Now()
	v.beat(now.Add(-3 * time.Minute))
	if err := v.stuck(now); err == nil || !strings.Contains(err.Error(), "3m") {
		t.Error(err)
	}
	v.beat(now)
	if err := v.stuck(now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
}
