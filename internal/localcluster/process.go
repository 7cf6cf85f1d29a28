package localcluster

import (
	"context"
	"encoding/json"
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

// process is a process that cannot be mistaken for a later one with its number.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // in ticks since the boot
	Boot  string `json:"boot"`  // the boot's id
}

func identify(pid int) (process, error) {
	stat, err := procStat(pid)
	if err != nil {
		return process{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return process{PID: pid, Start: stat.start, Boot: strings.TrimSpace(string(boot))}, err
}

func (p process) alive() bool {
	now, err := identify(p.PID)
	if err != nil || now != p {
		return false
	}
	stat, err := procStat(p.PID)
	return err == nil && stat.state != "Z"
}

type stat struct {
	state, start string
	session      int
}

// procStat reads /proc/PID/stat; the name in it may hold anything but ends with the last bracket.
func procStat(pid int) (stat, error) {
	text, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%d/stat is cut off", pid)
	}
	session, err := strconv.Atoi(fields[3])
	return stat{state: fields[0], session: session, start: fields[19]}, err
}

// ownsSession says whether processes with this session number can only be children of p: the kernel does
// not give a number away while a session has it.
func (p process) ownsSession() bool {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || p.PID == 0 || strings.TrimSpace(string(boot)) != p.Boot {
		return false
	}
	now, err := identify(p.PID)
	return err != nil || now == p
}

// supervisorProcess is the one that was noted at the last start.
func (c Config) supervisorProcess() (process, bool) {
	text, err := os.ReadFile(c.path("supervisor.json"))
	if err != nil {
		return process{}, false
	}
	var p process
	if err := json.Unmarshal(text, &p); err != nil {
		return process{}, false
	}
	return p, p.alive()
}

// startSupervisor starts this program's other half. The listeners go along: they belong to the machine's
// network, which the supervisor leaves behind.
func (c Config) startSupervisor(listeners []*os.File) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.path("supervisor.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	defer write.Close()

	cmd := exec.Command(exe, "supervise", "--state-dir", c.StateDir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = append([]*os.File{read}, listeners...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if c.Kubeconfig == "" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("namespaces cannot be made here (%w): in a container, run it privileged", err)
		}
		return fmt.Errorf("start supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // no zombie while this program lives on
	p, err := identify(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("the supervisor ended at once; see %s", c.path("supervisor.log"))
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(c.path("supervisor.json"), text, 0o600); err != nil {
		return err
	}
	_, err = write.Write([]byte{1})
	return err
}

// stopSupervisor ends the supervisor and all that it runs: politely first, then at once. With namespaces
// of its own the kernel ends everything in them; without, its session is swept.
func (c Config) stopSupervisor(ctx context.Context) error {
	p, alive := c.supervisorProcess()
	if alive {
		_ = syscall.Kill(p.PID, syscall.SIGTERM)
		if !waitGone(ctx, p, 20*time.Second) {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
			if !waitGone(ctx, p, 10*time.Second) {
				return fmt.Errorf("process %d does not end", p.PID)
			}
		}
	}
	if p.ownsSession() && !sweepSession(ctx, p.PID, 10*time.Second) {
		return fmt.Errorf("what process %d left behind does not end", p.PID)
	}
	for _, name := range []string{"supervisor.json", "control.sock"} {
		if err := os.Remove(c.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func waitGone(ctx context.Context, p process, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for p.alive() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// sweepSession kills what is left of a session, and returns when it is gone, with its ports: the supervisor began one, so all of it is
// ours.
func sweepSession(ctx context.Context, session int, limit time.Duration) (gone bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := 0
		for _, pid := range allPIDs() {
			if s, err := procStat(pid); err == nil && s.session == session && (s.state != "Z" || threads(pid) > 1) {
				left++
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if left == 0 {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// threads of a process: one whose first thread has ended holds its files until the others have.
func threads(pid int) int {
	all, err := os.ReadDir(procPath(pid, "task"))
	if err != nil {
		return 0
	}
	return len(all)
}

func procPath(pid int, file string) string { return fmt.Sprintf("/proc/%d/%s", pid, file) }

// allPIDs lists the processes of this machine.
func allPIDs() []int {
	found, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	pids := make([]int, 0, len(found))
	for _, dir := range found {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// innerPID is a process's number in the innermost PID namespace that it is in.
func innerPID(pid int) (int, bool) {
	text, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			inner, err := strconv.Atoi(fields[len(fields)-1])
			return inner, err == nil
		}
	}
	return 0, false
}
