package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/rclone/rclone/cmd/mount2"
	"github.com/rclone/rclone/cmd/mountlib"
	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/vfs"
	"golang.org/x/sys/unix"
)

// handles is the file system of the library with a book of what is open in it.
type handles struct {
	fuse.RawFileSystem

	tree  tree
	keys  keys
	pulse *pulse
	space *space
	data  string // where the cache has the files of the volume

	abandoned atomic.Int32 // operations that go on and that nobody waits for

	mu   sync.Mutex
	open map[uint64]uint64 // node by handle
}

func (h *handles) note(status fuse.Status, handle, node uint64) {
	if status.Ok() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.open[handle] = node
	}
}

// Release implements [fuse.RawFileSystem].
func (h *handles) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	h.mu.Lock()
	delete(h.open, in.Fh) // before: the number is free after
	h.mu.Unlock()
	h.RawFileSystem.Release(cancel, in)
}

// Rename implements [fuse.RawFileSystem]. The library passes over the flags; exchanging two files would lose one of them.
func (h *handles) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if in.Flags&(unix.RENAME_EXCHANGE|unix.RENAME_WHITEOUT) != 0 {
		return fuse.EINVAL
	}
	if h.renameTooLong(in, oldName, newName) {
		return nameTooLong
	}
	input, oldName, newName := *in, strings.Clone(oldName), strings.Clone(newName)
	return h.change(cancel, in.Pid, func() fuse.Status {
		status := h.RawFileSystem.Rename(cancel, &input, oldName, newName)
		if status.Ok() {
			h.tree.rename(input.NodeId, oldName, input.Newdir, newName)
		}
		return status
	}, nil)
}

func (h *handles) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// closeAll closes what the kernel will never close, because the connection to it was cut.
func (h *handles) closeAll() {
	h.mu.Lock()
	left := h.open
	h.open = map[uint64]uint64{}
	h.mu.Unlock()
	for handle, node := range left {
		h.RawFileSystem.Release(nil, &fuse.ReleaseIn{InHeader: fuse.InHeader{NodeId: node}, Fh: handle})
	}
}

// mounted is a file system that the kernel has.
type mounted struct {
	server  *fuse.Server
	handles *handles
	served  chan struct{} // closed when the kernel has let go of it
	gone    chan struct{} // closed when it is mounted nowhere in our mount namespace any more
}

func mountOn(v *vfs.VFS, r mount.ServeRequest, k keys, keep rclone.SizeSuffix) (*mounted, error) {
	target, volume := r.Target, r.Volume
	fsys := mount2.NewFS(v, &mountlib.Options{AttrTimeout: rclone.Duration(attributeTime)})
	root, err := fsys.Root()
	if err != nil {
		return nil, err
	}
	kind := "pai-azureblob"
	if volume.Kind == mount.S3 {
		kind = "pai-s3"
	}
	flags := uintptr(syscall.MS_NOSUID | syscall.MS_NODEV)
	if v.Opt.ReadOnly {
		flags |= syscall.MS_RDONLY
	}
	timeout := time.Duration(attributeTime)
	o := fs.Options{
		EntryTimeout: &timeout, AttrTimeout: &timeout, UID: v.Opt.UID, GID: v.Opt.GID,
		MountOptions: fuse.MountOptions{
			AllowOther: true, FsName: volume.Source, Name: kind, DisableXAttrs: true, DisableReadDirPlus: true,
			MaxWrite: 1 << 20, MaxReadAhead: 1 << 20,
			// By the system call: workers need no fusermount3.
			DirectMountStrict: true, DirectMountFlags: flags,
		},
	}
	if checksModes(volume, v.Opt) {
		o.MountOptions.Options = []string{"default_permissions"}
	}
	h := &handles{
		RawFileSystem: fs.NewNodeFS(root, &o), open: map[uint64]uint64{}, tree: tree{dirs: map[uint64]*directory{}}, keys: k,
		pulse: pulseOf(volume, r.Secret["accountname"]),
		space: &space{dir: r.Cache, keep: uint64(keep)},
		data:  filepath.Join(r.Cache, "vfs", remoteName, strings.Trim(volume.Source, "/")),
	}
	server, err := fuse.NewServer(h, target, &o.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("mount on %s: %w; /dev/fuse and the right to mount are needed", target, err)
	}
	m := &mounted{server: server, handles: h, served: make(chan struct{}), gone: make(chan struct{})}
	go func() { server.Serve(); close(m.served) }()
	if err := server.WaitMount(); err != nil {
		_ = unmount(target)
		return nil, fmt.Errorf("mount on %s: %w", target, err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(target, &st); err != nil {
		_ = unmount(target)
		return nil, fmt.Errorf("mount on %s: %w", target, err)
	}
	go watch(fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), m.gone)
	return m, nil
}

// watch waits until a device is mounted nowhere in our mount namespace, and closes gone. The kernel may have the file system for longer: a
// container with a mount namespace of its own can hold a copy that it does not know of, for as long as it runs.
func watch(device string, gone chan<- struct{}) {
	// Not os.Open: the runtime would wait for the same event, and whoever of the two wakes first takes it from the other.
	table, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // then the kernel's word alone counts
	}
	defer unix.Close(table)
	for {
		text, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return
		}
		if !lists(string(text), device) {
			close(gone)
			return
		}
		// The kernel says "priority" when the table has changed since the last time.
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(table), Events: unix.POLLPRI}}, -1)
		if err != nil && err != unix.EINTR {
			return
		}
	}
}

// lists tells whether a device, as MAJOR:MINOR, is in a table of mounts.
func lists(table, device string) bool {
	for line := range strings.Lines(table) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == device {
			return true
		}
	}
	return false
}

// unmount takes the mount away; one that is in use goes when its last user does.
func unmount(target string) error {
	err := syscall.Unmount(target, 0)
	if err == syscall.EBUSY {
		err = syscall.Unmount(target, syscall.MNT_DETACH)
	}
	return err
}
