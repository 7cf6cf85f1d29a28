package mount_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/kubetest"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// TestMain gives the tests a mount namespace of their own, and plays the programs that the engine starts: pai-mount and object-mount.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "run":
			if err := mount.Serve(context.Background(), engineBeside(os.Args[0]), os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "enter":
			fmt.Fprintln(os.Stderr, mount.Enter(os.Args[2], os.Args[3], os.Args[4:]))
			os.Exit(1)
		case "fake-object-mount":
			os.Exit(fakeObjectMount(os.Args[2], os.Args[3]))
		}
	}
	if os.Geteuid() != 0 || os.Getenv("PAI_MOUNT_TEST") != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "PAI_MOUNT_TEST=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

// engineBeside is the engine of a pai-mount that a test put into a directory.
func engineBeside(program string) *mount.Engine {
	dir := filepath.Dir(program)
	return &mount.Engine{Dir: filepath.Join(dir, "state"), ObjectMount: filepath.Join(dir, "object-mount"), MountNFS: []string{filepath.Join(dir, "mount.nfs")}}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		kubetest.Skip(t, "unit", "file systems are mounted here, which needs root: sudo make unit")
	}
}

// lab is a directory with the programs pai-mount, object-mount and, when a test writes it, mount.nfs. What object-mount does is said by files
// in it: see fakeObjectMount.
type lab struct {
	*testing.T
	dir    string
	engine *mount.Engine
}

func newLab(t *testing.T) *lab {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "mnt") // short, because of the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, dir: dir, engine: engineBeside(filepath.Join(dir, "pai-mount"))}
	if err := os.Link(self, filepath.Join(dir, "pai-mount")); err != nil {
		if err := os.Symlink(self, filepath.Join(dir, "pai-mount")); err != nil {
			t.Fatal(err)
		}
	}
	l.script("object-mount", "exec "+self+" fake-object-mount "+dir+` "$@"`)
	t.Cleanup(func() {
		served, _ := l.engine.Served(context.Background())
		for _, s := range served {
			if s.Alive {
				_ = unix.Kill(s.PID, unix.SIGKILL)
			}
		}
		text, _ := os.ReadFile("/proc/self/mountinfo")
		for line := range strings.Lines(string(text)) {
			if point := strings.Fields(line)[4]; strings.HasPrefix(point, dir+"/") {
				_ = unix.Unmount(point, unix.MNT_DETACH)
			}
		}
		_ = os.RemoveAll(dir)
	})
	return l
}

func (l *lab) script(name, text string) {
	l.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		l.Fatal(err)
	}
}

// say writes a file that object-mount looks at; "" takes it away.
func (l *lab) say(name, text string) {
	l.Helper()
	path := filepath.Join(l.dir, name)
	err := os.Remove(path)
	if text != "" {
		if err = os.WriteFile(path+".new", []byte(text), 0o600); err == nil {
			err = os.Rename(path+".new", path)
		}
	}
	if err != nil && !os.IsNotExist(err) {
		l.Fatal(err)
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
