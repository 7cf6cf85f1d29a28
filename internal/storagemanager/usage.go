package storagemanager

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Folder is what lies in one folder of the shares.
type Folder struct {
	Share string `json:"share"` // "data", "users"
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"` // on the disk
	// Counted is when; zero while the first count goes on.
	Counted time.Time `json:"counted"`
}

// usage counts what the shares hold, slowly.
type usage struct {
	mu      sync.Mutex
	folders map[string]Folder
	fill    func(layout) fill // nil: fillOf
}

// Walking through many files costs the disk, so a count pauses on its way, and counts are rare where nothing changes or where one takes long.
const (
	countEvery = 15 * time.Minute // when nothing is seen to change
	fillEvery  = 10 * time.Second // between two looks at how full the disks are
	restFactor = 20               // of the time that a count took there is a pause of this much
	breathe    = 1000             // files between two pauses
)

// fill is how full the disks of both folders are. They say so at once, and it differs after almost every change of files.
type fill [2]struct{ blocks, files uint64 }

// fillOf looks at the disks of both folders. One that cannot be looked at counts as always the same.
func fillOf(l layout) (f fill) {
	for i, path := range []string{l.data(), l.users()} {
		var disk syscall.Statfs_t
		if syscall.Statfs(path, &disk) == nil {
			f[i].blocks, f[i].files = disk.Bfree, disk.Ffree
		}
	}
	return f
}

// due tells whether it is time for another count: from how long the last one took and has been over, and whether something has changed since it
// began.
func due(took, ago time.Duration, changed bool) bool {
	return ago >= countEvery || changed && ago >= restFactor*took
}

func (u *usage) list() []Folder {
	u.mu.Lock()
	defer u.mu.Unlock()
	return []Folder{u.folders["data"], u.folders["users"]}
}

// follow counts until ctx ends.
func (u *usage) follow(ctx context.Context, l layout) error {
	u.mu.Lock()
	u.folders = map[string]Folder{"data": {Share: "data"}, "users": {Share: "users"}}
	u.mu.Unlock()
	look := u.fill
	if look == nil {
		look = fillOf
	}
	for {
		before, began := look(l), time.Now()
		u.count(ctx, l)
		ended := time.Now()
		for done := false; !done; done = due(ended.Sub(began), time.Since(ended), look(l) != before) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(fillEvery + rand.N(fillEvery/4)):
			}
		}
	}
}

// count counts both folders once.
func (u *usage) count(ctx context.Context, l layout) {
	for share, path := range map[string]string{"data": l.data(), "users": l.users()} {
		f, err := count(ctx, path)
		if err != nil {
			continue // on its way down, or without this folder: what was counted before stands
		}
		f.Share = share
		u.mu.Lock()
		u.folders[share] = f
		u.mu.Unlock()
	}
}

func count(ctx context.Context, root string) (Folder, error) {
	var f Folder
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return skipGone(path, root, err)
		}
		if seen++; seen%breathe == 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
		info, err := d.Info()
		if err != nil {
			return nil // gone meanwhile
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		switch {
		case !ok:
		case d.IsDir():
			f.Bytes += stat.Blocks * 512
		default: // with several names it is counted once for each
			f.Files++
			f.Bytes += stat.Blocks * 512 / max(int64(stat.Nlink), 1)
		}
		return nil
	})
	f.Counted = time.Now()
	return f, err
}

// skipGone passes over what vanishes during the walk.
func skipGone(path, root string, err error) error {
	if path == root {
		return err
	}
	return nil
}
