package storagemanager

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestDue: a change is counted soon, and counting takes a small part of the time in any case.
func TestDue(t *testing.T) {
	for _, c := range []struct {
		took, ago time.Duration
		changed   bool
		want      bool
	}{
		{time.Second, 10 * time.Second, true, false},
		{time.Second, 20 * time.Second, true, true},
		{time.Second, 14 * time.Minute, false, false},
		{time.Second, 15 * time.Minute, false, true},
		{time.Minute, 14 * time.Minute, true, false},
		{time.Minute, 15 * time.Minute, true, true},
		{0, 10 * time.Second, true, true},
	} {
		if got := due(c.took, c.ago, c.changed); got != c.want {
			t.Errorf("%+v: got %t", c, got)
		}
	}
}

// TestFilesAreCountedAfterAChange: what the disk says tells that there is something to count, which else waits.
func TestFilesAreCountedAfterAChange(t *testing.T) {
	l := layout{root: t.TempDir()}
	for _, path := range []string{l.data(), l.users()} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(l.data(), name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var changes atomic.Uint64
		u := &usage{fill: func(layout) (m fill) {
			m[0].files = changes.Load()
			return m
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = u.follow(ctx, l) }()
		counts := func(pause time.Duration, want int64) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if got := u.list()[0]; got.Files != want || got.Counted.IsZero() {
				t.Errorf("got %+v, want %d files", got, want)
			}
		}
		counts(time.Second, 0)
		write("seen")
		changes.Add(1)
		counts(fillEvery*3/2, 1)
		write("not seen")
		counts(countEvery/2, 1)
		counts(countEvery, 2)
		cancel()
		synctest.Wait()
	})
}

// TestFillOf: a disk that is not there is no fault.
func TestFillOf(t *testing.T) {
	l := layout{root: t.TempDir()}
	if got := fillOf(l); got != (fill{}) {
		t.Errorf("without folders: %v", got)
	}
	if err := os.MkdirAll(l.data(), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := fillOf(l); got[0] == (fill{})[0] || got[1] != (fill{})[1] {
		t.Errorf("with one folder: %v", got)
	}
}
