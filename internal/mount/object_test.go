package mount_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

var (
	blob   = mount.Volume{Kind: mount.AzureBlob, Source: "archive"}
	secret = mount.Secret{"accountname": "a", "accountkey": "CANARY"}
)

// within is for what has to take too long.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func (l *lab) target(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) mount(target string) {
	l.Helper()
	if err := l.engine.Mount(await.Context(l.T), target, blob, secret); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) served() mount.Served {
	l.Helper()
	all, err := l.engine.Served(await.Context(l.T))
	if err != nil || len(all) != 1 {
		l.Fatalf("%v, %v, want one", all, err)
	}
	return all[0]
}

// wantSaid checks that an error says all of the texts, and no secret.
func wantSaid(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it worked, want an error with %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	if strings.Contains(err.Error(), "CANARY") {
		t.Errorf("%q tells the secret", err)
	}
}

func wantMounted(t *testing.T, target string, want bool) {
	t.Helper()
	if got := mounted(target); got != want {
		t.Errorf("%s is mounted: %v, want %v", target, got, want)
	}
}

func TestObjectStoreThatCannotBeMounted(t *testing.T) {
	for _, c := range []struct {
		name, behave string
		said         []string
	}{
		{"the store refuses", "azure: authentication failed (403)", []string{"mount archive", "authentication failed (403)"}},
		{"the program dies", "die", []string{"ended before it served", "last words of the program"}},
		{"the store is silent", "hang", []string{"Connection timed out"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.say("behave", c.behave)
			ctx := await.Context(t)
			if c.behave == "hang" {
				ctx = await.Expiring(t, func() bool { _, err := os.Stat(l.target("request")); return err == nil }) // the program has got it
			}
			err := l.engine.Mount(ctx, l.target("a"), blob, secret)
			wantSaid(t, err, c.said...)
			if c.behave == "hang" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is no deadline", err)
			}
			wantMounted(t, l.target("a"), false)
			if left, _ := filepath.Glob(filepath.Join(l.dir, "state/mounts/*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			l.say("behave", "")
			l.mount(l.target("a")) // nothing is in the way
		})
	}
	l := newLab(t)
	l.engine.ObjectMount = "/nonexistent/object-mount"
	wantSaid(t, l.engine.Mount(await.Context(t), l.target("a"), blob, secret), "/nonexistent/object-mount")
}

func TestObjectStore(t *testing.T) {
	l := newLab(t)
	l.mount(l.target("a"))
	l.mount(l.target("a")) // once more changes nothing
	l.mount(l.target("b")) // of the same volume, with a cache of its own
	all, err := l.engine.Served(t.Context())
	if err != nil || len(all) != 2 || !all[0].Alive || !all[1].Alive || all[0].PID == all[1].PID {
		t.Fatalf("%+v, %v, want two that live", all, err)
	}
	for _, s := range all {
		environment, err := os.ReadFile("/proc/" + itoa(s.PID) + "/environ")
		line, _ := os.ReadFile("/proc/" + itoa(s.PID) + "/cmdline")
		if err != nil || strings.Contains(string(environment)+string(line), "CANARY") {
			t.Errorf("%v; the secret is in the environment or the command line: %q %q", err, environment, line)
		}
	}
	kept, _ := filepath.Glob(filepath.Join(l.dir, "state/mounts/*/*.json"))
	for _, file := range kept {
		if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "CANARY") {
			t.Errorf("%s: %v: %s", file, err, text)
		}
	}
	if len(kept) != 2 {
		t.Errorf("records: %v", kept)
	}
	for _, name := range []string{"a", "b", "b"} { // what is not mounted is a success
		if err := l.engine.Unmount(await.Context(t), l.target(name)); err != nil {
			t.Error(err)
		}
		wantMounted(t, l.target(name), false)
	}
	if left, _ := filepath.Glob(filepath.Join(l.dir, "state/mounts/*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestUnmountWaitsForUploads(t *testing.T) {
	l := newLab(t)
	a := l.target("a")
	l.mount(a)
	l.say("pending", "3")
	l.say("fault", "the store is away")
	err := l.engine.Unmount(await.Expiring(t, func() bool { return !mounted(a) }), a)
	wantSaid(t, err, "3 files (300 bytes) still being uploaded from "+a, "the store is away")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no deadline", err)
	}
	wantMounted(t, a, false)
	if s := l.served(); !s.Alive || s.Pending != 3 || s.Bytes != 300 || s.Fault != "the store is away" {
		t.Errorf("%+v", s)
	}
	// While it uploads, nobody else gets its cache.
	wantSaid(t, l.engine.Mount(await.Expiring(t, func() bool { return true }), a, blob, secret), "3 files (300 bytes)", "still being uploaded")
	wantMounted(t, a, false)
	l.say("pending", "")
	if err := l.engine.Unmount(await.Context(t), a); err != nil {
		t.Error(err)
	}
	if all, err := l.engine.Served(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

// TestSettled: what a process says at its end is believed, so a machine that is too busy to look at the cache tells nobody that files are lost;
// and only of that process.
func TestSettled(t *testing.T) {
	l := newLab(t)
	a := l.target("a")
	l.say("settles", "yes")
	cached := filepath.Join(l.dir, "state", "mounts", "*", "cache")
	for _, killed := range []bool{false, true, false} {
		l.mount(a)
		dirs, err := filepath.Glob(cached)
		if err != nil || len(dirs) != 1 {
			t.Fatal(dirs, err)
		}
		if err := os.MkdirAll(filepath.Join(dirs[0], "vfs"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dirs[0], "vfs", "file"), []byte("of the cache"), 0o600); err != nil {
			t.Fatal(err)
		}
		if killed {
			if err := unix.Kill(l.served().PID, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		switch err := l.engine.Unmount(await.Context(t), a); {
		case killed:
			wantSaid(t, err, "1 file ")
		case err != nil:
			t.Error(err)
		}
	}
}

func TestProcessThatWasKilled(t *testing.T) {
	l := newLab(t)
	a := l.target("a")
	l.mount(a)
	l.say("pending", "2")
	kill := func() {
		t.Helper()
		s := l.served()
		if err := unix.Kill(s.PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await.Until(t, "the process is gone", func() bool { return !l.served().Alive })
	}
	kill()
	if s := l.served(); s.Pending != 2 || s.Target != a {
		t.Errorf("%+v", s)
	}
	// The store is away when it is mounted again: what is in the cache stays where the next one finds it.
	l.say("behave", "the store is away")
	wantSaid(t, l.engine.Mount(await.Context(t), a, blob, secret), "the store is away")
	if s := l.served(); s.Alive || s.Pending != 2 {
		t.Errorf("%+v", s)
	}
	l.say("behave", "")
	l.mount(a)
	if s := l.served(); !s.Alive || s.Pending != 2 {
		t.Errorf("%+v", s)
	}
	kill()
	// Unmounted instead: the files are kept, and told, once.
	err := l.engine.Unmount(await.Context(t), a)
	wantSaid(t, err, "2 files (200 bytes)", "not uploaded", filepath.Join(l.dir, "state/lost/"))
	wantMounted(t, a, false)
	if err := l.engine.Unmount(await.Context(t), a); err != nil {
		t.Error(err)
	}
	if s := l.served(); s.Alive || !s.Lost || s.Pending != 2 || s.Target != a {
		t.Errorf("%+v", s)
	}
}
