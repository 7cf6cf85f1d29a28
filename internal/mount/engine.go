package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultDir is where the engine keeps what belongs to mounts, on the machine.
const DefaultDir = "/var/lib/pai-storage"

// Engine is the [Mounter] of its own process: it works in the mount namespace that it runs in, needs root, and may hang where the kernel does.
// [Host] runs it in a process that can be given up.
type Engine struct {
	Dir         string   // for mounts of object stores: their state, caches and logs; "" for [DefaultDir]
	ObjectMount string   // the program that serves a mount of an object store; "" for object-mount beside this program
	MountNFS    []string // the command before its arguments; nil for "mount -t nfs"
	// Attached: processes of object stores end with this one, for checks.
	Attached bool

	below string // what alone is served of object stores, for checks
}

func (e *Engine) dir() string {
	if e.Dir == "" {
		return DefaultDir
	}
	return e.Dir
}

// Mount implements [Mounter].
func (e *Engine) Mount(ctx context.Context, target string, v Volume, s Secret) error {
	op := "mount " + v.Source
	mounted, err := e.Mounted(ctx, target)
	if err != nil {
		return &Error{Op: op, Err: err}
	}
	if mounted {
		if !v.Object() || e.alive(target) {
			return wrap(op, e.isOther(target, v))
		}
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil { // its process is gone
			return &Error{Op: op, Output: "a mount whose process is gone cannot be taken away: " + describe(err), Err: err}
		}
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return &Error{Op: op, Err: err}
	}
	// Before: on a full disk nothing is mounted of which nobody could tell what it is.
	if err := e.note(target, v); err != nil {
		return wrap(op, fmt.Errorf("which volume is mounted cannot be noted: %w", err))
	}
	switch v.Kind {
	case NFS:
		err = e.mountNFS(ctx, target, v)
	case SMB:
		err = mountSMB(ctx, target, v, s)
	case AzureBlob, S3:
		err = e.mountObject(ctx, target, v, s)
	default:
		err = &Error{Op: op, Err: fmt.Errorf("volumes of kind %q cannot be mounted", v.Kind)}
	}
	if err != nil {
		if mounted, bad := e.Mounted(ctx, target); bad == nil && !mounted { // else it came that far
			e.forgetNote(target)
		}
	}
	return err
}

// mountNFS calls the machine's own program, which is nfs-common's.
func (e *Engine) mountNFS(ctx context.Context, target string, v Volume) error {
	options := slices.Clone(v.Options)
	if slices.Contains(options, "bg") {
		return &Error{Op: "mount " + v.Source, Err: errors.New("option bg: mount.nfs would say that it is done before anything is mounted, and tasks would write to the worker's own disk")}
	}
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "retry=") }) {
		options = append(options, "retry=0") // the caller tries again
	}
	if v.ReadOnly && !slices.Contains(options, "ro") {
		options = append(options, "ro")
	}
	command := e.MountNFS
	if command == nil {
		command = []string{"mount", "-t", "nfs"}
	}
	args := append(slices.Clone(command[1:]), "-o", strings.Join(options, ","), v.Source, target)
	cmd := exec.CommandContext(ctx, command[0], args...)
	cmd.WaitDelay = patience // mount(8) has a child of its own, which holds on to the output
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(bytes.ToValidUTF8(out, []byte("?"))))
	switch {
	case err == nil:
		mounted, err := e.Mounted(ctx, target)
		if err == nil && !mounted {
			err = errors.New("mount.nfs says that it is done, and nothing is mounted")
		}
		return wrap("mount "+v.Source, err)
	case errors.Is(err, exec.ErrNotFound):
		text = "mount.nfs: command not found"
	case ctx.Err() != nil:
		text, err = strings.TrimSpace(text+" Connection timed out: the server did not answer in time"), ctx.Err()
	}
	return &Error{Op: "mount " + v.Source, Output: text, Err: err}
}

