package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/vfs/vfscommon"
)

// How long what is known of the store counts. Several workers write to one container: each sees the others' files within the sum of these.
const (
	directoryTime = 4 * time.Second
	attributeTime = time.Second
)

// defaults are the options of a file system when the volume says nothing. Pods run as any user, so everybody may do everything, as with
// allow_other of blobfuse; what may be run must be executable for somebody.
func defaults() vfscommon.Options {
	o := vfscommon.Opt
	o.CacheMode = vfscommon.CacheModeWrites
	o.WriteBack = fs.Duration(time.Second) // a program that closes and opens again, to append, gets one upload and not many
	o.DirCacheTime = fs.Duration(directoryTime)
	o.PollInterval = 0
	o.CachePollInterval = fs.Duration(5 * time.Second) // a disk fills in less than the library's minute
	o.ChunkSize = 16 * fs.Mebi
	o.ChunkSizeLimit = 256 * fs.Mebi
	o.CaseInsensitive = false
	o.FilePerms, o.DirPerms, o.Umask = 0o777, 0o777, 0
	o.UID, o.GID = 0, 0
	return o
}

// fileSystem says how a volume is presented.
func fileSystem(v mount.Volume) (vfscommon.Options, error) {
	o := defaults()
	o.ReadOnly = v.ReadOnly
	for _, option := range v.Options {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "allow_other", "rw", "default_permissions":
		case "ro":
			o.ReadOnly = true
		case "umask":
			o.Umask, err = mode(option, value)
		case "file_mode":
			o.FilePerms, err = mode(option, value)
		case "dir_mode":
			o.DirPerms, err = mode(option, value)
		case "uid":
			o.UID, err = id(option, value)
		case "gid":
			o.GID, err = id(option, value)
		default:
			err = fmt.Errorf("bad option %s: object stores know uid, gid, umask, file_mode, dir_mode, ro, allow_other and default_permissions", option)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

// checksModes tells whether the kernel has to look at modes before it lets somebody do something: when that is asked for, or modes say that
// others may not do everything. With neither, whoever reaches the mount may do everything, as pods that run as any user need it.
func checksModes(v mount.Volume, o vfscommon.Options) bool {
	least := o.FilePerms & o.DirPerms &^ o.Umask
	return slices.Contains(v.Options, "default_permissions") || least&0o007 != 0o007
}

func mode(option, value string) (vfscommon.FileMode, error) {
	n, err := strconv.ParseUint(value, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("bad option %s: expected an octal number up to 0777", option)
	}
	return vfscommon.FileMode(n), nil
}

func id(option, value string) (uint32, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("bad option %s: expected a number", option)
	}
	return uint32(n), nil
}

// keepFree is how much of the cache's disk stays free: a tenth of it, so that what users write never fills a worker's disk. Files that are
// uploaded go a little before that, others never: when nothing more can go, writes are refused.
func keepFree(cache string) (fs.SizeSuffix, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(cache, &st); err != nil {
		return 0, fmt.Errorf("cache %s: %w", cache, err)
	}
	return fs.SizeSuffix(st.Blocks / 10 * uint64(st.Bsize)), nil
}
