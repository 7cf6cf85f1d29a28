package proc_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// keep runs a child until the test ends.
func keep(t *testing.T, spec proc.Spec) *proc.Child {
	t.Helper()
	c := proc.New(spec)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = proc.Keep(ctx, c) }()
	t.Cleanup(func() { stop(); <-done })
	return c
}

func TestReadyIsARealProbe(t *testing.T) {
	dir := t.TempDir()
	flag := filepath.Join(dir, "serves")
	c := keep(t, proc.Spec{Name: "slow", Path: "/bin/sh", Args: []string{"-c", "sleep 0.2; touch " + flag + "; exec sleep infinity"},
		Log: filepath.Join(dir, "log"), PollEvery: 10 * time.Millisecond,
		Ready: func(context.Context) error { _, err := os.Stat(flag); return err }})
	if err := c.WaitReady(await.Context(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(flag); err != nil {
		t.Errorf("ready before it served: %v", err)
	}
}

func TestKilledChildComesBack(t *testing.T) {
	c := keep(t, proc.Spec{Name: "sleeper", Path: "/bin/sleep", Args: []string{"infinity"}, Log: filepath.Join(t.TempDir(), "log")})
	if err := c.WaitReady(await.Context(t)); err != nil {
		t.Fatal(err)
	}
	first := c.State().PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "a second process that is ready", func() bool {
		s := c.State()
		return s.Ready && s.PID != first && s.Restarts == 1
	})
	if exit := c.State().LastExit; exit != "signal: killed" {
		t.Errorf("last exit = %q", exit)
	}
}

func TestDyingChildReportsItsLastWords(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	c := keep(t, proc.Spec{Name: "broken", Path: "/bin/sh", Args: []string{"-c", "echo no such flag: --nonsense >&2; exit 3"}, Log: log,
		PollEvery: time.Millisecond, Ready: func(context.Context) error { return errors.New("not yet") }})
	err := c.WaitReady(await.Context(t))
	for _, want := range []string{"broken is not ready", "exit status 3", "no such flag: --nonsense", log} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestWaitReadySaysWhyItGaveUp(t *testing.T) {
	c := keep(t, proc.Spec{Name: "deaf", Path: "/bin/sleep", Args: []string{"infinity"}, Log: filepath.Join(t.TempDir(), "log"),
		PollEvery: time.Millisecond, Ready: func(context.Context) error { return errors.New("not yet") }})
	reason := errors.New("time is up")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, reason)
	defer cancel()
	if err := c.WaitReady(ctx); !errors.Is(err, reason) {
		t.Errorf("error = %v, want the cause %v", err, reason)
	}
}

// TestStopEndsTheWholeGroup: a server that ignores TERM and has a child of its own leaves nothing behind.
func TestStopEndsTheWholeGroup(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "grandchild")
	c := proc.New(proc.Spec{Name: "stubborn", Path: "/bin/sh", Log: filepath.Join(dir, "log"), StopAfter: 50 * time.Millisecond,
		Args: []string{"-c", "trap '' TERM; sleep infinity & echo $! > " + file + "; wait; wait"}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = proc.Keep(ctx, c) }()
	var grandchild int
	await.Until(t, "the grandchild", func() bool {
		text, _ := os.ReadFile(file)
		grandchild, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return grandchild != 0
	})
	stop()
	<-done
	await.Until(t, "the grandchild's end", func() bool {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(grandchild) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestRun(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	var out strings.Builder
	if err := proc.Run(t.Context(), proc.Command{Path: "echo", Args: []string{"hello"}, Log: log, Output: &out}); err != nil || out.String() != "hello\n" {
		t.Errorf("output %q, error %v", out.String(), err)
	}
	err := proc.Run(t.Context(), proc.Command{Path: "/bin/sh", Args: []string{"-c", "echo disk full >&2; exit 1"}, Log: log})
	if err == nil || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("error %v lacks the program's words", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("never mind"))
	if err := proc.Run(ctx, proc.Command{Path: "sleep", Args: []string{"infinity"}, Log: log}); err == nil {
		t.Error("a cancelled command succeeded")
	}
	if err := proc.Run(t.Context(), proc.Command{Path: "no-such-program-here", Log: log}); err == nil || !strings.Contains(err.Error(), "no-such-program-here") {
		t.Errorf("error %v does not name the program", err)
	}
}
