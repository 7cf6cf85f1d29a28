package mount_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

var nfs = mount.Volume{Kind: mount.NFS, Source: "10.0.0.1:/data", Options: []string{"nfsvers=4.1"}}

// host runs the engine of the lab in processes of its own.
func (l *lab) host() *mount.Host { return &mount.Host{Program: filepath.Join(l.dir, "pai-mount")} }

// nfsIs has mount.nfs mount a directory in the place of an export.
func (l *lab) nfsIs(how string) { l.script("mount.nfs", `for target; do :; done; `+how) }

func (l *lab) wantNoChecks() {
	l.Helper()
	if left, _ := filepath.Glob(filepath.Join(l.dir, "state/checks/*")); len(left) > 0 {
		l.Errorf("left behind: %v", left)
	}
}

func TestCheck(t *testing.T) {
	l := newLab(t)
	export := l.target("export")
	if err := os.Mkdir(export, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(export, "precious"), []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, how string
		readOnly  bool
		hangs     bool
		said      []string // of the error
	}{
		{"works", "mount --bind " + export + " $target", false, false, nil},
		{"read-only volume", "mount --bind " + export + " $target && mount -o remount,bind,ro $target", true, false, nil},
		{"read-only export", "mount --bind " + export + " $target && mount -o remount,bind,ro $target", false, false, []string{"write 10.0.0.1:/data", "Read-only file system"}},
		{"full", "mount -t tmpfs -o nr_inodes=1 none $target", false, false, []string{"write", "No space left on device"}},
		{"refused", "echo 'mount.nfs: access denied by server while mounting 10.0.0.1:/data' >&2; exit 32", false, false, []string{"mount 10.0.0.1:/data: mount.nfs: access denied by server"}},
		{"hangs", "sleep 1000", false, true, []string{"Connection timed out"}},
		{"hangs with a child", "trap '' TERM; sleep 1000 & wait", false, true, []string{"Connection timed out"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.T = t
			l.nfsIs(c.how)
			v := nfs
			v.ReadOnly = c.readOnly
			ctx := await.Context(t)
			if c.hangs {
				ctx = within(t, 500*time.Millisecond)
			}
			checked, err := l.host().Check(ctx, v, nil)
			if c.said == nil && (err != nil || checked.Mount <= 0 || checked.Total < checked.Mount || checked.Usage.Size <= 0 || checked.WriteDenied) {
				t.Errorf("%+v, %v", checked, err)
			}
			if c.said != nil {
				wantSaid(t, err, c.said...)
			}
			if errors.Is(err, context.DeadlineExceeded) != c.hangs {
				t.Errorf("%v is a deadline: %v", err, !c.hangs)
			}
		})
	}
	l.T = t
	l.nfsIs("mount --bind " + export + " $target") // takes away what the killed ones left
	if _, err := l.host().Check(await.Context(t), nfs, nil); err != nil {
		t.Error(err)
	}
	l.wantNoChecks()
	if names := list(t, export); strings.Join(names, " ") != "precious" {
		t.Errorf("the export has %v", names)
	}
	if mounted(export) || strings.Contains(text(t, "/proc/self/mountinfo"), l.dir) {
		t.Error("something is mounted")
	}
}

// TestCheckNeverDeletes: whatever state a check leaves its mount in, nothing in it is deleted.
func TestCheckNeverDeletes(t *testing.T) {
	l := newLab(t)
	export := l.target("export")
	if err := os.MkdirAll(filepath.Join(export, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(export, "directory/precious"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	// A process holds on to the mount, so that it cannot be taken away while the check runs.
	l.nfsIs("mount --bind " + export + " $target || exit 32\n(cd $target/directory && : >" + l.target("held") + " && exec sleep 1000 >/dev/null 2>&1 </dev/null) &\n" +
		"until [ -e " + l.target("held") + " ]; do sleep 0.05; done")
	_, err := l.host().Check(await.Context(t), nfs, nil)
	wantSaid(t, err, "Device or resource busy")
	if _, err := os.Stat(filepath.Join(export, "directory/precious")); err != nil {
		t.Fatal(err)
	}
}

func TestCheckOfAnObjectStore(t *testing.T) {
	l := newLab(t)
	if checked, err := l.host().Check(await.Context(t), blob, secret); err != nil || checked.Total <= 0 {
		t.Errorf("%+v, %v", checked, err)
	}
	l.say("pending", "1")
	_, err := l.host().Check(within(t, time.Second), blob, secret)
	wantSaid(t, err, "Connection timed out")
	l.say("fault", "403 AuthorizationPermissionMismatch")
	_, err = l.host().Check(await.Context(t), blob, secret)
	wantSaid(t, err, "write archive", "AuthorizationPermissionMismatch")
	l.say("pending", "")
	l.say("behave", "hang")
	_, err = l.host().Check(within(t, time.Second), blob, secret)
	wantSaid(t, err, "Connection timed out")
	l.say("behave", "")
	if _, err := l.host().Check(await.Context(t), blob, secret); err != nil {
		t.Error(err)
	}
	l.wantNoChecks()
	if all, err := l.engine.Served(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("a check is a mount: %v, %v", all, err)
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
