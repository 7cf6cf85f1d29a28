package mount

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/plural"
)

// ServeRequest is what the program that serves an object store gets on its standard input.
type ServeRequest struct {
	Target string `json:"target"`
	Cache  string `json:"cache"`
	Volume Volume `json:"volume"`
	Secret Secret `json:"secret"`
	// Below is a new directory of the volume, which alone is served, and of which nothing stays; "" for the whole volume. Whoever only tries
	// whether a volume can be written to need not wait until its topmost directory is listed.
	Below string `json:"below,omitempty"`
}

// SettledFile is what that program leaves beside the cache when it ends with everything uploaded. Without it the cache has to be looked at.
const SettledFile = "settled"

// RecordFile is the record of a mount, in its directory and in the one of what it lost.
const RecordFile = "mount.json"

// lostDir is, beside the directory of all mounts', the one of what mounts lost.
const lostDir = "lost"

// Lost is a new place for what a mount did not upload and never will, in the form that the mount's own directory has.
func Lost(dir string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(dir)), lostDir, filepath.Base(dir)+"-"+time.Now().UTC().Format("20060102T150405.000"))
}

// ServeAnswer is what it writes on file descriptor 3 when it serves, or cannot.
type ServeAnswer struct {
	Ready bool   `json:"ready,omitempty"`
	Error string `json:"error,omitempty"`
}

// Pending is what is not uploaded yet. The program tells it on its control socket, and with "pending" of a cache without a process.
type Pending struct {
	Pending int      `json:"pending"`
	Bytes   int64    `json:"bytes"`
	Fault   string   `json:"fault,omitempty"`
	Files   []string `json:"files,omitempty"`
}

// kept is the record of a mount, in its directory. It has no secret.
type kept struct {
	Target  string    `json:"target"`
	Volume  Volume    `json:"volume"`
	PID     int       `json:"pid"`
	Started string    `json:"started"` // by the kernel's clock, so that another process of the same number is not taken for it
	Since   time.Time `json:"since"`
}

const cgroupRoot = "/sys/fs/cgroup/pai-storage"

func (e *Engine) idOf(target string) string {
	sum := sha256.Sum256([]byte(filepath.Clean(target)))
	return hex.EncodeToString(sum[:])[:24]
}

func (e *Engine) place(target string) string { return filepath.Join(e.dir(), "mounts", e.idOf(target)) }

func readRecord(dir string) (kept, bool) {
	var k kept
	text, err := os.ReadFile(filepath.Join(dir, RecordFile))
	return k, err == nil && json.Unmarshal(text, &k) == nil
}

// isServed tells whether a target is, or was, a mount of an object store.
func (e *Engine) isServed(target string) bool {
	_, ok := readRecord(e.place(target))
	return ok
}

func (e *Engine) alive(target string) bool {
	k, ok := readRecord(e.place(target))
	return ok && k.alive()
}

func (k kept) alive() bool { return k.PID > 0 && startedAt(k.PID) == k.Started && k.Started != "" }

// startedAt is when a process was started, by the kernel's clock; "" when there is none that lives.
func startedAt(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[19]
}

func (e *Engine) objectMount() (string, error) {
	if e.ObjectMount != "" {
		return e.ObjectMount, nil
	}
	self, err := os.Executable()
	return filepath.Join(filepath.Dir(self), "object-mount"), err
}

// mountObject starts a process that serves the mount, and waits until it does.
func (e *Engine) mountObject(ctx context.Context, target string, v Volume, s Secret) error {
	op := "mount " + v.Source
	if err := needFilesystem(ctx, "fuse"); err != nil {
		return &Error{Op: op, Output: err.Error(), Err: err}
	}
	dir := e.place(target)
	// One that was unmounted may still be uploading, and the cache is for one process at a time.
	if err := e.awaitEnd(ctx, op, dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "cache"), 0o700); err != nil {
		return wrap(op, err)
	}
	program, err := e.objectMount()
	if err != nil {
		return wrap(op, err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return wrap(op, err)
	}
	defer log.Close()
	answer, ready, err := os.Pipe()
	if err != nil {
		return wrap(op, err)
	}
	defer answer.Close()
	defer ready.Close()
	request, err := json.Marshal(ServeRequest{Target: target, Cache: filepath.Join(dir, "cache"), Volume: v, Secret: s, Below: e.below})
	if err != nil {
		return wrap(op, err)
	}
	if err := os.Remove(filepath.Join(dir, SettledFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap(op, err)
	}
	cmd := exec.Command(program, "serve")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = strings.NewReader(string(request)+"\n"), log, log, []*os.File{ready}
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"}
	if !e.Attached {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	if err := cmd.Start(); err != nil {
		return &Error{Op: op, Output: program + " cannot be started: " + err.Error(), Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	_ = ready.Close()
	if !e.Attached {
		ownGroup(cmd.Process.Pid, filepath.Base(dir))
	}
	// Before it serves: whoever comes after us has to know of it.
	err = writeRecord(dir, kept{Target: filepath.Clean(target), Volume: v, PID: cmd.Process.Pid, Started: startedAt(cmd.Process.Pid), Since: time.Now().UTC()})
	if err == nil {
		err = awaitReady(ctx, answer)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		<-ended
		if mounted, bad := e.Mounted(ctx, target); bad == nil && mounted { // it had come that far
			_ = unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		var text string
		if failed := (*serveError)(nil); errors.As(err, &failed) {
			text = failed.text
		} else {
			text = err.Error() + tail(log.Name())
		}
		if e.pendingOf(dir).Pending == 0 { // else a process before this one was killed, and the next one uploads what it left
			clearGroup(dir)
			_ = os.RemoveAll(dir)
		}
		return &Error{Op: op, Output: text, Err: err}
	}
	return nil
}

// serveError is what the program said.
type serveError struct{ text string }

func (e *serveError) Error() string { return e.text }

// awaitReady reads the program's answer, until ctx ends.
func awaitReady(ctx context.Context, from *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = from.SetReadDeadline(time.Now()) })
	defer stop()
	line, err := bufio.NewReader(from).ReadBytes('\n')
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("the store did not answer in time: Connection timed out: %w", ctx.Err())
	case err != nil && len(line) == 0:
		return errors.New("the program that serves the mount ended before it served")
	}
	var a ServeAnswer
	if err := json.Unmarshal(line, &a); err != nil {
		return fmt.Errorf("the program that serves the mount says %q", line)
	}
	if !a.Ready {
		return &serveError{a.Error}
	}
	return nil
}

func writeRecord(dir string, k kept) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	temporary := filepath.Join(dir, "."+RecordFile)
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(dir, RecordFile))
}

