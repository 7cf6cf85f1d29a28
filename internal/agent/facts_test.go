package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// TestMain also is the child that looks at a machine, as the agent's program is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == lookAtMachine {
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// hanging makes a directory of a machine hang: who opens the list in it waits for a writer. The way back mends it.
func hanging(t *testing.T, m *machine) (dir string, mend func()) {
	t.Helper()
	dir = "/lib/modules/" + kernel(t)
	file := filepath.Join(m.root, dir, "modules.dep")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMachineThatHangs: a directory that does not answer is named, and everything goes on.
func TestMachineThatHangs(t *testing.T) {
	m := tree(t, map[string]string{"root/sbin/mount.nfs": "#!", "proc/filesystems": "nodev\tnfs\n"})
	l := &lookout{machine: m, deadline: time.Minute}
	if f, err := l.facts(t.Context()); err != nil || !f.Helpers["mount.nfs"] || f.Modules["nfs"] != moduleLoaded {
		t.Fatalf("%+v, %v", f, err)
	}
	dir, mend := hanging(t, m)
	l.deadline = time.Second
	if _, err := l.facts(t.Context()); err == nil || !strings.HasPrefix(err.Error(), dir+" does not answer") {
		t.Errorf("got %v", err)
	}
	mend()
	l.deadline = time.Minute
	await.Until(t, "it is well again", func() bool { f, err := l.facts(t.Context()); return err == nil && f.Helpers["mount.nfs"] })
}

// TestOneChildAtOnce: while a child hangs, whatever is done to it, no other is begun.
func TestOneChildAtOnce(t *testing.T) {
	g := &glance{ended: make(chan struct{})}
	g.out.WriteString("at /usr/bin\nat /usr/local/bin\nat /hal")
	l := &lookout{machine: tree(t, map[string]string{"proc/filesystems": "", "root/x": ""}), deadline: time.Minute, stuck: g}
	if _, err := l.facts(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "/usr/local/bin does not answer") {
		t.Errorf("got %v", err)
	}
	close(g.ended)
	if f, err := l.facts(t.Context()); err != nil || f.Kernel == "" {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestAgentOfAMachineThatHangs: what was known before counts on, and the agent goes on looking at everything else.
func TestAgentOfAMachineThatHangs(t *testing.T) {
	m := tree(t, map[string]string{"root/sbin/mount.nfs": "#!", "proc/filesystems": "nodev\tnfs\n"})
	dir, _ := hanging(t, m)
	for _, known := range []bool{false, true} {
		registered := storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "csi.pai.storage"}, {Name: "file.csi.azure.com"}}}
		client := kubefake.New(&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "worker1"}, Spec: registered}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1", Labels: map[string]string{labelPrefix + "nfs": "true"}}})
		if known {
			report := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: "worker1"},
				Data: map[string]string{storagecheck.ReportKey: text(t, storagecheck.Report{Facts: full()})}}
			if _, err := client.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Create(t.Context(), report, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		o := options{node: "worker1", log: slog.New(slog.DiscardHandler), pace: defaultPace(), machine: t.TempDir(), state: t.TempDir(), kubelet: t.TempDir(), flex: m.flex}
		a := o.wire(client, t.TempDir())
		a.lookout = &lookout{machine: m, deadline: 500 * time.Millisecond}
		a.every = 50 * time.Millisecond
		a.served.mounter = fakeMounter{served: func() ([]mount.Served, error) { return nil, nil }}
		a.install = func() map[string]error { return nil }
		a.drivers = &drivers{others: func(context.Context) ([]string, error) { return nil, nil }, start: func(string) (func(), error) { return func() {}, nil }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		began := time.Now()
		a.vitals.beat(began.Add(-time.Hour))
		go func() { ended <- a.run(ctx) }()
		r := reported(t, client, "a report", func(r storagecheck.Report) bool { return len(r.Faults) > 0 })
		if !strings.HasPrefix(r.Faults[0], dir+" does not answer") || r.Facts.Unknown == known || r.Facts.Helpers["mount.nfs"] != known {
			t.Errorf("known before %t: %+v", known, r)
		}
		if err := a.vitals.stuck(time.Now()); err != nil {
			t.Errorf("it is to be started anew: %v", err)
		}
		if n, err := client.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{}); err != nil || n.Labels[labelPrefix+"nfs"] != "true" {
			t.Errorf("known before %t: %v, %v", known, n.Labels, err)
		}
		cancel()
		<-ended
	}
}
