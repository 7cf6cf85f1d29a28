package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pai-storage/pai-storage/internal/mount"
)

func TestChecksModes(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    bool
	}{
		{nil, false},
		{[]string{"allow_other", "uid=1000", "gid=1000"}, false},
		{[]string{"umask=000", "file_mode=0777", "dir_mode=0777"}, false},
		{[]string{"umask=007"}, true},
		{[]string{"allow_other", "umask=077"}, true},
		{[]string{"file_mode=0660"}, true},
		{[]string{"dir_mode=0755"}, true},
		{[]string{"default_permissions"}, true},
	} {
		v := mount.Volume{Options: c.options}
		o, err := fileSystem(v)
		if got := checksModes(v, o); err != nil || got != c.want {
			t.Errorf("%v: %v %v", c.options, got, err)
		}
	}
}

// TestModesProtect: with modes that say so, others neither list nor read, change or delete; without, everybody does.
func TestModesProtect(t *testing.T) {
	l := newLab(t)
	if err := os.Chmod(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	as := func(id uint32, script string) error {
		cmd := exec.Command("sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
		cmd.Dir = "/"
		return cmd.Run()
	}
	for _, c := range []struct {
		name      string
		options   []string
		protected bool
	}{
		{"umask", []string{"allow_other", "uid=1000", "gid=1000", "umask=077"}, true},
		{"asked", []string{"allow_other", "uid=1000", "gid=1000", "default_permissions", "file_mode=0700", "dir_mode=0700"}, true},
		{"open", []string{"allow_other"}, false},
	} {
		v := l.volume
		v.Options = c.options
		target := l.mount(c.name, v)
		file := filepath.Join(target, "file")
		if err := as(1000, "echo text >"+file+" && cat "+file+" && ls "+target); err != nil {
			t.Errorf("%s: the owner: %v", c.name, err)
		}
		for _, script := range []string{"ls " + target, "cat " + file, "echo x >>" + file, "echo x >" + file + "2", "rm -f " + file} {
			if err := as(65534, script); (err != nil) != c.protected {
				t.Errorf("%s: somebody else: %s: %v", c.name, script, err)
			}
		}
		l.unmount(target)
	}
}
