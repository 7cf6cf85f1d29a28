package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// remoteName is the name under which the library knows the store, and has its files in the cache.
const remoteName = "store"

// faultFile is, in a mount's directory, what the store said of files that are lost.
const faultFile = "fault"

// leftIn finds what in a cache was not uploaded yet, from the records that the library keeps of each file: they are right without a process,
// too. root is CONTAINER[/PREFIX], to leave out what an earlier volume had there; "" for all. Files are named as in their container.
func leftIn(cache, root string) (mount.Pending, error) {
	var p mount.Pending
	meta, data := filepath.Join(cache, "vfsMeta", remoteName), filepath.Join(cache, "vfs", remoteName)
	err := filepath.WalkDir(filepath.Join(data, root), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // uploaded and gone, meanwhile
		case err != nil:
			return err
		case !d.Type().IsRegular():
			return nil
		}
		name := strings.TrimPrefix(path, data+string(filepath.Separator))
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(meta, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		var record struct{ Dirty bool }
		// A file without a record that can be read counts: its process was killed while it wrote it, and rather one too many than one that
		// is thrown away.
		if json.Unmarshal(text, &record) == nil && !record.Dirty || len(text) == 0 && info.Size() == 0 {
			return nil
		}
		p.Pending++
		p.Bytes += info.Size()
		if len(p.Files) < 20 {
			_, inContainer, _ := strings.Cut(name, string(filepath.Separator))
			p.Files = append(p.Files, inContainer)
		}
		return nil
	})
	slices.Sort(p.Files)
	if err != nil {
		return p, fmt.Errorf("cache %s: %w; look at the directory", cache, err)
	}
	return p, nil
}