// ownGroup moves a process out of the control group of whoever started it, which ends with a container. Where there is no second version of
// control groups it stays.
func ownGroup(pid int, id string) {
	if _, err := os.Stat(filepath.Join(filepath.Dir(cgroupRoot), "cgroup.controllers")); err != nil {
		return
	}
	group := filepath.Join(cgroupRoot, id)
	if os.MkdirAll(group, 0o755) == nil {
		_ = os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
	}
}

// tail is the end of a log.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\n" + strings.Join(lines[max(0, len(lines)-3):], "\n")
}

// settle waits, after the unmount, until the process has uploaded everything and ended, and clears up.
func (e *Engine) settle(ctx context.Context, target string) error {
	dir := e.place(target)
	if err := e.awaitEnd(ctx, "unmount "+target, dir); err != nil {
		return err
	}
	clearGroup(dir)
	return e.forget(dir, target)
}

// awaitEnd waits until the process of a mount, which is unmounted, has uploaded everything and ended.
func (e *Engine) awaitEnd(ctx context.Context, op, dir string) error {
	k, ok := readRecord(dir)
	if !ok {
		return nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for k.alive() {
		select {
		case <-ctx.Done():
			p := askPending(ctx, dir)
			text := fmt.Sprintf("%s (%s) still being uploaded from %s; the uploads go on, and the next try waits for them", plural.Of(p.Pending, "file"), plural.Of(p.Bytes, "byte"), k.Target)
			if p.Fault != "" {
				text += "; the last one that did not work: " + p.Fault
			}
			return &Error{Op: op, Output: text, Err: ctx.Err()}
		case <-tick.C:
		}
	}
	return nil
}

func clearGroup(dir string) { _ = os.Remove(filepath.Join(cgroupRoot, filepath.Base(dir))) }

// forget removes the directory of a mount, unless files are in it that were not uploaded: these are kept, and told once.
func (e *Engine) forget(dir, target string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p := e.pendingOf(dir)
	if p.Pending == 0 {
		return wrap("unmount "+target, os.RemoveAll(dir))
	}
	to := Lost(dir)
	err := os.MkdirAll(filepath.Dir(to), 0o700)
	if err == nil {
		err = os.Rename(dir, to)
	}
	if err != nil {
		return wrap("unmount "+target, err)
	}
	return &Error{Op: "unmount " + target, Output: fmt.Sprintf("its process ended with %s (%s) that it had not uploaded; it is unmounted, and what was not uploaded is kept in %s", plural.Of(p.Pending, "file"), plural.Of(p.Bytes, "byte"), to), Err: errLost}
}

var errLost = errors.New("files were not uploaded")

// pendingOf asks the program what a cache without a process has that was not uploaded.
func (e *Engine) pendingOf(dir string) Pending {
	if _, err := os.Stat(filepath.Join(dir, SettledFile)); err == nil {
		return Pending{}
	}
	rather := Pending{Pending: files(filepath.Join(dir, "cache", "vfs"))} // too many than none
	program, err := e.objectMount()
	if err != nil {
		return rather
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := json.Marshal(ServeRequest{Cache: filepath.Join(dir, "cache")})
	if err != nil {
		return rather
	}
	cmd := exec.CommandContext(ctx, program, "pending")
	cmd.Stdin = strings.NewReader(string(request) + "\n")
	out, err := cmd.Output()
	var p Pending
	if err != nil || json.Unmarshal(out, &p) != nil {
		return rather
	}
	return p
}

// files counts those below a directory.
func files(dir string) (n int) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

// askPending asks a process what it has not uploaded yet.
func askPending(ctx context.Context, dir string) Pending {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	var p Pending
	conn, err := d.DialContext(ctx, "unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		return p
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if err := json.NewDecoder(conn).Decode(&p); err != nil {
		return Pending{}
	}
	return p
}

// Served implements [Mounter]. Mounts that are gone and left files behind that were not uploaded are in it, too.
func (e *Engine) Served(ctx context.Context) ([]Served, error) {
	var out []Served
	for _, place := range []string{"mounts", lostDir} {
		entries, err := os.ReadDir(filepath.Join(e.dir(), place))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, &Error{Op: "list mounts", Err: err}
		}
		for _, entry := range entries {
			dir := filepath.Join(e.dir(), place, entry.Name())
			k, ok := readRecord(dir)
			if !ok {
				continue
			}
			s := Served{Target: k.Target, Volume: k.Volume, PID: k.PID, Since: k.Since, Lost: place == lostDir, Alive: place == "mounts" && k.alive()}
			p := Pending{}
			if s.Alive {
				p = askPending(ctx, dir)
			} else {
				p = e.pendingOf(dir)
			}
			s.Pending, s.Bytes, s.Fault, s.Files = p.Pending, p.Bytes, p.Fault, p.Files
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Served) int { return strings.Compare(a.Target, b.Target) })
	return out, nil
}
