package buildcache_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pai-storage/pai-storage/internal/buildcache"
)

// counting is an entry that counts how often it is built.
func counting(root, key string, builds *atomic.Int32) buildcache.Entry {
	return buildcache.Entry{Root: root, Kind: "thing", Key: key, Build: func(_ context.Context, dir string) error {
		builds.Add(1)
		return os.WriteFile(filepath.Join(dir, "result"), []byte("whole"), 0o644)
	}}
}

func TestBuiltOnce(t *testing.T) {
	root := t.TempDir()
	var builds atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, err := buildcache.Ensure(t.Context(), counting(root, "k", &builds))
			if err != nil {
				t.Error(err)
			}
			if text, _ := os.ReadFile(filepath.Join(dir, "result")); string(text) != "whole" {
				t.Errorf("result = %q", text)
			}
		})
	}
	all.Wait()
	if builds.Load() != 1 {
		t.Errorf("%d builds", builds.Load())
	}
}

func TestSpoiledEntryIsBuiltAnew(t *testing.T) {
	spoil := map[string]func(dir string) error{
		"file gone":       func(dir string) error { return os.Remove(filepath.Join(dir, "result")) },
		"file cut off":    func(dir string) error { return os.Truncate(filepath.Join(dir, "result"), 2) },
		"no list":         func(dir string) error { return os.Remove(filepath.Join(dir, ".complete")) },
		"list is damaged": func(dir string) error { return os.WriteFile(filepath.Join(dir, ".complete"), []byte("{"), 0o644) },
	}
	for name, damage := range spoil {
		t.Run(name, func(t *testing.T) {
			var builds atomic.Int32
			var notes []string
			entry := counting(t.TempDir(), "k", &builds)
			entry.Note = func(text string) { notes = append(notes, text) }
			dir, err := buildcache.Ensure(t.Context(), entry)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := buildcache.Ensure(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
			if text, _ := os.ReadFile(filepath.Join(dir, "result")); string(text) != "whole" || builds.Load() != 2 {
				t.Errorf("result %q after %d builds", text, builds.Load())
			}
			if said := strings.Join(notes, "\n"); !strings.Contains(said, "is not whole") {
				t.Errorf("nobody was told: %q", said)
			}
		})
	}
}

// TestFailedBuildLeavesNothing: neither an entry nor a partial directory; the leftover of a build that was
// killed is removed by the next one.
func TestFailedBuildLeavesNothing(t *testing.T) {
	root := t.TempDir()
	broken := errors.New("disk full")
	entry := buildcache.Entry{Root: root, Kind: "thing", Key: "k", Build: func(_ context.Context, dir string) error {
		_ = os.WriteFile(filepath.Join(dir, "half"), nil, 0o644)
		return broken
	}}
	if _, err := buildcache.Ensure(t.Context(), entry); !errors.Is(err, broken) {
		t.Fatalf("error = %v", err)
	}
	killed := filepath.Join(root, "thing", ".partial-k")
	if err := os.MkdirAll(killed, 0o755); err != nil {
		t.Fatal(err)
	}
	var builds atomic.Int32
	if _, err := buildcache.Ensure(t.Context(), counting(root, "k", &builds)); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(root, "thing", ".partial*"))
	if len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
}

func TestOldEntriesGo(t *testing.T) {
	root := t.TempDir()
	var builds atomic.Int32
	for _, key := range []string{"a", "b", "c"} {
		entry := counting(root, key, &builds)
		entry.Keep = 1
		if _, err := buildcache.Ensure(t.Context(), entry); err != nil {
			t.Fatal(err)
		}
	}
	found, _ := filepath.Glob(filepath.Join(root, "thing", "[a-z]*"))
	if len(found) != 2 {
		t.Errorf("kept %v, want the newest and one older", found)
	}
}

// TestUsedEntriesStay: what runs keeps what it runs from, and no longer than it runs.
func TestUsedEntriesStay(t *testing.T) {
	root := t.TempDir()
	var builds atomic.Int32
	build := func(key string) string {
		dir, err := buildcache.Ensure(t.Context(), counting(root, key, &builds))
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	used := build("a")
	var releases []func()
	for range 2 { // two clusters
		release, err := buildcache.Use(used)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	there := func() bool { _, err := os.Stat(filepath.Join(used, "result")); return err == nil }
	build("b")
	releases[0]()
	build("c")
	if !there() {
		t.Error("deleted while it was in use")
	}
	releases[1]()
	build("d")
	if there() {
		t.Error("it stays for ever")
	}
	if release, err := buildcache.Use(t.TempDir()); err != nil {
		t.Errorf("a directory of somebody's own: %v", err)
	} else {
		release()
	}
}

func TestKeyTellsPartsApart(t *testing.T) {
	if buildcache.Key([]byte("ab"), []byte("c")) == buildcache.Key([]byte("a"), []byte("bc")) {
		t.Error("the same key for different parts")
	}
}
