package fileserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// Homes makes the folders that the share home shows. Samba knows a user by the name in lower case, and the folder has the user's own: so
// the share's path leads through a link that is named after the first and leads to the second.
type Homes struct {
	Dir      string // the folders
	Links    string // [SMB.HomeLinks]
	UID, GID int    // whom everybody acts as
}

// Owner is who signed in, and wants a folder.
type Owner struct {
	Login  string // in lower case
	Folder string // the folder's name; "" = the one that is called like Login in any case, else Login itself
	// UID owns the folder when it is not zero: a user of a domain. Else the folder is the shared user's.
	UID int
}

// Make makes the owner's folder and the link to it, unless they are there. A folder is the owner's alone; in a domain, also the shared
// group's, so that jobs reach it. A folder that belongs to somebody else is left as it is, and is an error.
func (h Homes) Make(o Owner) error {
	if !isName(o.Login) || o.Folder != "" && !isName(o.Folder) {
		return fmt.Errorf("home of %q: that is no name of a folder", o.Login)
	}
	root, err := os.OpenRoot(h.Dir)
	if err != nil {
		return fmt.Errorf("home of %s: %w", o.Login, err)
	}
	defer root.Close()
	if o.Folder == "" {
		if o.Folder, err = h.find(root, o.Login); err != nil {
			return fmt.Errorf("home of %s: %w", o.Login, err)
		}
	}
	if err := h.folder(root, o); err != nil {
		return fmt.Errorf("home of %s: %w", o.Login, err)
	}
	return h.link(o)
}

func isName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\x00\n")
}

// find looks for a folder that jobs made, whose name may have upper case.
func (h Homes) find(root *os.Root, login string) (string, error) {
	if _, err := root.Lstat(login); err == nil {
		return login, nil
	}
	dir, err := root.Open(".")
	if err != nil {
		return "", err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return "", err
	}
	found := login
	for _, name := range names {
		if !strings.EqualFold(name, login) {
			continue
		}
		if found != login {
			return "", fmt.Errorf("%s and %s are both there; rename one of them", found, name)
		}
		found = name
	}
	return found, nil
}

func (h Homes) folder(root *os.Root, o Owner) error {
	if err := root.Mkdir(o.Folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := root.Lstat(o.Folder)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no directory", filepath.Join(h.Dir, o.Folder))
	}
	const fresh = 0 // root's: made just now, or before a crash
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case o.UID == 0 && owner != fresh: // jobs made it, or a visit before this one
		return nil
	case o.UID == 0:
		return root.Lchown(o.Folder, h.UID, h.GID)
	case owner == o.UID:
		return nil
	case owner != fresh && owner != h.UID:
		return fmt.Errorf("folder %s belongs to uid %d, and the user is %d", filepath.Join(h.Dir, o.Folder), owner, o.UID)
	}
	if err := root.Chmod(o.Folder, 0o770); err != nil {
		return err
	}
	return root.Lchown(o.Folder, o.UID, h.GID)
}

func (h Homes) link(o Owner) error {
	target, link := filepath.Join(h.Dir, o.Folder), filepath.Join(h.Links, o.Login)
	if now, err := os.Readlink(link); err == nil && now == target {
		return nil
	}
	if err := renameio.Symlink(target, link); err != nil {
		return fmt.Errorf("home of %s: %w", o.Login, err)
	}
	return nil
}

// LocalOwner finds who signed in among the accounts of the server itself, in what [Accounts.Passwd] wrote.
func LocalOwner(passwd, login string) (Owner, error) {
	file, err := os.Open(passwd)
	if err != nil {
		return Owner{}, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) == 7 && strings.EqualFold(fields[0], login) {
			if uid, err := strconv.Atoi(fields[2]); err != nil || uid < firstUID || uid >= probeUID {
				break // the system's, the shared user or the probe's
			}
			return Owner{Login: login, Folder: filepath.Base(fields[5])}, nil
		}
	}
	return Owner{}, fmt.Errorf("%q has no folder of its own here", login)
}

// MakeHome is what [SMB.HomeProgram] does with the arguments that Samba adds. It runs on the file server, as root.
func MakeHome(ctx context.Context, args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("make home: give DIRECTORY LINKS UID GID DOMAIN LOGIN, not %q", args)
	}
	h := Homes{Dir: args[0], Links: args[1]}
	var err, err2 error
	h.UID, err = strconv.Atoi(args[2])
	h.GID, err2 = strconv.Atoi(args[3])
	if err = errors.Join(err, err2); err != nil {
		return fmt.Errorf("make home: %w", err)
	}
	domain, login := args[4], args[5]
	owner, err := LocalOwner("/etc/passwd", login)
	if err != nil {
		if owner, err = domainOwner(ctx, domain, login); err != nil {
			return fmt.Errorf("make home: %w", err)
		}
	}
	return h.Make(owner)
}

// domainOwner asks winbind who a user of a domain is on this machine.
func domainOwner(ctx context.Context, domain, login string) (Owner, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	name := domain + `\` + login
	out, err := exec.CommandContext(ctx, "getent", "passwd", name).Output()
	fields := strings.Split(strings.TrimSpace(string(out)), ":")
	if err != nil || len(fields) != 7 {
		return Owner{}, fmt.Errorf("%q has no folder of its own here: winbind does not know %s", login, name)
	}
	uid, err := strconv.Atoi(fields[2])
	if err != nil || uid < lowestID {
		return Owner{}, fmt.Errorf("winbind says that %s has uid %q; the range of its idmap begins at %d", name, fields[2], lowestID)
	}
	return Owner{Login: login, UID: uid}, nil
}
