package storagemanager

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileOwner is the user and the group that files of both servers belong to, whoever writes them: jobs as all NFS clients, people by SMB.
const FileOwner = 1000

// layout is where things lie on the disk of the shares.
type layout struct{ root string }

func (l layout) data() string  { return filepath.Join(l.root, "data") }
func (l layout) users() string { return filepath.Join(l.root, "users") }

// state is what the servers need to know after a restart: who had files open, accounts' databases, who may come. It is on the disk of the
// shares, because it must never be newer or older than they are.
func (l layout) state(name ...string) string {
	return filepath.Join(append([]string{l.root, ".pai-storage"}, name...)...)
}

// earlierRecovery is where clusters of before this program had the NFS server's memory of its clients.
func (l layout) earlierRecovery() string { return filepath.Join(l.root, ".nfs-server") }

// stateMode lets others pass through and not list: Samba's processes look up, as the users whom they serve, whether the process that holds a
// record still lives. One that may not look takes the record away from it, and both end.
const stateMode = 0o711

// make makes what is missing, and leaves owner and mode of what is there: an administrator may have changed them on purpose.
func (l layout) make() error {
	for _, d := range []struct {
		path  string
		mode  fs.FileMode
		owner int
	}{
		{l.data(), 0o775, FileOwner},
		{l.users(), 0o771, FileOwner}, // others may pass through it, not list it
		{l.state(), stateMode, 0},
		{l.state("nfs"), 0o700, 0},
		{l.state("samba"), stateMode, 0},
	} {
		if err := makeDirectory(d.path, d.mode, d.owner); err != nil {
			return err
		}
	}
	for _, path := range []string{l.state(), l.state("samba")} { // earlier ones were closed
		if err := os.Chmod(path, stateMode); err != nil {
			return err
		}
	}
	// Accounts were on this disk once: as good as passwords.
	if err := os.Remove(l.state("samba", "private", "smbpasswd")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(l.earlierRecovery(), l.state("nfs")); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func makeDirectory(path string, mode fs.FileMode, owner int) error {
	switch err := os.Mkdir(path, mode); {
	case errors.Is(err, fs.ErrExist):
		info, err := os.Lstat(path)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is in the way: it is not a directory", path)
		}
		return err
	case err != nil:
		return err
	}
	// Not by the process's umask.
	return errors.Join(os.Chmod(path, mode), os.Lchown(path, owner, owner))
}