// Unmount implements [Mounter].
func (e *Engine) Unmount(ctx context.Context, target string) error {
	op := "unmount " + target
	for {
		mounted, err := e.Mounted(ctx, target)
		if err != nil {
			return &Error{Op: op, Err: err}
		}
		if !mounted {
			if err := e.settle(ctx, target); err != nil {
				return err
			}
			e.forgetNote(target)
			_ = os.Remove(target) // made by Mount or Bind; one that has files stays
			return nil
		}
		err = e.detach(ctx, target)
		if e.isServed(target) && errors.Is(err, unix.ENOTCONN) {
			err = unix.Unmount(target, unix.MNT_DETACH)
		}
		switch {
		case err == nil: // there may be another one below
		case errors.Is(err, unix.EBUSY):
			return &Error{Op: op, Output: "Device or resource busy: somebody still uses it", Err: err}
		default:
			return &Error{Op: op, Output: describe(err), Err: err}
		}
	}
}

// detach takes the topmost mount of a target away. When the kernel does not come back before ctx is at its end, because the file system's server
// is gone, the mount is taken out of sight, so that a pod can end without its server. What was written goes on its way when the server is back: nothing is
// forced.
func (e *Engine) detach(ctx context.Context, target string) error {
	if e.Attached { // the thread is the one of a check
		return unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	}
	done := make(chan error, 1)
	go func() { done <- unix.Unmount(target, unix.UMOUNT_NOFOLLOW) }()
	last, stop := context.WithCancel(ctx)
	defer stop()
	if end, ok := ctx.Deadline(); ok {
		last, stop = context.WithDeadline(ctx, end.Add(-min(time.Until(end)/5, patience)))
		defer stop()
	}
	select {
	case err := <-done:
		return err
	case <-last.Done():
		if errors.Is(last.Err(), context.Canceled) {
			return last.Err()
		}
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) { // the kernel came back at the same moment, or it is out of sight already
			if mounted, bad := e.Mounted(ctx, target); bad == nil && !mounted {
				return nil
			}
		}
		return err
	}
}

// Bind implements [Mounter].
func (e *Engine) Bind(ctx context.Context, source, target string, readOnly bool) error {
	op := "bind " + source
	if mounted, err := e.Mounted(ctx, target); err != nil || mounted {
		return wrap(op, err)
	}
	info, err := os.Stat(source)
	if err != nil {
		return wrap(op, err)
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o750)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o750); err == nil {
		var f *os.File
		if f, err = os.OpenFile(target, os.O_CREATE, 0o640); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return wrap(op, err)
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return &Error{Op: op, Output: describe(err), Err: err}
	}
	if !readOnly {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|flagsOf(target), ""); err != nil {
		_ = unix.Unmount(target, unix.MNT_DETACH)
		return &Error{Op: op, Output: "read-only: " + describe(err), Err: err}
	}
	return nil
}

// flagsOf are the flags that a mount has, which remounting would take away.
func flagsOf(target string) uintptr {
	var st unix.Statfs_t
	if unix.Statfs(target, &st) != nil {
		return 0
	}
	// ST_NOSUID and its fellows have the numbers of MS_NOSUID and its.
	return uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOATIME | unix.MS_NODIRATIME)
}

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Err: err}
}

// Usage implements [Mounter].
func (e *Engine) Usage(_ context.Context, path string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return Usage{}, &Error{Op: "usage of " + path, Output: describe(err), Err: err}
	}
	block := int64(st.Frsize)
	if block == 0 {
		block = st.Bsize
	}
	u := Usage{Size: int64(st.Blocks) * block, Free: int64(st.Bavail) * block, Used: int64(st.Blocks-st.Bfree) * block, Inodes: int64(st.Files), InodesFree: int64(st.Ffree), InodesUsed: int64(st.Files - st.Ffree)}
	if st.Blocks == 0 { // the server does not say
		u.Size, u.Free, u.Used = -1, -1, -1
	}
	if st.Files == 0 {
		u.Inodes, u.InodesFree, u.InodesUsed = -1, -1, -1
	}
	return u, nil
}

// Mounted implements [Mounter]. It reads the kernel's table and does not touch the target, which may hang.
func (e *Engine) Mounted(_ context.Context, target string) (bool, error) {
	mounts, err := mountTable()
	if err != nil {
		return false, err
	}
	target = kernelPath(filepath.Clean(target))
	return slices.ContainsFunc(mounts, func(m mountEntry) bool { return m.point == target }), nil
}
