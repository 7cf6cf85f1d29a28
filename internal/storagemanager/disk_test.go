package storagemanager

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// TestRecognise: what was served before is served again; an empty directory or another disk in its place is not, until an administrator says so.
func TestRecognise(t *testing.T) {
	root, memory := t.TempDir(), filepath.Join(t.TempDir(), "memory")
	path := filepath.Join(root, "share")
	l := layout{path}
	mount := func(t *testing.T, disk string) { // the directory of that name takes the place
		t.Helper()
		if err := errors.Join(os.RemoveAll(path), os.MkdirAll(filepath.Join(root, disk), 0o755), os.Symlink(disk, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.recognise(memory); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing at all: %v", err)
	}
	served := func(t *testing.T, why string) {
		t.Helper()
		if err := errors.Join(l.recognise(memory), l.make(), l.recognise(memory)); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	refused := func(t *testing.T, why, want string) {
		t.Helper()
		before, _ := os.ReadDir(path)
		var stranger strangerError
		if err := l.recognise(memory); !errors.As(err, &stranger) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "touch "+path+"/serve-this-") {
			t.Errorf("%s: %v", why, err)
		}
		if after, _ := os.ReadDir(path); len(after) != len(before) {
			t.Errorf("%s: something was made in it: %v", why, after)
		}
	}
	mount(t, "disk")
	served(t, "the first time")
	mount(t, "beneath")
	refused(t, "the disk is not mounted", "it has no file "+path+"/.pai-storage/disk")
	mount(t, "disk")
	served(t, "it is mounted again")
	mount(t, "beneath")
	want := func(t *testing.T, said error) string { // what the message tells to do
		t.Helper()
		_, file, _ := strings.Cut(said.Error(), "touch ")
		file = filepath.Base(file)
		if err := os.WriteFile(filepath.Join(path, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	said := l.recognise(memory)
	mount(t, "new")
	want(t, said)
	refused(t, "an administrator wanted another directory", "it has no file")
	file := want(t, l.recognise(memory))
	served(t, "an administrator wants it")
	if _, err := os.Lstat(filepath.Join(path, file)); !errors.Is(err, os.ErrNotExist) {
		t.Error("what an administrator said once counts for ever")
	}
	mount(t, "disk")
	refused(t, "the disk of before", "it is another disk")
	if err := (layout{filepath.Join(root, "disk")}).recognise(memory); err != nil {
		t.Errorf("the same disk at another place: %v", err)
	}
	if err := l.recognise(filepath.Join(t.TempDir(), "another machine")); err != nil {
		t.Errorf("on a machine that remembers nothing: %v", err)
	}
	if err := os.WriteFile(filepath.Join(memory, servedFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.recognise(memory); err == nil || !strings.Contains(err.Error(), "remove the file: "+memory) {
		t.Errorf("a spoiled memory: %v", err)
	}
	if err := (layout{filepath.Join(memory, servedFile)}).recognise(t.TempDir()); err == nil || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a file: %v", err)
	}
}

// TestRecogniseWithoutRoom: a full disk keeps nobody from files that were served before anything was remembered; it is remembered when there is room.
func TestRecogniseWithoutRoom(t *testing.T) {
	if os.Geteuid() != 0 {
		kubetest.Skip(t, "unit", "file systems are mounted here, which needs root: sudo make unit")
	}
	for name, c := range map[string]struct{ root, memory, inodes string }{
		"nothing can be made on the disk":   {"full", "memory", "1"},
		"the id cannot be written":          {"full", "memory", "2"},
		"the memory of the machine is full": {"share", "full/memory", "1"},
		"the memory cannot be written":      {"share", "full/memory", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			full, l, memory := filepath.Join(dir, "full"), layout{filepath.Join(dir, c.root)}, filepath.Join(dir, c.memory)
			if err := errors.Join(os.MkdirAll(full, 0o755), os.MkdirAll(l.root, 0o755), unix.Mount("none", full, "tmpfs", 0, "nr_inodes="+c.inodes)); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(full, unix.MNT_DETACH) })
			if c.root == "full" && c.inodes == "2" {
				if err := os.Mkdir(l.state(), stateMode); err != nil {
					t.Fatal(err)
				}
			}
			var noRoom noRoomError
			if err := l.recognise(memory); !errors.As(err, &noRoom) {
				t.Fatalf("a full disk: %v", err)
			}
			tick, done := make(chan time.Time), make(chan error, 1)
			go func() { done <- l.recogniseLater(t.Context(), memory, slog.New(slog.DiscardHandler), tick) }()
			tick <- time.Time{}
			tick <- time.Time{} // it goes on while there is no room
			if err := unix.Mount("none", full, "tmpfs", unix.MS_REMOUNT, "nr_inodes=100"); err != nil {
				t.Fatal(err)
			}
			var err error
			for ended := false; !ended; {
				select {
				case tick <- time.Time{}:
				case err = <-done:
					ended = true
				}
			}
			id, bad := l.disk()
			if served, worse := remembered(filepath.Join(memory, servedFile)); errors.Join(err, bad, worse) != nil || id == "" || served[l.root] != id {
				t.Errorf("with room again: %v, id %q, remembered %v", errors.Join(err, bad, worse), id, served)
			}
		})
	}
}
