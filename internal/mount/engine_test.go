package mount_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// tmpfs mounts one, of a mebibyte.
func (l *lab) tmpfs(target string) {
	l.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		l.Fatal(err)
	}
	if err := unix.Mount("none", target, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "size=1m,nr_inodes=100"); err != nil {
		l.Fatal(err)
	}
}

func TestNFS(t *testing.T) {
	l := newLab(t)
	ctx, a := await.Context(t), l.target("deep/a b")
	l.nfsIs(`echo "$@" >` + l.dir + `/arguments; mount -t tmpfs none "$target"`)
	v := nfs
	v.ReadOnly = true
	for range 2 { // the second finds it mounted
		if err := l.host().Mount(ctx, a, v, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.TrimSpace(text(t, l.target("arguments"))), "-o nfsvers=4.1,retry=0,ro 10.0.0.1:/data "+a; got != want {
		t.Errorf("mount.nfs %s, want %s", got, want)
	}
	if is, err := l.host().Mounted(ctx, a); err != nil || !is {
		t.Errorf("%v, %v", is, err)
	}
	for range 2 {
		if err := l.host().Unmount(ctx, a); err != nil {
			t.Error(err)
		}
	}
	if is, err := l.host().Mounted(ctx, a); err != nil || is {
		t.Errorf("%v, %v", is, err)
	}
	if _, err := os.Stat(a); !os.IsNotExist(err) {
		t.Errorf("%v: the directory that Mount made is there", err)
	}
	l.nfsIs("sleep 1000")
	err := l.host().Mount(within(t, 500*time.Millisecond), a, nfs, nil)
	if wantSaid(t, err, "mount 10.0.0.1:/data", "Connection timed out"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no deadline", err)
	}
	l.nfsIs("exit 0")
	wantSaid(t, l.host().Mount(ctx, a, nfs, nil), "nothing is mounted")
	background := nfs
	background.Options = []string{"bg"}
	wantSaid(t, l.host().Mount(ctx, a, background, nil), "option bg")
	l.engine.MountNFS = []string{"no-such-program-mount.nfs"}
	wantSaid(t, l.engine.Mount(ctx, a, nfs, nil), "mount.nfs: command not found")
	wantSaid(t, l.engine.Mount(ctx, a, mount.Volume{Kind: "floppy", Source: "a:"}, nil), "floppy")
}

// TestAnotherVolumeInItsPlace: a volume that comes to a place where another one is mounted is not taken for it.
func TestAnotherVolumeInItsPlace(t *testing.T) {
	l := newLab(t)
	ctx, a := await.Context(t), l.target("a")
	l.nfsIs(`mount -t tmpfs none "$target"`)
	alpha := mount.Volume{Kind: mount.NFS, Source: "10.0.0.1:/alpha", Options: []string{"nfsvers=4.1"}}
	beta, readOnly, later := alpha, alpha, alpha
	beta.Source, readOnly.ReadOnly, later.Options = "10.0.0.1:/beta", true, []string{"nfsvers=4.2"}
	for range 2 {
		if err := l.host().Mount(ctx, a, alpha, nil); err != nil {
			t.Fatal(err)
		}
	}
	wantSaid(t, l.host().Mount(ctx, a, beta, nil), "10.0.0.1:/alpha is mounted in its place", "different volumeHandles")
	wantSaid(t, l.host().Mount(ctx, a, readOnly, nil), "10.0.0.1:/alpha, not read-only, is mounted in its place")
	if err := l.host().Mount(ctx, a, later, nil); err != nil {
		t.Errorf("with other options: %v", err)
	}
	if err := l.host().Unmount(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := l.host().Mount(ctx, a, beta, nil); err != nil {
		t.Errorf("after the other is gone: %v", err)
	}
	if err := l.host().Unmount(ctx, a); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(l.engine.Dir, "mounted")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// TestNotes: nothing is mounted that cannot be noted, a mount that fails leaves no note, and one of a mount that is gone keeps nothing away.
func TestNotes(t *testing.T) {
	l := newLab(t)
	ctx, a, notes := await.Context(t), l.target("a"), filepath.Join(l.engine.Dir, "mounted")
	l.nfsIs(`mount -t tmpfs none "$target"`)
	if err := os.MkdirAll(l.engine.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(notes, nil, 0o600); err != nil { // as bad as a full disk
		t.Fatal(err)
	}
	wantSaid(t, l.host().Mount(ctx, a, nfs, nil), "cannot be noted")
	wantMounted(t, a, false)
	if err := os.Remove(notes); err != nil {
		t.Fatal(err)
	}
	if err := l.host().Mount(ctx, a, nfs, nil); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(a, 0); err != nil { // by hand: the note stays
		t.Fatal(err)
	}
	other := nfs
	other.Source = "10.0.0.1:/other"
	if err := l.host().Mount(ctx, a, other, nil); err != nil {
		t.Errorf("where another volume was: %v", err)
	}
	if err := l.host().Unmount(ctx, a); err != nil {
		t.Error(err)
	}
	l.nfsIs("echo access denied >&2; exit 32")
	wantSaid(t, l.host().Mount(ctx, a, nfs, nil), "access denied")
	if left, err := os.ReadDir(notes); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestMountedLooksThroughLinks(t *testing.T) {
	l := newLab(t)
	l.tmpfs(l.target("real/a"))
	if err := os.Symlink("real", l.target("link")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"real/a": true, "link/a": true, "link/a/": true, "link": false, "real": false, "real/a/b": false, "absent/a": false} {
		if got, err := l.engine.Mounted(t.Context(), l.dir+"/"+name); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if err := l.engine.Unmount(await.Context(t), l.target("link/a")); err != nil {
		t.Error(err)
	}
	wantMounted(t, l.target("real/a"), false)
}

func TestUnmount(t *testing.T) {
	l := newLab(t)
	ctx, a := await.Context(t), l.target("a")
	l.tmpfs(a)
	l.tmpfs(a) // two on top of each other
	f, err := os.Create(filepath.Join(a, "open"))
	if err != nil {
		t.Fatal(err)
	}
	wantSaid(t, l.host().Unmount(ctx, a), "unmount "+a, "Device or resource busy")
	wantMounted(t, a, true)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.host().Unmount(ctx, a); err != nil {
		t.Error(err)
	}
	wantMounted(t, a, false)
}

func TestBindAndUsage(t *testing.T) {
	l := newLab(t)
	ctx := await.Context(t)
	l.tmpfs(l.target("source"))
	if err := os.WriteFile(l.target("source/file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		source, target string
		readOnly       bool
	}{{"source", "rw", false}, {"source", "ro", true}, {"source/file", "files/rw", false}, {"source/file", "files/ro", true}} {
		for range 2 {
			if err := l.host().Bind(ctx, l.target(c.source), l.target(c.target), c.readOnly); err != nil {
				t.Fatal(err)
			}
		}
		file := l.target(c.target)
		if c.source == "source" {
			file = filepath.Join(file, "file")
		}
		if text(t, file) != "text" {
			t.Errorf("%s is something else", file)
		}
		if err := os.WriteFile(file, []byte("text"), 0o644); errors.Is(err, unix.EROFS) != c.readOnly {
			t.Errorf("%s: %v", file, err)
		}
		for line := range strings.Lines(text(t, "/proc/self/mountinfo")) {
			if fields := strings.Fields(line); fields[4] == l.target(c.target) && !strings.Contains(fields[5], "nosuid,noexec") {
				t.Errorf("%s lost flags: %s", c.target, line)
			}
		}
	}
	wantSaid(t, l.host().Bind(ctx, l.target("absent"), l.target("x"), false), "bind "+l.target("absent"), "no such file or directory")
	u, err := l.host().Usage(ctx, l.target("source"))
	if err != nil || u.Size != 1<<20 || u.Used != 4096 || u.Free != u.Size-u.Used || u.Inodes != 100 || u.InodesUsed != 2 || u.InodesFree != 98 {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = l.host().Usage(ctx, l.target("absent"))
	wantSaid(t, err, "No such file or directory")
}

// elsewhere is a process in another mount namespace, where the lab's directory "there" is a tmpfs.
func (l *lab) elsewhere() string {
	l.Helper()
	cmd := exec.Command("sh", "-c", "mkdir -p "+l.target("there")+" && mount -t tmpfs none "+l.target("there")+" && echo ready && exec sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		l.Fatalf("%q, %v", line, err)
	}
	return "/proc/" + itoa(cmd.Process.Pid)
}

func TestHostInOtherNamespaces(t *testing.T) {
	l := newLab(t)
	ctx := await.Context(t)
	h := &mount.Host{Program: l.target("pai-mount"), Root: l.elsewhere(), There: l.target("pai-mount")}
	if is, err := h.Mounted(ctx, l.target("there")); err != nil || !is {
		t.Errorf("%v, %v: it is not there", is, err)
	}
	if is, err := l.host().Mounted(ctx, l.target("there")); err != nil || is {
		t.Errorf("%v, %v: it is here", is, err)
	}
	if err := h.Mount(ctx, l.target("a"), blob, secret); err != nil {
		t.Fatal(err)
	}
	wantMounted(t, l.target("a"), false)
	if all, err := h.Served(ctx); err != nil || len(all) != 1 || !all[0].Alive {
		t.Errorf("%+v, %v", all, err)
	}
	if err := h.Unmount(ctx, l.target("a")); err != nil {
		t.Error(err)
	}
	h.There = l.target("absent")
	_, err := h.Mounted(ctx, l.target("there"))
	wantSaid(t, err, l.target("absent")+" on the machine: no such file or directory")
	h.Root = "/proc/0"
	_, err = h.Mounted(ctx, l.target("there"))
	wantSaid(t, err, "mnt namespace of the machine")
}

// TestHostIsNotHeldUp: a program that never ends is given up, also when it does not listen to anybody.
func TestHostIsNotHeldUp(t *testing.T) {
	l := newLab(t)
	l.script("stuck", "trap '' TERM INT; sleep 1000 & wait; sleep 1000")
	h := &mount.Host{Program: l.target("stuck"), Limit: 200 * time.Millisecond}
	for _, call := range []func() error{
		func() error { return h.Mount(t.Context(), l.target("a"), nfs, nil) }, // no deadline: Limit
		func() error { return h.Unmount(within(t, 200*time.Millisecond), l.target("a")) },
		func() error { _, err := h.Check(within(t, 200*time.Millisecond), nfs, nil); return err },
	} {
		err := call()
		if wantSaid(t, err, "Connection timed out"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is no deadline", err)
		}
	}
	l.script("stuck", "echo nonsense; echo words of the program >&2; exit 3")
	wantSaid(t, h.Mount(t.Context(), l.target("a"), nfs, nil), "words of the program")
}
