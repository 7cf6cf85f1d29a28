// Package proc runs one child process for its whole life: start, ready, logs, restart, stop.
//
// Use it for a server that must be there as long as the caller is: etcd, an API server, a virtual
// machine. A [Child] is a service in the sense of suture: Serve starts the process and returns when
// it has ended, and a supervisor calls Serve again. The rules:
//
//   - Ready is a real probe. WaitReady races it against the process's death, and what a dead process
//     said last is the error.
//   - A process is stopped as a group, first with TERM, after the time limit with KILL, because
//     servers fork.
//   - Standard output and error go to one log file, which is rotated at the start of a process.
//
// Example:
//
//	etcd := proc.New(proc.Spec{Name: "etcd", Path: "/usr/bin/etcd", Log: "etcd.log", Ready: probe})
//	go proc.Keep(ctx, etcd)
//	if err := etcd.WaitReady(ctx); err != nil { ... }
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/thejerf/suture/v4"
)

// Spec says what to run and how to know that it works.
type Spec struct {
	Name string   // shown to people: "etcd", "worker1"
	Path string   // the program's file
	Args []string // without the program's name
	Env  []string // added to the caller's environment
	Log  string   // file for standard output and error; appended to. "" is the caller's own standard error

	// Ready answers nil when the process serves. It is called every PollEvery until then. Nil means
	// that a started process is a ready one.
	Ready func(context.Context) error
	// PollEvery is the pause between two calls of Ready; zero means 100 ms.
	PollEvery time.Duration
	// Backoff is the pause before the next start of a process that keeps dying; zero means 2 s.
	Backoff time.Duration
	// StopAfter is the time between TERM and KILL; zero means 5 s.
	StopAfter time.Duration
	// Started, if set, is called with the number of each new process before Ready is.
	Started func(pid int)
}

// State is a snapshot of a child.
type State struct {
	Name     string    `json:"name"`
	PID      int       `json:"pid"` // 0 while it does not run
	Ready    bool      `json:"ready"`
	Since    time.Time `json:"since"`    // start of the running process, or end of the last one
	Restarts int       `json:"restarts"` // starts after the first one
	LastExit string    `json:"lastExit,omitempty"`
}

// Child is one supervised process.
type Child struct {
	spec Spec

	mu      sync.Mutex
	state   State
	starts  int
	early   int           // ends before the first readiness
	changed chan struct{} // closed and replaced at every change of state
}

// New makes a child that is not yet started.
func New(spec Spec) *Child {
	if spec.PollEvery == 0 {
		spec.PollEvery = 100 * time.Millisecond
	}
	if spec.Backoff == 0 {
		spec.Backoff = 2 * time.Second
	}
	if spec.StopAfter == 0 {
		spec.StopAfter = 5 * time.Second
	}
	return &Child{spec: spec, state: State{Name: spec.Name}, changed: make(chan struct{})}
}

// Keep runs the child until the context ends, restarting it with backoff whenever it dies.
func Keep(ctx context.Context, c *Child) error {
	s := suture.New(c.spec.Name, suture.Spec{
		FailureThreshold: 3, FailureDecay: 30, FailureBackoff: c.spec.Backoff,
		Timeout: c.spec.StopAfter + 5*time.Second,
	})
	s.Add(c)
	return s.Serve(ctx)
}

// String is the child's name, for the supervisor.
func (c *Child) String() string { return c.spec.Name }

// LogFile is where the child's output goes.
func (c *Child) LogFile() string { return c.spec.Log }

// State is the child's state now.
func (c *Child) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Signal sends a signal to the process, if it runs: HUP to have it read its configuration again, TERM to have a new one started.
func (c *Child) Signal(signal syscall.Signal) error {
	pid := c.State().PID
	if pid == 0 {
		return nil
	}
	return syscall.Kill(pid, signal)
}

// Serve starts the process and returns when it has ended or, after stopping it, when ctx has.
func (c *Child) Serve(ctx context.Context) error {
	cmd, log, err := c.start()
	if err != nil {
		c.ended(err)
		return err
	}
	defer log.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	go c.probe(probing)

	select {
	case err = <-done:
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // children that outlived it hold its ports
	case <-ctx.Done():
		err = c.stop(cmd.Process.Pid, done)
	}
	c.ended(err)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s ended: %s", c.spec.Name, exitText(err))
}

