// Package system tests the whole on real clusters: what the README promises, typed as people type it, and
// the faults that it must survive. It needs root, because workers are virtual machines.
//
// The tests run in their order on one cluster of two workers. PAI_SOAK=1 repeats the faults many times.
package system

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// cluster is a local cluster under test, driven through bin/paictl alone.
type cluster struct {
	dir  string // of its state
	name string
	env  []string
	last status
}

type status struct {
	Ready      bool
	Reason     string
	API        string
	Kubeconfig string
	Kubectl    string
	Workers    []struct {
		Name, Address string
		Ready         bool
	}
	AdminUser         string
	AdminPasswordFile string
	StateDir          string
	Processes         []struct {
		Name     string
		PID      int
		Ready    bool
		Restarts int
	}
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// need skips, or under "make test" fails, where these tests cannot run.
func need(t testing.TB) {
	t.Helper()
	switch {
	case os.Geteuid() != 0:
		kubetest.Skip(t, "system", "it starts virtual machines, which needs root: sudo make system")
	case os.Getenv(kubetest.EnvAll) == "":
		kubetest.Skip(t, "system", "it takes minutes and gigabytes: make system")
	}
	if _, err := os.Stat(filepath.Join(root(t), "bin", "paictl")); err != nil {
		kubetest.Skip(t, "system", "bin/paictl is not built: make build")
	}
}

func newCluster(t testing.TB, name string) *cluster {
	t.Helper()
	// Not t.TempDir: its path is too long for sockets.
	dir, err := os.MkdirTemp("", "pai-")
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{name: name, dir: dir, env: []string{"PAI_STATE_DIR=" + dir}}
	c.sweepAfterDeath(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("status:\n%s", c.paictl(t, "status", "--name", name).out)
		}
		c.paictl(t, "down", "--name", name, "--purge")
		_ = os.RemoveAll(dir)
	})
	return c
}

// sweepAfterDeath has the cluster removed if this program is killed or runs out of time: a process of its own session waits for the end of a
// pipe that only this program holds. After a test that could clean up there is nothing left to remove.
func (c *cluster) sweepAfterDeath(t testing.TB) {
	t.Helper()
	watcher := exec.Command("sh", "-c", `cat > /dev/null; test -d "$PAI_STATE_DIR" || exit 0; "$0" down --name "$1" --purge; rm -rf "$PAI_STATE_DIR"`,
		filepath.Join(root(t), "bin", "paictl"), c.name) // it does not name the cluster's files: it is none of the cluster's processes
	watcher.Env = append(os.Environ(), c.env...)
	watcher.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := watcher.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watcher.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pipe.Close()
		if err := watcher.Wait(); err != nil {
			t.Errorf("the watcher: %v", err)
		}
	})
}

func run(t testing.TB, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), await.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Dir, cmd.Env = root(t), append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (c *cluster) paictl(t testing.TB, args ...string) result {
	t.Helper()
	return run(t, c.env, filepath.Join(root(t), "bin", "paictl"), args...)
}

func (r result) mustSucceed(t testing.TB, what string) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("%s: exit status %d\n%s%s", what, r.code, r.out, r.err)
	}
	return r
}

// mustRefuse: the exit status, and words of the message on standard error.
func (r result) mustRefuse(t testing.TB, what string, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%s: exit status %d, want %d\n%s%s", what, r.code, code, r.out, r.err)
	}
	for _, w := range words {
		if !strings.Contains(r.err, w) {
			t.Errorf("%s: the message lacks %q:\n%s", what, w, r.err)
		}
	}
}

func (c *cluster) up(t testing.TB, args ...string) status {
	t.Helper()
	r := c.paictl(t, append([]string{"up", "--name", c.name, "--output", "json"}, args...)...)
	r.mustSucceed(t, "paictl up")
	t.Logf("paictl up --name %s %s\n%s", c.name, strings.Join(args, " "), r.err)
	return c.decode(t, r.out)
}

func (c *cluster) status(t testing.TB) status {
	t.Helper()
	r := c.paictl(t, "status", "--name", c.name, "--output", "json")
	return c.decode(t, r.out)
}

func (c *cluster) decode(t testing.TB, text string) status {
	t.Helper()
	var s status
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("status: %v\n%s", err, text)
	}
	c.last = s
	return s
}

// alive says whether a process runs; one that has ended and waits for its parent does not.
func alive(pid int) bool {
	if pid == 0 {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

func (s status) pid(name string) int {
	for _, p := range s.Processes {
		if p.Name == name {
			return p.PID
		}
	}
	return 0
}

func (c *cluster) kubectl(t testing.TB, args ...string) result {
	t.Helper()
	return run(t, append(c.env, "KUBECONFIG="+c.last.Kubeconfig), c.last.Kubectl, args...)
}

// client asks the cluster's API server from this process: what is asked again and again is not worth a process each time.
func (c *cluster) client(t testing.TB) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", c.last.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// apply hands a manifest to kubectl.
func (c *cluster) apply(t testing.TB, manifest string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	c.kubectl(t, "apply", "-f", file).mustSucceed(t, "kubectl apply")
}
