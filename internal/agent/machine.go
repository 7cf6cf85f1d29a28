package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/flexvolume"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// machine is the worker as its agent sees it, through the root directory of its first process.
type machine struct {
	root string // the machine's root directory, /proc/1/root
	proc string // /proc
	flex string // directory of FlexVolume drivers, as in this container

	at func(dir string) // told before a directory is looked at; nil when nobody wants to know
}

// Where programs that mount are looked for: mount(8) and the kubelet have these in their PATH.
var programDirs = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// Helpers and modules that mounts need.
var (
	helpers = []string{"mount.nfs", "mount.cifs", "fusermount3"}
	modules = []string{"nfs", "nfsv4", "cifs", "fuse"}
)

// States of a kernel module.
const (
	moduleLoaded   = "loaded"
	moduleLoadable = "loadable"
	moduleAbsent   = "absent"
)

// facts looks at everything but CSI drivers. It opens a few files and starts nothing, so that it can be done every few seconds; it hangs as long as
// one of their directories does, which is why [lookout] has a child do it.
func (m *machine) facts() (storagecheck.Facts, error) {
	f := storagecheck.Facts{Helpers: map[string]bool{}, Modules: map[string]string{}, Flex: []string{}, CSI: []string{}}
	for _, name := range helpers {
		f.Helpers[name] = m.hasProgram(name)
	}
	var release unix.Utsname
	if err := unix.Uname(&release); err != nil {
		return f, fmt.Errorf("kernel release: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(release.Release[:])
	states, err := m.modules(f.Kernel)
	if err != nil {
		return f, err
	}
	f.Modules = states
	if file, err := m.open("/dev/fuse", unix.O_RDWR); err == nil {
		f.FUSE = true
		file.Close()
	}
	m.looks(m.flex)
	flex, err := flexvolume.Installed(m.flex)
	f.Flex = append(f.Flex, flex...)
	return f, err
}

// hasProgram tells whether the machine has a program of this name.
func (m *machine) hasProgram(name string) bool {
	return slices.ContainsFunc(programDirs, func(dir string) bool {
		mode, err := m.mode(path.Join(dir, name))
		return err == nil && mode.IsRegular() && mode&0o111 != 0
	})
}

// modules says of each module that mounts need whether it is there.
func (m *machine) modules(release string) (map[string]string, error) {
	index, err := m.moduleIndex(release)
	if err != nil {
		return nil, err
	}
	running, err := os.ReadFile(filepath.Join(m.proc, "modules"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without modules has no such file
		return nil, err
	}
	served, err := os.ReadFile(filepath.Join(m.proc, "filesystems"))
	if err != nil {
		return nil, err
	}
	loaded := map[string]bool{}
	for line := range strings.Lines(string(running)) {
		name, _, _ := strings.Cut(line, " ")
		loaded[name] = true
	}
	for line := range strings.Lines(string(served)) {
		loaded[strings.TrimSpace(strings.TrimPrefix(line, "nodev"))] = true
	}
	states := map[string]string{}
	for _, name := range modules {
		switch {
		case loaded[name] || index.builtin[name]:
			states[name] = moduleLoaded
		case index.loadable[name]:
			states[name] = moduleLoadable
		default:
			states[name] = moduleAbsent
		}
	}
	return states, nil
}

// moduleIndex is which of the modules that mounts need a kernel has on the disk or in itself.
type moduleIndex struct{ loadable, builtin map[string]bool }

// moduleIndex reads the lists that depmod made.
func (m *machine) moduleIndex(release string) (moduleIndex, error) {
	dir := path.Join("/lib/modules", release)
	list, err := m.open(path.Join(dir, "modules.dep"), unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return moduleIndex{builtin: m.builtin(dir)}, nil // all are built in, or modules are kept elsewhere
	}
	if err != nil {
		return moduleIndex{}, err
	}
	defer list.Close()
	text, err := io.ReadAll(list)
	if err != nil {
		return moduleIndex{}, err
	}
	return moduleIndex{loadable: named(string(text)), builtin: m.builtin(dir)}, nil
}

func (m *machine) builtin(dir string) map[string]bool {
	file, err := m.open(path.Join(dir, "modules.builtin"), unix.O_RDONLY)
	if err != nil {
		return nil
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return nil
	}
	return named(string(text))
}

// named finds modules that mounts need in a list of files, one a line: "kernel/fs/nfs/nfs.ko.xz: kernel/net/sunrpc/sunrpc.ko.xz".
func named(list string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(list) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		name, _, _ := strings.Cut(path.Base(file), ".ko")
		if slices.Contains(modules, name) {
			found[name] = true
		}
	}
	return found
}

// loadFUSE loads the module without which there is no /dev/fuse; the other modules are loaded by the kernel when something is mounted.
func (m *machine) loadFUSE(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if mode, err := m.mode(path.Join(dir, "modprobe")); err != nil || !mode.IsRegular() {
			continue
		}
		modprobe := exec.CommandContext(ctx, path.Join(dir, "modprobe"), "fuse")
		modprobe.Dir, modprobe.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		modprobe.SysProcAttr = &syscall.SysProcAttr{Chroot: m.root}
		if said, err := modprobe.CombinedOutput(); err != nil {
			return fmt.Errorf("modprobe fuse: %w: %s", err, strings.TrimSpace(string(said)))
		}
		return nil
	}
	return errors.New("the machine has no modprobe: load the kernel module fuse by hand")
}

// open opens a file of the machine. Links in its path lead where they lead on the machine, absolute ones as well.
func (m *machine) open(name string, flags int) (*os.File, error) {
	m.looks(path.Dir(name))
	root, err := unix.Open(m.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: m.root, Err: err}
	}
	defer unix.Close(root)
	for {
		fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
			continue
		case err != nil:
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// looks tells that a directory is looked at now.
func (m *machine) looks(dir string) {
	if m.at != nil {
		m.at(dir)
	}
}

// mode is a file's type and permissions, without opening it for reading.
func (m *machine) mode(name string) (fs.FileMode, error) {
	file, err := m.open(name, unix.O_PATH)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Mode(), nil
}
