// Package qemu finds the program that runs virtual machines: the one that is installed, or, when that is too old to emulate several processors at
// once, the newer one that Debian keeps in the backports of the same release.
//
// Example:
//
//	q, err := qemu.Find(ctx, qemu.Options{Cache: root, Log: "qemu.log"})
//	cmd := exec.Command(q.Path, q.Args("-M", "q35", "-accel", q.Emulation())...)
//	cmd.Env = append(os.Environ(), q.Env()...)
package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// Installed is where Debian's package has the program.
const Installed = "/usr/bin/qemu-system-x86_64"

// QEMU is a program that runs virtual machines.
type QEMU struct {
	Path    string  `json:"path"`
	Version Version `json:"version"`
	// Root is the directory that its packages are unpacked in, "" for those that are installed.
	Root string `json:"root,omitempty"`
}

// Version of QEMU, without what distributions add.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// parallel is the first version that emulates several processors of one machine at once without losing instructions that the guest's kernel
// replaces (QEMU's commit "accel/tcg: Always lock pages before translation").
var parallel = Version{8, 1}

func (v Version) before(other Version) bool {
	return v.Major < other.Major || v.Major == other.Major && v.Minor < other.Minor
}

// Emulation is the value of -accel for a machine that is emulated: a thread for each of its processors, or one thread for all of them. With a
// thread for each, an older QEMU may run an instruction that the kernel has replaced: a processor that meets a breakpoint where there is none any
// more goes round in a circle for good. Linux replaces instructions when the first container starts.
func (q QEMU) Emulation() string {
	if q.Version.before(parallel) {
		return "tcg,thread=single"
	}
	return "tcg,thread=multi"
}

// Args are args with the places of the firmware before them.
func (q QEMU) Args(args ...string) []string {
	if q.Root == "" {
		return args
	}
	// What the packages only refer to is the installed ones'.
	places := []string{"-L", q.in("usr/share/qemu"), "-L", q.in("usr/share/seabios"), "-L", "/usr/share/qemu"}
	return append(places, args...)
}

// Env is what the program needs in its environment.
func (q QEMU) Env() []string {
	if q.Root == "" {
		return nil
	}
	return []string{"QEMU_MODULE_DIR=" + q.in("usr/lib/x86_64-linux-gnu/qemu")}
}

func (q QEMU) in(path string) string { return filepath.Join(q.Root, path) }

// Options say where what is found may be kept.
type Options struct {
	Cache string       // see [buildcache.Root]
	Log   string       // file for the output of the package tools
	Note  func(string) // tells people what is going on
}

// Find returns the installed QEMU, or a newer one of the backports when it is too old. When there is none to be had, the installed one has to do,
// and Note says so.
func Find(ctx context.Context, o Options) (QEMU, error) {
	installed, err := examine(ctx, QEMU{Path: Installed})
	if err != nil || !installed.Version.before(parallel) {
		return installed, err
	}
	newer, err := o.newer(ctx, installed.Version)
	if err != nil {
		o.Note(fmt.Sprintf("emulated workers are half as fast as they could be: QEMU is %s, and no newer one could be had: %v", installed.Version, err))
		return installed, ctx.Err()
	}
	return newer, nil
}

// packages are QEMU's own. The libraries that they need are those of the installed QEMU: backports are built on the same release.
var packages = []string{"qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"}

func (o Options) newer(ctx context.Context, installed Version) (QEMU, error) {
	source, err := backports(ctx)
	if err != nil {
		return QEMU{}, err
	}
	dir, err := buildcache.Ensure(ctx, buildcache.Entry{
		Root: o.Cache, Kind: "qemu", Note: o.Note, Keep: 1,
		Key: buildcache.Key([]byte(source.suite), []byte(strings.Join(packages, " ")), []byte(installed.String())),
		Build: func(ctx context.Context, dir string) error {
			o.Note("downloading a newer QEMU")
			return source.unpack(ctx, dir, o.Log)
		},
	})
	if err != nil {
		return QEMU{}, err
	}
	root := filepath.Join(dir, "root")
	newer, err := examine(ctx, QEMU{Path: filepath.Join(root, Installed), Root: root})
	if err == nil && newer.Version.before(parallel) {
		err = fmt.Errorf("%s has %s, and %s is needed", source.suite, newer.Version, parallel)
	}
	return newer, err
}

// archive is a suite of Debian's at the mirror that this machine uses.
type archive struct{ mirror, suite string }

// backports of this machine's release.
func backports(ctx context.Context) (archive, error) {
	codename, err := codename("/etc/os-release")
	if err != nil {
		return archive{}, err
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return archive{}, fmt.Errorf("apt-get indextargets: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if name, uri, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == codename {
			return archive{mirror: uri, suite: codename + "-backports"}, nil
		}
	}
	return archive{}, fmt.Errorf("the package sources of this machine have no %s", codename)
}

// codename of the Debian release, from os-release(5).
func codename(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	debian, name := false, ""
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			debian = value == "debian"
		case "VERSION_CODENAME":
			name = value
		}
	}
	if !debian || name == "" {
		return "", errors.New("this is no release of Debian")
	}
	return name, nil
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// unpack downloads the packages and unpacks them into dir/root. The machine's own package sources and packages stay as they are.
func (a archive) unpack(ctx context.Context, dir, log string) error {
	work := filepath.Join(dir, "apt")
	if err := os.MkdirAll(filepath.Join(work, "lists", "partial"), 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	sources := filepath.Join(work, "sources.list")
	signed := ""
	if _, err := os.Stat(keyring); err == nil {
		signed = "[signed-by=" + keyring + "] "
	}
	if err := os.WriteFile(sources, fmt.Appendf(nil, "deb %s%s %s main\n", signed, a.mirror, a.suite), 0o644); err != nil {
		return err
	}
	options := []string{
		"-o", "Dir::Etc::SourceList=" + sources, "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Dir::State::Lists=" + filepath.Join(work, "lists"),
		"-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none",
	}
	download := append([]string{"download"}, packages...)
	for i, p := range packages {
		download[1+i] = p + "/" + a.suite
	}
	for _, args := range [][]string{{"update", "--error-on=any"}, download} {
		if err := proc.Run(ctx, proc.Command{Path: "apt-get", Args: append(args, options...), Dir: work, Log: log}); err != nil {
			return err
		}
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err == nil && len(debs) != len(packages) {
		err = fmt.Errorf("%s has %d of the packages %s", a.suite, len(debs), strings.Join(packages, " "))
	}
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := proc.Run(ctx, proc.Command{Path: "dpkg-deb", Args: []string{"-x", deb, filepath.Join(dir, "root")}, Log: log}); err != nil {
			return err
		}
	}
	return nil
}

// examine asks the program for its version.
func examine(ctx context.Context, q QEMU) (QEMU, error) {
	out, err := exec.CommandContext(ctx, q.Path, "--version").Output()
	if err != nil {
		return q, fmt.Errorf("%s: %w", q.Path, err)
	}
	q.Version, err = parse(string(out))
	return q, err
}

func parse(said string) (v Version, err error) {
	if _, err = fmt.Sscanf(said, "QEMU emulator version %d.%d", &v.Major, &v.Minor); err != nil {
		first, _, _ := strings.Cut(said, "\n")
		return v, fmt.Errorf("%q names no version of QEMU", first)
	}
	return v, nil
}
