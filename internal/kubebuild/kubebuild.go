// Package kubebuild builds the programs of a Kubernetes cluster from source, once for each version.
//
// What is built is pinned by the module in hack/kubernetes of a checkout. The result lies in the
// user's cache, keyed by that module, the flags and the Go release. A directory of ready binaries
// replaces all of it: see [Find].
//
// The flags are measured, see docs/decisions/0001-embedded-cluster.md.
package kubebuild

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// EnvBinDir names the variable that holds a directory of ready binaries.
const EnvBinDir = "PAI_KUBE_BIN"

// Programs are the files that a finished directory holds.
var Programs = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl",
	"kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "pause",
}

// links are the programs that are another one under a further name.
var links = map[string][]string{
	"controlplane": {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"},
	"node":         {"kubelet", "kube-proxy"},
}

// packages in this order: the build begins with the longest chain of imports.
var packages = []string{
	"./controlplane", "./node", "./pause",
	"github.com/containerd/containerd/v2/cmd/containerd",
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
	"github.com/containerd/containerd/v2/cmd/ctr",
}

// Options say where things are.
type Options struct {
	Source string // hack/kubernetes of a checkout
	Cache  string // see buildcache.Root
	Log    string // output of the build
	Note   func(string)
}

// SourceError says that there is nothing to build from.
type SourceError struct{ Looked []string }

func (e *SourceError) Error() string {
	return fmt.Sprintf("the sources of the cluster's Kubernetes (hack/kubernetes) are not in %s: run paictl from a checkout of the project, or set %s to a directory with %s",
		strings.Join(e.Looked, " or "), EnvBinDir, strings.Join(Programs, ", "))
}

// Find returns a directory with all programs if one is there without building: $PAI_KUBE_BIN, which
// must then be complete, or the cache.
func Find(o Options) (dir string, ok bool, err error) {
	if dir = os.Getenv(EnvBinDir); dir != "" {
		return dir, true, complete(dir)
	}
	entry, err := o.entry()
	if err != nil {
		return "", false, err
	}
	dir, ok = buildcache.Lookup(entry)
	return dir, ok, nil
}

// Ensure returns a directory with all programs, building them when they are not there.
func Ensure(ctx context.Context, o Options) (string, error) {
	if dir, ok, err := Find(o); ok || err != nil {
		return dir, err
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("building Kubernetes needs Go on the PATH: %w", err)
	}
	entry, err := o.entry()
	if err != nil {
		return "", err
	}
	return buildcache.Ensure(ctx, entry)
}

// Source finds hack/kubernetes beside the program (bin/..) or above the working directory.
func Source() (string, error) {
	var starts, looked []string
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(filepath.Dir(exe)))
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			starts = append(starts, dir)
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range starts {
		candidate := filepath.Join(dir, "hack", "kubernetes")
		if _, err := os.Stat(filepath.Join(candidate, "go.mod")); err == nil {
			return candidate, nil
		}
		looked = append(looked, dir)
	}
	if len(looked) > 2 {
		looked = looked[:2]
	}
	return "", &SourceError{Looked: looked}
}

func (o Options) entry() (buildcache.Entry, error) {
	key, err := key(o.Source)
	return buildcache.Entry{Root: o.Cache, Kind: "kubernetes", Key: key, Build: o.build, Note: o.Note, Keep: 1}, err
}

func key(source string) (string, error) {
	parts := [][]byte{[]byte(strings.Join(packages, " ")), []byte(strings.Join(goArgs("", nil), " ")), goVersion()}
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		parts = append(parts, []byte(d.Name()), text)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sources of Kubernetes: %w", err)
	}
	return buildcache.Key(parts...), nil
}

func goVersion() []byte {
	out, err := exec.Command("go", "env", "GOVERSION", "GOARCH").Output()
	if err != nil {
		return nil // Ensure says that Go is missing
	}
	return out
}

