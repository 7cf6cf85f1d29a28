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
}

// countEvery is the pause between two counts. Walking through many files costs the disk, so a count pauses on its way, too.
const (
	countEvery = 15 * time.Minute
	breathe    = 1000 // files between two pauses
)

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
	for {
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
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(countEvery + rand.N(countEvery/4)):
		}
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
