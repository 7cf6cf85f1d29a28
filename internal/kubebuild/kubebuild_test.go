package kubebuild

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestVersions: what the programs will report is what hack/kubernetes pins.
func TestVersions(t *testing.T) {
	source, err := Source()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"k8s.io/kubernetes " + kubernetesVersion, "containerd/v2 " + containerdVersion} {
		if !strings.Contains(string(mod), want+"\n") {
			t.Errorf("go.mod does not pin %s", want)
		}
	}
}

func fakeBinDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range Programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGivenBinariesAreUsedAsTheyAre(t *testing.T) {
	dir := fakeBinDir(t)
	t.Setenv(EnvBinDir, dir)
	got, err := Ensure(t.Context(), Options{})
	if err != nil || got != dir {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestIncompleteGivenBinaries(t *testing.T) {
	faults := map[string]func(dir string) error{
		"missing":        func(dir string) error { return os.Remove(filepath.Join(dir, "kubelet")) },
		"not executable": func(dir string) error { return os.Chmod(filepath.Join(dir, "kubelet"), 0o644) },
	}
	for name, fault := range faults {
		dir := fakeBinDir(t)
		if err := fault(dir); err != nil {
			t.Fatal(err)
		}
		t.Setenv(EnvBinDir, dir)
		if _, err := Ensure(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "kubelet") || !strings.Contains(err.Error(), EnvBinDir) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestKeyFollowsTheSources(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		k, err := key(dir)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := write("a")
	if write("b") == first {
		t.Error("other sources, same key")
	}
	if write("a") != first {
		t.Error("same sources, other key")
	}
}

func TestMeterCountsPackagesOnly(t *testing.T) {
	var last string
	m := &meter{total: 4, start: time.Now(), note: func(s string) { last = s }}
	fmt.Fprint(m, "go: downloading k8s.io/api v0.37.2\nk8s.io/api/core/v1\ngithub.com/x/y-z\n")
	if m.done != 2 || !strings.HasPrefix(last, "compiling: 2 of 4 packages") {
		t.Errorf("done %d, note %q", m.done, last)
	}
}

func TestNotEnoughDisk(t *testing.T) {
	// The file system of /proc is full by nature.
	if err := enoughDisk("/proc/self"); !errors.Is(err, ErrDisk) || !strings.Contains(err.Error(), "PAI_CACHE_DIR") {
		t.Errorf("error = %v", err)
	}
}

func TestNoSources(t *testing.T) {
	err := error(&SourceError{Looked: []string{"/a", "/b"}})
	for _, want := range []string{"/a or /b", "checkout", EnvBinDir, "containerd"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
}

// TestSharedModules: what both modules use, both use in the same version; then it is compiled once.
func TestSharedModules(t *testing.T) {
	source, err := Source()
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := versions(t, filepath.Join(source, "go.mod")), versions(t, "../../go.mod")
	shared := 0
	for path, version := range ours {
		other, both := theirs[path]
		// Image tools, which Kubernetes has for its tests alone.
		if !both || other == "v0.0.0" || strings.HasPrefix(path, "github.com/google/go-containerregistry") {
			continue
		}
		shared++
		if other != version {
			t.Errorf("%s is %s here and %s in hack/kubernetes: go get %s@%s in the older one", path, version, other, path, other)
		}
	}
	if shared < 20 {
		t.Errorf("only %d modules are shared: the files were not read right", shared)
	}
}

var requireLine = regexp.MustCompile(`(?m)^\s*([\w./~-]+) (v[\w.+-]+)( // indirect)?$`)

func versions(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range requireLine.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
}

// TestHugePages: on for the build, as before after it; and nobody's decision is overruled.
func TestHugePages(t *testing.T) {
	for before, during := range map[string]string{"always [madvise] never\n": "always", "always madvise [never]\n": "always madvise [never]\n"} {
		file := filepath.Join(t.TempDir(), "enabled")
		if err := os.WriteFile(file, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		restore := hugePages(file, func(string) {})
		if text, _ := os.ReadFile(file); !strings.HasPrefix(string(text), during) {
			t.Errorf("from %q: during the build %q", before, text)
		}
		restore()
		want := before
		if strings.Contains(before, "[madvise]") {
			want = "madvise\n"
		}
		if text, _ := os.ReadFile(file); string(text) != want {
			t.Errorf("from %q: after the build %q", before, text)
		}
	}
}