func complete(dir string) error {
	for _, name := range Programs {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("%s=%s has no program %s: put it there, or unset the variable to have everything built", EnvBinDir, dir, name)
		}
	}
	return nil
}

// env of the compiler: no cgo, so that the programs run in any image, and rare garbage collections,
// since the compiler's memory is short-lived.
var env = []string{"CGO_ENABLED=0", "GOGC=400", "GOFLAGS=-mod=readonly"}

func goArgs(out string, args []string) []string {
	version := "-X k8s.io/component-base/version.gitVersion=" + kubernetesVersion +
		" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37" +
		" -X k8s.io/component-base/version.gitTreeState=clean" +
		" -X github.com/containerd/containerd/v2/version.Version=" + containerdVersion
	return append([]string{"build", "-v", "-trimpath", "-tags=no_btrfs,no_devmapper,no_zfs",
		"-gcflags=all=-dwarf=false", "-ldflags=-s -w " + version, "-o", out + "/"}, args...)
}

// The versions that the programs report; TestVersions holds them against hack/kubernetes/go.mod.
const (
	kubernetesVersion = "v1.37.2"
	containerdVersion = "v2.4.2"
)

// expected is the length of a cold build on two cores, to show people before there is anything to
// extrapolate from.
const expected = 8 * time.Minute

func (o Options) build(ctx context.Context, dir string) error {
	if err := enoughDisk(o.Cache); err != nil {
		return err
	}
	o.Note("downloading the sources")
	total, err := o.countPackages(ctx)
	if err != nil {
		return err
	}
	defer hugePages(hugePagesFile, o.Note)()
	meter := &meter{total: total, start: time.Now(), note: o.Note}
	err = proc.Run(ctx, proc.Command{Path: "go", Args: goArgs(dir, packages), Dir: o.Source, Env: env, Log: o.Log, Output: meter})
	if err != nil {
		return err
	}
	for binary, names := range links {
		for _, name := range names {
			if err := os.Link(filepath.Join(dir, binary), filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		if err := os.Remove(filepath.Join(dir, binary)); err != nil {
			return err
		}
	}
	return complete(dir)
}

// countPackages downloads what the build needs and says how many packages it may compile.
func (o Options) countPackages(ctx context.Context) (int, error) {
	var out lineCounter
	args := append([]string{"list", "-deps", "-tags=no_btrfs,no_devmapper,no_zfs"}, packages...)
	err := proc.Run(ctx, proc.Command{Path: "go", Args: args, Dir: o.Source, Env: env, Log: o.Log, Output: &out})
	return out.lines, err
}

type lineCounter struct{ lines int }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.lines += strings.Count(string(p), "\n")
	return len(p), nil
}

// meter reads the compiler's list of packages and tells how far it is.
type meter struct {
	total, done int
	start       time.Time
	note        func(string)
	told        time.Time
}

var packageLine = regexp.MustCompile(`(?m)^[\w.~-]+(/[\w.~-]+)*$`)

func (m *meter) Write(p []byte) (int, error) {
	m.done += len(packageLine.FindAll(p, -1))
	if time.Since(m.told) > time.Second {
		m.told = time.Now()
		m.note(fmt.Sprintf("compiling: %d of %d packages, about %s to go", m.done, m.total, m.left().Round(10*time.Second)))
	}
	return len(p), nil
}

// left extrapolates from what is done; before a tenth is done that would be guessing.
func (m *meter) left() time.Duration {
	elapsed := time.Since(m.start)
	if m.done*10 < m.total {
		return max(expected-elapsed, time.Minute)
	}
	return time.Duration(float64(elapsed) * float64(m.total-m.done) / float64(m.done))
}

// diskNeeded is what the build writes at its peak: 0.5 GB of results, 4 GB of the compiler's cache, and
// 1.5 GB of sources.
const diskNeeded = 6 << 30

// ErrDisk is the cause when the disk is too small to begin.
var ErrDisk = errors.New("not enough space on the disk")
