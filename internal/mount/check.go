package mount

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Check implements [Mounter]. It may be called only in a process whose mount namespace is its own, see [Isolate], because what it mounts is
// taken away with that.
func (e *Engine) Check(ctx context.Context, v Volume, s Secret) (Checked, error) {
	began := time.Now()
	c := Checked{Usage: Usage{-1, -1, -1, -1, -1, -1}}
	dir, err := e.checkDir()
	if err != nil {
		return c, wrap("check "+v.Source, err)
	}
	own := *e
	own.Dir, own.Attached = filepath.Join(dir, "state"), true
	if v.Object() && !v.ReadOnly {
		own.below = probeName()
	}
	target := filepath.Join(dir, "mount")
	defer clearCheck(dir)
	if err := own.Mount(ctx, target, v, s); err != nil {
		return c, err
	}
	c.Mount = time.Since(began)
	c.WriteDenied, err = probe(target, v, func() error { return own.uploaded(ctx, target, v) })
	if usage, bad := own.Usage(ctx, target); bad == nil {
		c.Usage = usage
	}
	if k, served := readRecord(own.place(target)); served && err != nil {
		_ = unix.Kill(k.PID, unix.SIGKILL) // it would try to upload for as long as it takes
	} else if bad := own.Unmount(ctx, target); err == nil {
		err = bad
	}
	c.Total = time.Since(began)
	return c, err
}

// checkDir makes a directory for a check, named after this process, and takes away those of checks that were killed.
func (e *Engine) checkDir() (string, error) {
	all := filepath.Join(e.dir(), "checks")
	if err := os.MkdirAll(all, 0o700); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(all)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		pid, _, _ := strings.Cut(entry.Name(), "-")
		if n, err := strconv.Atoi(pid); err == nil && startedAt(n) == "" {
			clearCheck(filepath.Join(all, entry.Name()))
		}
	}
	return os.MkdirTemp(all, strconv.Itoa(os.Getpid())+"-")
}

// clearCheck takes a check's directory away. What is still mounted in it is somebody's data: it is never walked into. A directory that cannot
// be emptied that way stays.
func clearCheck(dir string) {
	target := filepath.Join(dir, "mount")
	for unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
	}
	if err := unix.Rmdir(target); err != nil && !errors.Is(err, unix.ENOENT) {
		return
	}
	_ = os.RemoveAll(filepath.Join(dir, "state"))
	_ = os.Remove(dir)
}

// uploaded waits until an object store has what was written; file systems have it when it was synced.
func (e *Engine) uploaded(ctx context.Context, target string, v Volume) error {
	if !v.Object() {
		return nil
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p := askPending(ctx, e.place(target))
		switch {
		case p.Pending == 0:
			return nil
		case p.Fault != "":
			return &Error{Op: "write " + v.Source, Output: p.Fault, Err: errors.New("the store does not take the file")}
		}
		select {
		case <-ctx.Done():
			return &Error{Op: "write " + v.Source, Output: "Connection timed out: the store did not take a small file in time", Err: ctx.Err()}
		case <-tick.C:
		}
	}
}

// probe uses what is mounted as a task would. denied: reading works, and this machine's root may not write.
func probe(target string, v Volume, written func() error) (denied bool, err error) {
	say := func(what string, err error) error {
		return &Error{Op: what + " " + v.Source, Output: describe(err), Err: err}
	}
	if err := look(target, v); err != nil {
		return false, say("list", err)
	}
	if v.ReadOnly {
		return false, nil
	}
	host, _ := os.Hostname()
	name := filepath.Join(target, probeName())
	text := []byte("written by the node agent of " + host + " to see whether it can; it deletes this file at once\n")
	switch err := write(name, text); {
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return true, nil
	case err != nil:
		_ = os.Remove(name)
		return false, say("write", err)
	}
	if err := written(); err != nil {
		_ = os.Remove(name)
		return false, err
	}
	read, err := os.ReadFile(name)
	if bad := os.Remove(name); err == nil {
		err = bad
	}
	switch {
	case err != nil:
		return false, say("read back", err)
	case !bytes.Equal(read, text):
		return false, say("read back", errors.New("it is not what was written: Input/output error"))
	}
	return false, nil
}

// look reads what the topmost directory begins with. Of an object store that was done when it was mounted; here it would be read to its end.
func look(target string, v Volume) error {
	if v.Object() {
		_, err := os.Stat(target)
		return err
	}
	d, err := os.Open(target)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := d.Readdirnames(1); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// probeName is the name of what a check makes and takes away.
func probeName() string {
	host, _ := os.Hostname()
	return ".pai-storage-check-" + host + "-" + rand.Text()[:8]
}

func write(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if bad := f.Close(); err == nil {
		err = bad
	}
	return err
}

// Isolate gives this thread, to which the caller is locked, a mount namespace of its own: what it mounts is seen by nobody else, and is gone
// with it. What others mount meanwhile is not seen here.
func Isolate() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("a private mount namespace: %w", err)
	}
	// The copies of others' mounts would keep these alive: an object store's process waits until the last copy is gone, and a check that
	// hangs would make it wait for ever.
	mounts, err := mountTable()
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if m.remote() && m.point != "/" {
			_ = unix.Unmount(m.point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
	}
	return nil
}
