package mount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host is the [Mounter] of a machine: each call is a process of its own that runs the engine, in the machine's namespaces where Root says so,
// and that is given up when it does not end in time.
type Host struct {
	// Program has "run", which is [Serve], and "enter", which is [Enter]: pai-mount.
	Program string
	// Root is the process whose namespaces are the machine's, such as "/proc/1"; "" for those of this process.
	Root string
	// There is the program's path on the machine; it is used when Root is given.
	There string
	// Limit is for calls whose context has no deadline; 0 for two minutes.
	Limit time.Duration
}

const defaultLimit = 2 * time.Minute

// patience is how long a process may take to end after it was killed, before the caller goes on without it.
const patience = time.Second

// Mount implements [Mounter].
func (h *Host) Mount(ctx context.Context, target string, v Volume, s Secret) error {
	return h.call(ctx, request{Op: "mount", Target: target, Volume: v, Secret: s}, &answer{}, false)
}

// Unmount implements [Mounter].
func (h *Host) Unmount(ctx context.Context, target string) error {
	return h.call(ctx, request{Op: "unmount", Target: target}, &answer{}, false)
}

// Bind implements [Mounter].
func (h *Host) Bind(ctx context.Context, source, target string, readOnly bool) error {
	return h.call(ctx, request{Op: "bind", Source: source, Target: target, ReadOnly: readOnly}, &answer{}, false)
}

// Usage implements [Mounter].
func (h *Host) Usage(ctx context.Context, path string) (Usage, error) {
	var a answer
	err := h.call(ctx, request{Op: "usage", Target: path}, &a, false)
	if err != nil || a.Usage == nil {
		return Usage{}, err
	}
	return *a.Usage, nil
}

// Mounted implements [Mounter].
func (h *Host) Mounted(ctx context.Context, target string) (bool, error) {
	var a answer
	err := h.call(ctx, request{Op: "mounted", Target: target}, &a, false)
	return a.Mounted, err
}

// Served implements [Mounter].
func (h *Host) Served(ctx context.Context) ([]Served, error) {
	var a answer
	err := h.call(ctx, request{Op: "served"}, &a, false)
	return a.Served, err
}

// Check implements [Mounter]. Unlike the other calls it returns only when its process is gone, so that no second one of the same storage is begun
// while the kernel holds on to the first.
func (h *Host) Check(ctx context.Context, v Volume, s Secret) (Checked, error) {
	var a answer
	err := h.call(ctx, request{Op: "check", Volume: v, Secret: s}, &a, true)
	if err != nil || a.Checked == nil {
		return Checked{}, err
	}
	return *a.Checked, nil
}

func (h *Host) command() *exec.Cmd {
	if h.Root == "" {
		return exec.Command(h.Program, "run")
	}
	return exec.Command(h.Program, "enter", h.Root, h.There, "run")
}

// call runs a process, and gives it up when ctx ends. stay: the caller waits until it is really gone.
func (h *Host) call(ctx context.Context, r request, a *answer, stay bool) error {
	if _, bounded := ctx.Deadline(); !bounded {
		limit := h.Limit
		if limit == 0 {
			limit = defaultLimit
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	r.Deadline, _ = ctx.Deadline()
	// The process itself is to say that the time is over: it knows more than we do.
	r.Deadline = r.Deadline.Add(-min(time.Until(r.Deadline)/10, patience))
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	op := strings.TrimSpace(r.Op + " " + r.Volume.Source + " " + r.Target)
	cmd := h.command()
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &said
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		return &Error{Op: op, Err: err}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
		late := &Error{Op: op, Output: "Connection timed out: it did not end in time, and was given up", Err: context.Cause(ctx)}
		if stay {
			<-ended
			return late
		}
		select {
		case <-ended:
		case <-time.After(patience):
		}
		return late
	}
	// A check may leave a process of an object store behind.
	if stay {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	if bad := json.Unmarshal(out.Bytes(), a); bad != nil {
		return &Error{Op: op, Output: strings.TrimSpace(said.String()), Err: errors.Join(err, fmt.Errorf("%s ended without an answer", h.Program))}
	}
	return a.Error.error()
}

// Enter goes over to the namespaces of a process (its mounts and control groups), and becomes a program of that machine. It returns only when
// it cannot. It must be called before anything else starts threads that matter.
func Enter(root, program string, args []string) error {
	runtime.LockOSThread()
	var fds []int
	for _, name := range []string{"mnt", "cgroup"} {
		fd, err := unix.Open(root+"/ns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s namespace of the machine: %w", name, err)
		}
		fds = append(fds, fd)
	}
	// Threads share their directory, and only one that does not can change its mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("a directory of its own: %w", err)
	}
	if err := unix.Setns(fds[1], unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("control groups of the machine: %w", err)
	}
	if err := unix.Setns(fds[0], unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mounts of the machine: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return fmt.Errorf("%s on the machine: %w", program, unix.Exec(program, append([]string{program}, args...), []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}))
}
