package storagemanager

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// A directory that is served has an id on its disk, and this machine remembers, beside the disk, which id it served at which path. A disk that is not
// mounted after a reboot leaves the empty directory beneath it: to serve that would look as if everybody's files were gone, and what is written there
// is gone from sight as soon as the disk is back.

const (
	diskFile   = "disk"        // in the state: the id
	acceptFile = "serve-this-" // in the directory of the shares, with [mark] behind: an administrator wants just it served, whatever was before
	servedFile = "served.json" // in the machine's memory: ids by path
)

// strangerError is that the directory of the shares is not the one that was served.
type strangerError struct{ path, accept, what string }

func (e strangerError) Error() string {
	return fmt.Sprintf("localpath %s is not the directory that was served here before (%s). If a disk is to be mounted there, mount it: the server tries again "+
		"within 5 minutes, and at once after \"paictl service start -n storage-manager\". If this one is to be served from now on: touch %s",
		e.path, e.what, e.accept)
}

// noRoomError is that the directory of the shares may be served, and that the disk is too full to remember it. Nothing was remembered before.
type noRoomError struct{ err error }

func (e noRoomError) Error() string { return "what is served is not remembered: " + e.err.Error() }
func (e noRoomError) Unwrap() error { return e.err }

// recognise compares the directory of the shares with what this machine remembers in the directory memory. The first time it gives the directory an id,
// or learns the one that it has; when there is no room for that, the error is a [noRoomError]. It changes nothing in a directory that it does not recognise.
func (l layout) recognise(memory string) error {
	info, err := os.Stat(l.root)
	if err != nil {
		return fmt.Errorf("localpath: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("localpath %s is not a directory", l.root)
	}
	file := filepath.Join(memory, servedFile)
	served, err := remembered(file)
	if err != nil {
		return err
	}
	id, err := l.disk()
	if err != nil {
		return err
	}
	accept := filepath.Join(l.root, acceptFile+mark(info))
	_, missing := os.Lstat(accept)
	switch before := served[l.root]; {
	case before == "" || before == id || missing == nil:
	case id == "":
		return strangerError{l.root, accept, "it has no file " + l.state(diskFile)}
	default:
		return strangerError{l.root, accept, "it is another disk, which was served elsewhere"}
	}
	err = l.remember(file, id, served)
	if served[l.root] == "" && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return noRoomError{err}
	}
	if err != nil {
		return err
	}
	if err := os.Remove(accept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// remember gives the directory of the shares an id when it has none, and keeps it in the file of those that this machine has served.
func (l layout) remember(file, id string, served map[string]string) error {
	if id == "" {
		id = strings.ToLower(rand.Text())
		if err := makeDirectory(l.state(), stateMode, 0); err != nil {
			return err
		}
		if err := renameio.WriteFile(l.state(diskFile), []byte(id+"\n"), 0o600); err != nil {
			return err
		}
	}
	if served[l.root] == id {
		return nil
	}
	now := maps.Clone(served)
	now[l.root] = id
	text, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("remember what is served: %w", err)
	}
	return nil
}

// recogniseLater tries at each tick to remember the directory that is served, until there is room for it.
func (l layout) recogniseLater(ctx context.Context, memory string, log *slog.Logger, tick <-chan time.Time) error {
	before, err := os.Stat(l.root)
	if err != nil {
		return err
	}
	said := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick:
		}
		now, err := os.Stat(l.root)
		if err == nil && !os.SameFile(before, now) {
			err = errors.New("another directory is in its place")
		}
		if err == nil {
			err = l.recognise(memory)
		}
		if err == nil {
			log.Info("what is served is remembered now", "localpath", l.root)
			return nil
		}
		if err.Error() != said {
			said = err.Error()
			log.Warn("what is served cannot be remembered", "error", said)
		}
	}
}

// mark tells a directory from the one that a disk brings to the same path: by its device and its number there.
func mark(info fs.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "here"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%d", stat.Dev, stat.Ino))
	return hex.EncodeToString(sum[:4])
}

// disk is the id of the directory of the shares; "" when it has none.
func (l layout) disk() (string, error) {
	text, err := os.ReadFile(l.state(diskFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// remembered are the ids that this machine has served, by path.
func remembered(file string) (map[string]string, error) {
	served := map[string]string{}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return served, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &served)
	}
	if err != nil {
		return nil, fmt.Errorf("which disk was served is not to be read; if the right one is mounted, remove the file: %s: %w", file, err)
	}
	return served, nil
}