func (c *Child) start() (*exec.Cmd, io.Closer, error) {
	log, err := openLog(c.spec.Log)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(c.spec.Path, c.spec.Args...)
	cmd.Stdout, cmd.Stderr = log, log // one file for both
	cmd.Env = append(os.Environ(), c.spec.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, nil, fmt.Errorf("start %s: %w", c.spec.Name, err)
	}
	c.update(func() {
		c.state.PID, c.state.Ready, c.state.Since = cmd.Process.Pid, false, time.Now()
		c.state.Restarts = c.starts
		c.starts++
	})
	if c.spec.Started != nil {
		c.spec.Started(cmd.Process.Pid)
	}
	return cmd, log, nil
}

// probe asks until the process is ready; the supervisor's context ends it.
func (c *Child) probe(ctx context.Context) {
	tick := time.NewTicker(c.spec.PollEvery)
	defer tick.Stop()
	for {
		if c.spec.Ready == nil || c.spec.Ready(ctx) == nil {
			c.update(func() { c.state.Ready = ctx.Err() == nil && c.state.PID != 0 })
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stop ends the process group and says how the process ended.
func (c *Child) stop(pid int, done <-chan error) error {
	_ = syscall.Kill(-pid, syscall.SIGTERM)
	select {
	case err := <-done:
		_ = syscall.Kill(-pid, syscall.SIGKILL) // children that outlived it
		return err
	case <-time.After(c.spec.StopAfter):
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		return <-done
	}
}

func (c *Child) ended(err error) {
	c.update(func() {
		if !c.state.Ready {
			c.early++
		}
		c.state.PID, c.state.Ready, c.state.Since = 0, false, time.Now()
		c.state.LastExit = exitText(err)
	})
}

func (c *Child) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// earlyEnds is how often a process may die before its first readiness until WaitReady gives up:
// once can be an accident, three times is a fault in its flags or its data.
const earlyEnds = 3

// WaitReady returns nil as soon as the child serves. It gives up when ctx ends or when the process
// keeps dying; the error then carries how it ended and the end of its log.
func (c *Child) WaitReady(ctx context.Context) error {
	for {
		c.mu.Lock()
		ready, early, exit, changed := c.state.Ready, c.early, c.state.LastExit, c.changed
		c.mu.Unlock()
		switch {
		case ready:
			return nil
		case early >= earlyEnds:
			return c.notReady(fmt.Errorf("it ended %d times before it was ready (%s)", early, exit))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return c.notReady(context.Cause(ctx))
		}
	}
}

func (c *Child) notReady(cause error) error {
	return fmt.Errorf("%s is not ready: %w%s", c.spec.Name, cause, Tail(c.spec.Log, 8))
}

// Tail is the end of a log file, indented for an error message: "" where there is none.
func Tail(file string, lines int) string {
	if file == "" {
		return ""
	}
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	const window = 16 << 10
	if info, err := f.Stat(); err == nil && info.Size() > window {
		_, _ = f.Seek(-window, io.SeekEnd)
	}
	text, _ := io.ReadAll(f)
	all := strings.Split(string(bytes.TrimSpace(text)), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	if len(all) == 1 && all[0] == "" {
		return ""
	}
	return "\n  from " + file + ":\n    " + strings.Join(all, "\n    ")
}

// maxLog is the size at which a log is put aside at the next start.
const maxLog = 16 << 20

func openLog(file string) (*os.File, error) {
	if file == "" {
		fd, err := syscall.Dup(syscall.Stderr)
		if err != nil {
			return nil, err
		}
		syscall.CloseOnExec(fd)
		return os.NewFile(uintptr(fd), "stderr"), nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Stat(file); err == nil && info.Size() > maxLog {
		_ = os.Rename(file, file+".1")
	}
	return os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func exitText(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "exit status 0"
	case errors.As(err, &exit):
		return exit.String()
	default:
		return err.Error()
	}
}
