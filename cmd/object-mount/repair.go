package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/ranges"
	"github.com/rclone/rclone/vfs/vfscache"
	"golang.org/x/sys/unix"
)

// repair makes records of files in the cache that have none that can be read. The library writes a record in place, so that a process that is
// killed at that moment leaves half of one; the next one would throw the file away, although nobody else has what is in it.
//
// A file that is whole is to be uploaded. One with holes is a change of an object whose other parts were not fetched: uploading it would
// destroy what the store has, so it is set aside, and said.
func repair(ctx context.Context, cache, root string, store rclone.Fs, l *logger) error {
	data, meta := filepath.Join(cache, "vfs", remoteName, root), filepath.Join(cache, "vfsMeta", remoteName, root)
	return filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name := strings.TrimPrefix(path, data+string(filepath.Separator))
		record := filepath.Join(meta, name)
		if text, err := os.ReadFile(record); err == nil && json.Unmarshal(text, new(vfscache.Info)) == nil {
			return nil
		}
		holes, size, err := hasHoles(path)
		if err != nil {
			return fmt.Errorf("cache: %w; look at the disk", err)
		}
		if holes {
			switch _, err := store.NewObject(ctx, filepath.ToSlash(name)); {
			case err == nil:
				return setAside(cache, path, name, l)
			case !errors.Is(err, rclone.ErrorObjectNotFound):
				return err // and nothing is touched
			}
		}
		l.printf("%s: its process was killed while it was written down; all %d bytes of it are uploaded", name, size)
		return writeRecord(record, path, size)
	})
}

// setAside keeps a file from being deleted.
func setAside(cache, path, name string, l *logger) error {
	place := filepath.Join(cache, "kept", name)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	l.printf("%s: its process was killed while it was changed, before it was closed; the store has it as it was, and what is known of the change is kept in %s", name, place)
	return os.Rename(path, place)
}

func writeRecord(record, path string, size int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	text, err := json.Marshal(vfscache.Info{ModTime: info.ModTime(), ATime: info.ModTime(), Size: size, Rs: ranges.Ranges{{Pos: 0, Size: size}}, Dirty: true})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(record), 0o700); err != nil {
		return err
	}
	temporary := record + ".repair"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, record)
}

// hasHoles tells whether parts of a file were never written.
func hasHoles(path string) (bool, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, 0, err
	}
	hole, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE)
	if err != nil {
		return false, 0, &os.PathError{Op: "seek", Path: path, Err: err}
	}
	return hole < info.Size(), info.Size(), nil
}
