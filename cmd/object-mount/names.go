package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unicode/utf16"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/pai-storage/pai-storage/internal/mount"
	rclone "github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/lib/encoder"
)

const nameTooLong = fuse.Status(syscall.ENAMETOOLONG)

// mostKey is how long a key may be: in bytes with S3, in characters with Azure Blob.
const mostKey = 1024

// keys knows how long the key of a file is.
type keys struct {
	prefix string // of every key
	encode encoder.MultiEncoder
	bytes  bool
}

func keysOf(v mount.Volume, backend string) keys {
	_, prefix, _ := strings.Cut(strings.Trim(v.Source, "/"), "/")
	k := keys{prefix: prefix, bytes: v.Kind == mount.S3}
	if info, err := rclone.Find(backend); err == nil {
		if o := info.Options.Get("encoding"); o != nil {
			k.encode, _ = o.Default.(encoder.MultiEncoder)
		}
	}
	return k
}

// tooLong tells whether the store does not take a file because of its name, which is below the volume; that of a directory ends in a slash.
func (k keys) tooLong(name string) bool {
	key := k.encode.FromStandardPath(name)
	if k.prefix != "" {
		key = k.prefix + "/" + key
	}
	if k.bytes {
		return len(key) > mostKey
	}
	return len(utf16.Encode([]rune(key))) > mostKey
}

// tooLong tells whether the key of a name in a directory would be too long for the store.
func (h *handles) tooLong(directory uint64, name string) bool {
	path, known := h.tree.path(directory)
	return known && h.keys.tooLong(path+name)
}

// tree is the directories that the kernel knows.
type tree struct {
	mu   sync.Mutex
	dirs map[uint64]*directory // by node
}

type directory struct {
	parent  uint64
	name    string
	lookups uint64
}

// add notes what the kernel is given.
func (t *tree) add(parent uint64, name string, out *fuse.EntryOut) {
	if !out.IsDir() || out.NodeId == fuse.FUSE_ROOT_ID || name == "." || name == ".." {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.dirs[out.NodeId]
	if d == nil {
		d = &directory{}
		t.dirs[out.NodeId] = d
	}
	d.parent, d.name = parent, name
	d.lookups++
}

func (t *tree) forget(node, lookups uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.dirs[node]
	switch {
	case d == nil:
	case d.lookups <= lookups:
		delete(t.dirs, node)
	default:
		d.lookups -= lookups
	}
}

// path is where a directory is in the volume, with a slash at its end; "" for the root.
func (t *tree) path(node uint64) (path string, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const deepest = 2 * mostKey
	for range deepest {
		if node == fuse.FUSE_ROOT_ID {
			return path, true
		}
		d := t.dirs[node]
		if d == nil {
			return "", false
		}
		node, path = d.parent, d.name+"/"+path
	}
	return "", false
}

// find is the directory of a name; nil when it is none.
func (t *tree) find(parent uint64, name string) *directory {
	for _, d := range t.dirs {
		if d.parent == parent && d.name == name {
			return d
		}
	}
	return nil
}

func (t *tree) isDirectory(parent uint64, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(parent, name) != nil
}

func (t *tree) rename(parent uint64, name string, newParent uint64, newName string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.find(parent, name); d != nil {
		d.parent, d.name = newParent, newName
	}
}

// renameTooLong tells whether a name, or the name of a file that waits below it to be uploaded, would be too long. What the store has is copied
// before it is taken away, so that it refuses without losing anything.
func (h *handles) renameTooLong(in *fuse.RenameIn, oldName, newName string) bool {
	if !h.tree.isDirectory(in.NodeId, oldName) {
		return h.tooLong(in.Newdir, newName)
	}
	from, known := h.tree.path(in.NodeId)
	if !known || h.tooLong(in.Newdir, newName+"/") {
		return known
	}
	top, long := filepath.Join(h.data, encoder.OS.FromStandardPath(from+oldName)), false
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		if d.Type().IsRegular() && h.tooLong(in.Newdir, newName+encoder.OS.ToStandardPath(strings.TrimPrefix(path, top))) {
			long = true
			return filepath.SkipAll
		}
		return nil
	})
	return long
}
