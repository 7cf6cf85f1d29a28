package rollout

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

const layoutText = `# the machines
machine-list:
  - hostname: worker1   # in the corner
    hostip: 10.0.0.1
    pai-worker: "true"
    pai-storage: "true"
`

func servicesText(password string) string {
	return "# mine\nstorage-manager:\n  smbuser: smbuser\n  smbpwd: " + password + "   # guess\n#  domainpwd: commented-out-secret\n"
}

func files(password string) map[string][]byte {
	return map[string][]byte{"layout.yaml": []byte(layoutText), "services-configuration.yaml": []byte(servicesText(password)), "config.yaml": []byte("cluster-id: pai\n")}
}

func services(t *testing.T, objects ...runtime.Object) (*Services, func() *corev1.ConfigMap) {
	t.Helper()
	client := kubefake.New(objects...)
	s := &Services{client: client, Note: func(string, string) {}}
	return s, func() *corev1.ConfigMap {
		t.Helper()
		m, err := client.CoreV1().ConfigMaps(configurationNamespace).Get(t.Context(), configurationName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func TestPushAndPull(t *testing.T) {
	s, configMap := services(t)
	ctx := t.Context()
	if _, err := s.Pull(ctx); !errors.Is(err, ErrNoConfiguration) {
		t.Errorf("before the first push: %v", err)
	}
	if err := s.PushFirst(ctx, "pai", files("first-password")); err != nil {
		t.Fatal(err)
	}
	if err := s.PushFirst(ctx, "pai", files("x-password")); !errors.Is(err, ErrThere) {
		t.Errorf("the first push again: %v", err)
	}
	snapshot, err := s.Pull(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files("first-password") {
		if string(snapshot.Files[name]) != string(text) {
			t.Errorf("%s came back as\n%s", name, snapshot.Files[name])
		}
	}
	if text := fmt.Sprint(configMap()); strings.Contains(text, "first-password") || strings.Contains(text, "commented-out-secret") {
		t.Errorf("the ConfigMap has a password:\n%s", text)
	}
	revision, err := s.Push(ctx, files("second-password"), snapshot.Revision, false)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := s.client.CoreV1().Secrets(configurationNamespace).Get(ctx, configurationName, metav1.GetOptions{})
	if err != nil || len(secret.Data) != 2 || strings.Contains(fmt.Sprint(secret.Data), "first-password") {
		t.Errorf("the Secret keeps old passwords: %v, %v", slicesOf(secret.Data), err)
	}
	// Somebody who pulled before that.
	changed := files("third-password")
	changed["layout.yaml"] = []byte(strings.Replace(layoutText, "corner", "middle", 1))
	_, err = s.Push(ctx, changed, snapshot.Revision, false)
	var refused ChangedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Diff, "middle") || !strings.Contains(refused.Diff, "******") || strings.Contains(err.Error(), "-password") {
		t.Errorf("a push that would drop a change: %v", err)
	}
	if now, _ := s.Pull(ctx); now.Revision != revision {
		t.Errorf("the refused push changed something: %s, was %s", now.Revision, revision)
	}
	if _, err := s.Push(ctx, changed, snapshot.Revision, true); err != nil {
		t.Errorf("with force: %v", err)
	}
	if _, err := s.Push(ctx, map[string][]byte{"layout.yaml": []byte("machine-list: 7")}, "", true); err == nil {
		t.Error("a faulty configuration was pushed")
	}
	var faults *clusterconfig.Faults
	if _, err := s.Push(ctx, nil, "", true); !errors.As(err, &faults) {
		t.Errorf("nothing was pushed: %v", err)
	}
}

func slicesOf(data map[string][]byte) (keys []string) {
	for key := range maps.Keys(data) {
		keys = append(keys, key)
	}
	return keys
}

// TestOriginalsConfiguration: what the original keeps is read, and a push from it is not refused.
func TestOriginalsConfiguration(t *testing.T) {
	s, _ := services(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: configurationNamespace, Name: configurationName},
		Data: map[string]string{"layout.yaml": layoutText, "services-configuration.yaml": servicesText("in-clear")}})
	snapshot, err := s.Pull(t.Context())
	if err != nil || string(snapshot.Files["services-configuration.yaml"]) != servicesText("in-clear") {
		t.Fatalf("%v, %v", snapshot, err)
	}
	if _, err := s.Push(t.Context(), files("not-in-clear"), snapshot.Revision, false); err != nil {
		t.Error(err)
	}
}

// TestPushesAtOnce: of many pushes from one state one gets through, and its passwords are the ones that are there.
func TestPushesAtOnce(t *testing.T) {
	s, _ := services(t)
	ctx := t.Context()
	if err := s.PushFirst(ctx, "pai", files("zero-password")); err != nil {
		t.Fatal(err)
	}
	base, err := s.Pull(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var won []string
	for i := range 8 {
		wg.Go(func() {
			password := fmt.Sprintf("password-number-%d", i)
			if _, err := s.Push(ctx, files(password), base.Revision, false); err == nil {
				mu.Lock()
				won = append(won, password)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	now, err := s.Pull(ctx)
	if err != nil || len(won) != 1 || string(now.Files["services-configuration.yaml"]) != servicesText(won[0]) {
		t.Errorf("won by %v; there is\n%s, error %v", won, now.Files["services-configuration.yaml"], err)
	}
}

// TestReadersSeeNoHalf pulls all the time while others push: the passwords are always those of the files.
func TestReadersSeeNoHalf(t *testing.T) {
	s, _ := services(t)
	ctx := t.Context()
	numbered := func(i int) map[string][]byte {
		f := files(fmt.Sprintf("password-%d", i))
		f["config.yaml"] = fmt.Appendf(nil, "number: %d\n", i)
		return f
	}
	if err := s.PushFirst(ctx, "pai", numbered(0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	var pulls atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			got, err := s.Pull(ctx)
			if err != nil {
				t.Errorf("a pull in between: %v", err)
				return
			}
			var i int
			if _, err := fmt.Sscanf(string(got.Files["config.yaml"]), "number: %d", &i); err != nil || string(got.Files["services-configuration.yaml"]) != servicesText(fmt.Sprintf("password-%d", i)) {
				t.Errorf("a half: %s", got.Files)
				return
			}
			pulls.Add(1)
		}
	})
	for i := 0; i < 50 || pulls.Load() == 0 && !t.Failed(); i++ { // until somebody has looked in between
		if _, err := s.Push(ctx, numbered(i+1), "", true); err != nil {
			t.Errorf("push %d: %v", i, err)
		}
	}
	close(done)
	wg.Wait()
}

func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := Snapshot{Revision: "r1", Files: files("a-password")}
	if err := WriteDirectory(dir, s, "pai", false); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, "services-configuration.yaml"): 0o600, filepath.Join(dir, baseFile): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, baseFile)); err != nil || strings.Contains(string(text), "a-password") {
		t.Errorf("%v\n%s", err, text)
	}
	got, base, err := ReadDirectory(dir)
	if err != nil || base.Revision != "r1" || base.ClusterID != "pai" || len(got) != 3 {
		t.Errorf("read back: %v, %+v, %v", got, base, err)
	}
	newer := Snapshot{Revision: "r2", Files: files("a-password")}
	newer.Files["layout.yaml"] = []byte(layoutText + "# newer\n")
	if err := WriteDirectory(dir, newer, "pai", false); err != nil {
		t.Errorf("nothing was edited: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "layout.yaml"), []byte(layoutText+"# edited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteDirectory(dir, s, "pai", false); err == nil || !strings.Contains(err.Error(), "layout.yaml was changed here") {
		t.Errorf("an edit is overwritten: %v", err)
	}
	if err := WriteDirectory(dir, s, "pai", true); err != nil {
		t.Errorf("with force: %v", err)
	}
	if err := WriteDirectory(dir, Snapshot{Files: map[string][]byte{"../x.yaml": nil}}, "pai", true); err == nil {
		t.Error("a file outside of the directory was written")
	}
	if _, _, err := ReadDirectory(t.TempDir()); err == nil || !strings.Contains(err.Error(), "pull the configuration first") {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestRolesOfNodes(t *testing.T) {
	node := func(name string, labels map[string]string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	s, _ := services(t, node("worker1", nil), node("old", map[string]string{"pai-storage": "true", "other": "kept"}))
	cfg, err := clusterconfig.Parse(files("a-password"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.labelNodes(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"worker1": "map[pai-storage:true pai-worker:true]", "old": "map[other:kept]"} {
		n, err := s.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || fmt.Sprint(n.Labels) != want {
			t.Errorf("%s has %v, want %s; %v", name, n.Labels, want, err)
		}
	}
	cfg.Machines = append(cfg.Machines, clusterconfig.Machine{NodeName: "nowhere", Worker: true})
	if err := s.labelNodes(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a machine that is no node: %v", err)
	}
}

// TestStartSaysWhatIsMissing, before anything is applied.
func TestStartSaysWhatIsMissing(t *testing.T) {
	ctx := t.Context()
	s, _ := services(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1"}})
	if err := s.Start(ctx, []string{StorageManager}); !errors.Is(err, ErrNoConfiguration) {
		t.Errorf("without a configuration: %v", err)
	}
	for name, c := range map[string]struct{ layout, services, want string }{
		"no section": {layoutText, "cluster: {}\n", "no section storage-manager"},
		"no server":  {strings.Replace(layoutText, "pai-storage", "other", 1), servicesText("a-password"), `pai-storage: "true"`},
		"no node":    {strings.Replace(layoutText, "hostname: worker1", "hostname: elsewhere", 1), servicesText("a-password"), "elsewhere of layout.yaml is no node"},
		"no label":   {layoutText, servicesText("a-password"), "paictl service start -n cluster-configuration storage-manager"},
	} {
		if _, err := s.Push(ctx, map[string][]byte{"layout.yaml": []byte(c.layout), "services-configuration.yaml": []byte(c.services)}, "", true); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(ctx, []string{StorageManager}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := CheckServices([]string{"storage-manager", "nonsense", "more"}); err == nil || !strings.Contains(err.Error(), "nonsense, more") {
		t.Errorf("unknown services: %v", err)
	}
	if got, err := CheckServices([]string{"storage-manager", "cluster-configuration"}); err != nil || fmt.Sprint(got) != "[cluster-configuration storage-manager]" {
		t.Errorf("in order: %v, %v", got, err)
	}
}
