// Package buildcache keeps things that take minutes to build, keyed by what they are built from.
//
// An entry is a directory <cache>/<kind>/<key>. It is built beside its place and renamed into it,
// so that a build which was killed half-way leaves nothing that could be taken for whole; a list
// of the entry's files and sizes, written last, finds the ones that a full disk or a hand spoiled.
// Two processes that want the same entry build it once.
//
// Example:
//
//	dir, err := buildcache.Ensure(ctx, buildcache.Entry{Root: root, Kind: "kubernetes", Key: key, Build: compile})
package buildcache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"
)

// Entry is something that can be built.
type Entry struct {
	Root string // the cache directory
	Kind string
	Key  string
	// Build fills the directory, which exists and is empty.
	Build func(ctx context.Context, dir string) error
	// Note tells people what is going on; may be nil.
	Note func(string)
	// Keep is how many older entries of the kind stay; the rest is deleted after a build, except those that are in use, see [Use].
	Keep int
}

// listName is the file that says which files, of which sizes, make the entry whole.
const listName = ".complete"

// Key digests what an entry is built from.
func Key(parts ...[]byte) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Root is the project's directory in the user's cache: $PAI_CACHE_DIR, or pai-storage in the
// directory that the system has for caches.
func Root() (string, error) {
	if dir := os.Getenv("PAI_CACHE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory: %w; set PAI_CACHE_DIR", err)
	}
	return filepath.Join(dir, "pai-storage"), nil
}

// Lookup returns the entry's directory if it is there and whole.
func Lookup(e Entry) (dir string, ok bool) {
	dir = filepath.Join(e.Root, e.Kind, e.Key)
	return dir, verify(dir) == nil
}

// Ensure returns the entry's directory, building it when it is absent or spoiled.
func Ensure(ctx context.Context, e Entry) (string, error) {
	if e.Note == nil {
		e.Note = func(string) {}
	}
	dir, ok := Lookup(e)
	if ok {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(e.Root, e.Kind, ".lock"), func() { e.Note("waiting for another process that builds " + e.Kind) })
	if err != nil {
		return "", err
	}
	defer unlock()
	if dir, ok = Lookup(e); ok {
		return dir, nil
	}
	return dir, e.build(ctx, dir)
}

// build runs under the lock: every directory of the kind that is not a finished entry is a leftover.
func (e Entry) build(ctx context.Context, dir string) error {
	if err := verify(dir); !errors.Is(err, fs.ErrNotExist) {
		e.Note(fmt.Sprintf("%s is not whole (%v): building it anew", dir, err))
	}
	partial := filepath.Join(e.Root, e.Kind, ".partial-"+e.Key)
	for _, old := range []string{dir, partial} {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("cache: %w", err)
		}
	}
	if err := os.Mkdir(partial, 0o755); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	err := e.Build(ctx, partial)
	if err == nil {
		err = writeList(partial)
	}
	if err == nil {
		err = os.Rename(partial, dir)
	}
	if err != nil {
		_ = os.RemoveAll(partial)
		return err
	}
	return e.prune(dir)
}

// prune deletes the kind's oldest entries beyond Keep.
func (e Entry) prune(current string) error {
	found, err := os.ReadDir(filepath.Dir(current))
	if err != nil {
		return err
	}
	type old struct {
		path string
		at   time.Time
	}
	var olds []old
	for _, f := range found {
		path := filepath.Join(filepath.Dir(current), f.Name())
		if info, err := f.Info(); err == nil && f.IsDir() && path != current {
			olds = append(olds, old{path, info.ModTime()})
		}
	}
	sort.Slice(olds, func(i, j int) bool { return olds[i].at.After(olds[j].at) })
	for i := e.Keep; i < len(olds); i++ {
		if inUse(olds[i].path) {
			continue
		}
		if err := os.RemoveAll(olds[i].path); err != nil {
			return err
		}
	}
	return nil
}

// Use keeps an entry from being deleted by the builds of newer ones, until release is called or the process ends. A directory that is no entry of
// a cache is nobody's to delete: there is nothing to do.
func Use(dir string) (release func(), err error) {
	f, err := os.Open(filepath.Join(dir, listName))
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cache entry: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
	if err == nil {
		_, err = os.Stat(f.Name()) // it may have been deleted just before
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cache entry %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// inUse reports whether somebody uses the entry.
func inUse(dir string) bool {
	f, err := os.Open(filepath.Join(dir, listName))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

type file struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// writeList lists the files of the entry's top directory: deeper trees are the builder's own.
func writeList(dir string) error {
	found, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var list []file
	for _, f := range found {
		info, err := f.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			list = append(list, file{f.Name(), info.Size()})
		}
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, listName), text, 0o644)
}

func verify(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, listName))
	if err != nil {
		if _, stat := os.Stat(dir); stat == nil {
			return fmt.Errorf("no list of its files")
		}
		return err
	}
	var list []file
	if err := json.Unmarshal(text, &list); err != nil {
		return fmt.Errorf("%s: %w", listName, err)
	}
	for _, f := range list {
		info, err := os.Stat(filepath.Join(dir, f.Name))
		switch {
		case err != nil:
			return fmt.Errorf("%s is missing", f.Name)
		case info.Size() != f.Size:
			return fmt.Errorf("%s has %d bytes, not %d", f.Name, info.Size(), f.Size)
		}
	}
	return nil
}

// lock takes the kind's lock, which the kernel releases when the process dies.
func lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cache lock: %w", err)
	}
	told := false
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("cache lock %s: %w", path, err)
		}
		if !told {
			waiting()
			told = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("cache lock %s: %w", path, ctx.Err())
		case <-time.After(300 * time.Millisecond):
		}
	}
}
