package storagemanager

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
