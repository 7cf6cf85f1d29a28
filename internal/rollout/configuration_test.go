package rollout

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

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
	if len(objects) == 0 || !slices.ContainsFunc(objects, func(o runtime.Object) bool { _, is := o.(*corev1.Node); return is }) {
		if _, err := client.CoreV1().Nodes().Create(t.Context(), node("worker1", nil), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	s := &Services{client: client, Note: func(string, string) {}, Warn: func(string) {}}
	return s, func() *corev1.ConfigMap {
		t.Helper()
		m, err := client.CoreV1().ConfigMaps(configurationNamespace).Get(t.Context(), configurationName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
}

func node(name string, labels map[string]string, addresses ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
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

// TestPushFirst: a first push that was cut off is finished; a configuration that is somebody's stays, and so does a cluster with another id.
func TestPushFirst(t *testing.T) {
	ctx := t.Context()
	id := func(s *Services) string {
		t.Helper()
		got, err := s.ClusterID(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	cut, _ := services(t)
	if _, err := cut.Push(ctx, files("a-password"), "", false); err != nil {
		t.Fatal(err)
	}
	if err := cut.PushFirst(ctx, "local", files("a-password")); err != nil || id(cut) != "local" {
		t.Errorf("the rest of a first push: %v, id %q", err, id(cut))
	}
	theirs, _ := services(t)
	if _, err := theirs.Push(ctx, files("theirs"), "", false); err != nil {
		t.Fatal(err)
	}
	if err := theirs.PushFirst(ctx, "local", files("a-password")); !errors.Is(err, ErrThere) || id(theirs) != "" {
		t.Errorf("somebody's configuration without an id: %v, id %q", err, id(theirs))
	}
	other, _ := services(t)
	if err := other.SetClusterID(ctx, "prod"); err != nil {
		t.Fatal(err)
	}
	if err := other.PushFirst(ctx, "local", files("a-password")); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := other.Pull(ctx); !errors.Is(err, ErrNoConfiguration) {
		t.Errorf("a refused push changed something: %v", err)
	}
}

// TestChangedOutside: what somebody changes with kubectl, which leaves the mark of the last push, is not dropped by a push.
func TestChangedOutside(t *testing.T) {
	s, configMap := services(t)
	ctx := t.Context()
	revision, err := s.Push(ctx, files("canary"), "", false)
	if err != nil {
		t.Fatal(err)
	}
	m := configMap()
	m.Data["extra.yaml"] = "x: 1\n"
	if _, err := s.client.CoreV1().ConfigMaps(configurationNamespace).Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	var refused ChangedError
	if _, err := s.Push(ctx, files("another"), revision, false); !errors.As(err, &refused) || !strings.Contains(refused.Diff, "-x: 1") {
		t.Errorf("a push that would drop it: %v", err)
	}
	now, err := s.Pull(ctx)
	if err != nil || string(now.Files["extra.yaml"]) != "x: 1\n" || !strings.Contains(string(now.Files["services-configuration.yaml"]), "canary") {
		t.Errorf("pulled: %q, %v", now.Files, err)
	}
}

// TestPushOverWhatCannotBeParted: an original's password over several lines is no reason to push and say that it failed.
func TestPushOverWhatCannotBeParted(t *testing.T) {
	s, configMap := services(t)
	ctx := t.Context()
	old := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: configurationNamespace, Name: configurationName}, Data: map[string]string{
		"layout.yaml": layoutText, "services-configuration.yaml": "rest-server:\n  tls-private-key: |\n    canary-key\n"}}
	if _, err := s.client.CoreV1().ConfigMaps(configurationNamespace).Create(ctx, old, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	now, err := s.Pull(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if difference := Diff("cluster", now.Files, "mine", files("canary-new")); strings.Contains(difference, "canary") || !strings.Contains(difference, "not on one line") || !strings.Contains(difference, "smbuser") {
		t.Errorf("the difference:\n%s", difference)
	}
	revision, err := s.Push(ctx, files("canary-new"), now.Revision, false)
	if err != nil || configMap().Annotations[revisionAnnotation] == "" {
		t.Fatalf("push: %v", err)
	}
	entries, maps := trailOf(t, s.client)
	if len(entries) != 2 || strings.Contains(fmt.Sprint(maps), "canary") {
		t.Errorf("the trail has %d entries: %v", len(entries), maps)
	}
	if again, err := s.Push(ctx, files("canary-new"), "older", false); err != nil || again != revision {
		t.Errorf("the same again: %q, %v, want %q", again, err, revision)
	}
}

// TestPushOverLostPasswords: what a push drops is recorded although the passwords of it are lost; where nothing can be read, that is recorded.
func TestPushOverLostPasswords(t *testing.T) {
	for name, c := range map[string]struct {
		hidden bool
		want   []string
	}{
		"the passwords": {false, []string{"delete extra.yaml", "change layout.yaml", "change services-configuration.yaml"}},
		"all":           {true, []string{"change pai-configuration"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, configMap := services(t)
			ctx := t.Context()
			old := files("canary-1")
			old["extra.yaml"] = []byte("x: 1\n")
			if _, err := s.Push(ctx, old, "", false); err != nil {
				t.Fatal(err)
			}
			before, _ := trailOf(t, s.client)
			if err := s.client.CoreV1().Secrets(configurationNamespace).Delete(ctx, configurationName, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			hidden := c.hidden
			s.client.(*fake.Clientset).PrependReactor("get", "configmaps", func(action ktesting.Action) (bool, runtime.Object, error) {
				if hidden && action.(ktesting.GetAction).GetName() == configurationName {
					return true, nil, errors.New("no")
				}
				return false, nil, nil
			})
			changed := files("canary-2")
			changed["layout.yaml"] = []byte(strings.Replace(layoutText, "corner", "middle", 1))
			if _, err := s.Push(ctx, changed, "", false); err == nil {
				t.Error("pushed without force")
			}
			if _, err := s.Push(ctx, changed, "", true); err != nil {
				t.Fatal(err)
			}
			hidden = false
			if m := configMap(); len(m.Data) != 3 {
				t.Errorf("there is %v", slices.Sorted(maps.Keys(m.Data)))
			}
			entries, _ := trailOf(t, s.client)
			var got []string
			for _, e := range entries[len(before):] {
				got = append(got, string(e.Action)+" "+e.Name)
				if text := string(e.Before) + string(e.After); strings.Contains(text, "canary") || strings.Contains(text, "(lost)") ||
					c.hidden && !strings.Contains(text, "not known") || e.Name == "layout.yaml" && !strings.Contains(text, "corner") {
					t.Errorf("%s: %s", e.Name, text)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the trail has %q, want %q", got, c.want)
			}
		})
	}
}

// TestPushIsTold: a push that counts is told and recorded although old passwords could not be taken away, or the answer got lost.
func TestPushIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		resource string
		spoil    func(s *Services, action ktesting.UpdateAction) error
		warned   string
	}{
		"old passwords stay": {"secrets", func(_ *Services, a ktesting.UpdateAction) error {
			for key := range a.GetObject().(*corev1.Secret).Data {
				if strings.Contains(key, "spoiled") {
					return nil
				}
			}
			return errors.New("the disk is full")
		}, "keeps passwords that are not in use"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := services(t)
			var warned string
			s.Warn = func(text string) { warned += text }
			ctx := t.Context()
			revision, err := s.Push(ctx, files("canary-1"), "", false)
			if err != nil {
				t.Fatal(err)
			}
			updates := 0
			s.client.(*fake.Clientset).PrependReactor("update", c.resource, func(action ktesting.Action) (bool, runtime.Object, error) {
				if updates++; updates < 2 { // the first one brings the new passwords
					return false, nil, nil
				}
				err := c.spoil(s, action.(ktesting.UpdateAction))
				return err != nil, nil, err
			})
			changed, err := s.Push(ctx, files("canary-2"), revision, false)
			if err != nil || changed == revision {
				t.Fatalf("push: %q, %v", changed, err)
			}
			now, err := s.Pull(ctx)
			if err != nil || now.Revision != changed || !strings.Contains(string(now.Files["services-configuration.yaml"]), "canary-2") {
				t.Errorf("pulled: %q, %v", now.Files, err)
			}
			if entries, _ := trailOf(t, s.client); len(entries) != 4 {
				t.Errorf("the trail has %+v", entries)
			}
			if !strings.Contains(warned, c.warned) {
				t.Errorf("warned: %q", warned)
			}
		})
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
	// A file that others have removed, and that was edited here.
	if err := os.WriteFile(filepath.Join(dir, "layout.yaml"), []byte(layoutText+"# edited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	less := Snapshot{Revision: "r3", Files: files("a-password")}
	delete(less.Files, "layout.yaml")
	if err := WriteDirectory(dir, less, "pai", false); err == nil || !strings.Contains(err.Error(), "layout.yaml was changed here") {
		t.Errorf("an edit is removed: %v", err)
	}
	if err := WriteDirectory(dir, less, "pai", true); err != nil {
		t.Errorf("with force: %v", err)
	}
	// Hidden files are other programs'.
	for _, name := range []string{".gitlab-ci.yml", ".hidden.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x: 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := ReadDirectory(dir); err != nil || !slices.Equal(Names(got), Names(less.Files)) {
		t.Errorf("read back: %v, %v", Names(got), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "more.yml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadDirectory(dir); err == nil || !strings.Contains(err.Error(), "call it more.yaml") {
		t.Errorf("a file that ends with .yml: %v", err)
	}
	if err := WriteDirectory(dir, Snapshot{Files: map[string][]byte{"../x.yaml": nil}}, "pai", true); err == nil {
		t.Error("a file outside of the directory was written")
	}
	if _, _, err := ReadDirectory(t.TempDir()); err == nil || !strings.Contains(err.Error(), "pull the configuration first") {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestRolesOfNodes(t *testing.T) {
	s, _ := services(t, node("worker1", nil), node("old", map[string]string{"pai-storage": "true", "other": "kept"}))
	ctx := t.Context()
	if _, err := s.Push(ctx, files("a-password"), "", true); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(ctx, []string{ClusterConfiguration}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"worker1": "map[pai-storage:true pai-worker:true]", "old": "map[other:kept]"} {
		n, err := s.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || fmt.Sprint(n.Labels) != want {
			t.Errorf("%s has %v, want %s; %v", name, n.Labels, want, err)
		}
	}
}

// TestMachinesAndNodes: a machine is the node of its name, in any case, or of its address. One that is none is refused by a push, and by a start
// before any node is touched.
func TestMachinesAndNodes(t *testing.T) {
	ctx := t.Context()
	others := "  - {hostname: worker2, hostip: 10.0.0.2, pai-worker: true}\n"
	for name, c := range map[string]struct{ named, more, want string }{
		"as it is":          {"worker1", others, ""},
		"in capitals":       {"WORKER1", others, ""},
		"an address":        {"10.0.0.1", others, ""},
		"by its hostip":     {"gpu-99", others, ""},
		"by neither":        {"gpu-99\n    hostip: 10.0.0.99", others, "layout.yaml:4:5: machine gpu-99 of layout.yaml is no node of this cluster"},
		"a strange address": {"10.9.9.9\n    hostip: 10.0.0.99", others, "there are: worker1, worker2"},
		"two for one":       {"worker1", "  - {hostname: again, nodename: WORKER1, hostip: 10.0.0.3, pai-worker: true}\n", "machine again is the node worker1, and so is worker1"},
		"all at once":       {"a\n    hostip: 10.0.0.98", "  - {hostname: b, hostip: 10.0.0.99, pai-worker: true}\n", "machine b of layout.yaml"},
	} {
		s, _ := services(t, node("worker1", map[string]string{"pai-storage": "true"}, "10.0.0.1"), node("worker2", nil, "10.0.0.2"))
		address := "\n    hostip: 10.0.0.1"
		if strings.Contains(c.named, "hostip") {
			address = ""
		}
		layout := strings.Replace(layoutText, "\n    hostip: 10.0.0.1", "\n    nodename: "+c.named+address, 1) + c.more
		pushed := files("a-password")
		pushed["layout.yaml"] = []byte(layout)
		_, err := s.Push(ctx, pushed, "", true)
		if c.want == "" {
			if err == nil {
				err = s.Start(ctx, []string{ClusterConfiguration})
			}
			if n, _ := s.client.CoreV1().Nodes().Get(ctx, "worker1", metav1.GetOptions{}); err != nil || fmt.Sprint(n.Labels) != "map[pai-storage:true pai-worker:true]" {
				t.Errorf("%s: %v, %v", name, n.Labels, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the push: %v", name, err)
		}
		if _, err := s.Pull(ctx); !errors.Is(err, ErrNoConfiguration) {
			t.Errorf("%s: the refused push is there: %v", name, err)
		}
		if _, err := s.push(ctx, pushed, "", true); err != nil {
			t.Fatal(err)
		}
		err = s.Start(ctx, ServiceNames)
		if n, _ := s.client.CoreV1().Nodes().Get(ctx, "worker1", metav1.GetOptions{}); err == nil || !strings.Contains(err.Error(), c.want) || fmt.Sprint(n.Labels) != "map[pai-storage:true]" {
			t.Errorf("%s: the start: %v, %v", name, n.Labels, err)
		}
	}
}

// TestClientsThatArePods are refused by a push: by the nodes' ranges, and by the addresses that pods have.
func TestClientsThatArePods(t *testing.T) {
	worker := node("worker1", nil, "10.0.0.1")
	worker.Spec.PodCIDRs = []string{"10.244.1.0/24"}
	pod := func(name, ip string, host bool) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{HostNetwork: host}, Status: corev1.PodStatus{PodIP: ip}}
	}
	s, _ := services(t, worker, pod("job", "192.168.7.9", false), pod("agent", "10.0.0.1", true))
	for clients, want := range map[string]string{
		"[10.0.0.0/24, 192.0.2.7]": "", "[10.244.1.7]": "services-configuration.yaml:3:25: nfs-allowed-clients: 10.244.1.7/32 has addresses of pods (10.244.1.0/24)",
		"[192.0.2.7, 10.0.0.0/8]": "services-configuration.yaml:3:36: nfs-allowed-clients: 10.0.0.0/8 has", "[192.168.0.0/16]": "(192.168.7.9/32)",
	} {
		pushed := files("a-password")
		pushed["services-configuration.yaml"] = []byte("storage-manager:\n  smbpwd: a-password\n  nfs-allowed-clients: " + clients + "\n")
		switch _, err := s.Push(t.Context(), pushed, "", true); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", clients, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", clients, err, want)
		}
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
		if _, err := s.push(ctx, map[string][]byte{"layout.yaml": []byte(c.layout), "services-configuration.yaml": []byte(c.services)}, "", true); err != nil {
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
