package taskinit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Folder is a user's folder in a storage.
type Folder struct {
	Storage  string
	Root     string // where the whole storage is mounted
	User     string // the name of the folder
	ReadOnly bool
	UID, GID int // whom the task will run as

	as actor // nil: processes of their own
}

// folderMode is the mode of folders that are made here: the user's alone.
const folderMode = 0o700

// Who owns what a root has made whom the server does not trust: 65534 with most servers, -2 with NFS-Ganesha.
const (
	nobody    = 65534
	nobodyToo = 1<<32 - 2
)

// Make makes the folder, unless it is there and can be used. It returns nil when the task can use it.
func (f Folder) Make() *Failure {
	if f.as == nil {
		f.as = process{}
	}
	if f.User == "" || f.User == "." || f.User == ".." || strings.ContainsAny(f.User, "/\x00") {
		return f.fails(ReasonNotDirectory, "%q cannot be the name of a folder", f.User)
	}
	info, err := os.Lstat(f.path())
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.ReadOnly:
		return f.fails(ReasonAbsent, "there is no folder %s, and the storage is read-only", f.User)
	case errors.Is(err, fs.ErrNotExist):
		return f.create()
	case err != nil:
		return f.failsWith(err, ReasonDenied, "look at folder %s", f.User)
	case info.Mode()&fs.ModeSymlink != 0:
		return f.fails(ReasonSymlink, "%s is a symbolic link", f.User)
	case !info.IsDir():
		return f.fails(ReasonNotDirectory, "%s is no directory", f.User)
	}
	if other, err := f.otherName(info); err != nil {
		return f.failsWith(err, ReasonDenied, "list the storage")
	} else if other != "" {
		return f.fails(ReasonCaseClash, "the folder is called %s: the file server does not tell upper from lower case", other)
	}
	return f.hand(info)
}

func (f Folder) path() string { return filepath.Join(f.Root, f.User) }

func (f Folder) fails(reason, format string, args ...any) *Failure {
	return &Failure{Storage: f.Storage, User: f.User, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// failsWith gives errors that have a reason of their own that reason, and others the given one.
func (f Folder) failsWith(err error, otherwise, format string, args ...any) *Failure {
	reason := otherwise
	for errno, known := range map[syscall.Errno]string{
		syscall.EROFS: ReasonReadOnly, syscall.ENOSPC: ReasonNoSpace, syscall.EDQUOT: ReasonNoSpace, syscall.ESTALE: ReasonStale,
		syscall.EIO: ReasonIO, syscall.ETIMEDOUT: ReasonIO, syscall.EREMOTEIO: ReasonIO,
	} {
		if errors.Is(err, errno) {
			reason = known
		}
	}
	return f.fails(reason, "%s: %v", fmt.Sprintf(format, args...), err)
}

// create makes the folder: as root and handed over, or where the server does not trust root, as whom the task runs as.
func (f Folder) create() *Failure {
	err := os.Mkdir(f.path(), folderMode)
	switch {
	case errors.Is(err, fs.ErrExist): // another task of the user's was first, or the server folds names
		if info, again := os.Lstat(f.path()); again == nil {
			return f.hand(info)
		}
		return f.fails(ReasonCaseClash, "the file server says that %s exists, and does not show it", f.User)
	case errors.Is(err, fs.ErrPermission):
		return f.createAsTask(err)
	case err != nil:
		return f.failsWith(err, ReasonCreate, "make folder %s", f.User)
	}
	if err := os.Lchown(f.path(), f.UID, f.GID); err == nil || f.usable() == nil {
		return f.check()
	}
	if err := os.Remove(f.path()); err != nil { // it was made a moment ago and is empty
		return f.failsWith(err, ReasonDenied, "the folder belongs to nobody whom the task could be, and cannot be removed")
	}
	return f.createAsTask(errors.New("the server does not let root give folders away"))
}

// createAsTask makes the folder as whom the task runs as. The cause is why root could not.
func (f Folder) createAsTask(cause error) *Failure {
	if err := f.as.mkdir(f); err != nil {
		root := "?"
		if info, err := os.Stat(f.Root); err == nil {
			root = ownership(info)
		}
		return f.failsWith(err, ReasonCreate, "make folder %s (as root: %v; the storage's root: %s; the task runs as %d:%d)", f.User, cause, root, f.UID, f.GID)
	}
	return f.check()
}

// hand makes sure that the task can use a folder that is there, and gives it over when it is left from a root.
func (f Folder) hand(info fs.FileInfo) *Failure {
	err := f.usable()
	if err == nil {
		return nil
	}
	if owner := ownerOf(info); errors.Is(err, fs.ErrPermission) && (owner == 0 || owner == nobody || owner == nobodyToo) && !f.ReadOnly {
		if os.Lchown(f.path(), f.UID, f.GID) == nil {
			return f.check()
		}
	}
	return f.failsWith(err, ReasonDenied, "folder %s: %s; the task runs as %d:%d", f.User, ownership(info), f.UID, f.GID)
}

func (f Folder) check() *Failure {
	if err := f.usable(); err != nil {
		return f.failsWith(err, ReasonDenied, "use folder %s as %d:%d", f.User, f.UID, f.GID)
	}
	return nil
}

// usable asks whether the task can read the folder and, unless the storage is read-only, write it.
func (f Folder) usable() error { return f.as.use(f) }

// otherName finds the name under which the folder is listed, if that differs in case: then the server folds names, and the folder is
// another user's.
func (f Folder) otherName(info fs.FileInfo) (string, error) {
	dir, err := os.Open(f.Root)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	other := ""
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			switch {
			case name == f.User:
				return "", nil
			case strings.EqualFold(name, f.User):
				if twin, err := os.Lstat(filepath.Join(f.Root, name)); err == nil && os.SameFile(twin, info) {
					other = name
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return other, nil
		case errors.Is(err, fs.ErrPermission): // the root cannot be listed, so nothing can be said
			return "", nil
		case err != nil:
			return "", err
		}
	}
}

func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

func groupOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Gid)
	}
	return -1
}

// ownership describes whose a file is.
func ownership(info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Mode().String()
	}
	return fmt.Sprintf("%s, owner %d:%d", info.Mode(), s.Uid, s.Gid)
}
