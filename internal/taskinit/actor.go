package taskinit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// actor does things as whom the task will run as.
type actor interface {
	mkdir(Folder) error
	use(Folder) error
}

// process acts by processes of their own, because identities belong to processes.
type process struct{}

func (process) mkdir(f Folder) error { return act("mkdir", f) }
func (process) use(f Folder) error   { return act("use", f) }

// actCommand is the first argument of such a process.
const actCommand = "act"

// act runs this program again as the task's user. The number of the error comes back as its exit status.
func act(what string, f Folder) error {
	cmd := exec.Command("/proc/self/exe", actCommand, what, f.path(), strconv.FormatBool(f.ReadOnly))
	cmd.Env = append(os.Environ(), actVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(f.UID), Gid: uint32(f.GID), NoSetGroups: os.Geteuid() != 0}}
	said, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() < 255:
		return syscall.Errno(exit.ExitCode())
	}
	return fmt.Errorf("act as %d:%d: %w: %s", f.UID, f.GID, err, strings.TrimSpace(string(said)))
}

// actVariable marks such a process in its environment, so that a test's program can tell, too.
const actVariable = "PAI_TASK_INIT_ACT"

// Act is the program when it runs as the task's user; ok tells whether it does. The result is its exit status.
func Act(args []string) (status int, ok bool) {
	if len(args) != 4 || args[0] != actCommand || os.Getenv(actVariable) == "" {
		return 0, false
	}
	var err error
	switch path, readOnly := args[2], args[3] == "true"; args[1] {
	case "mkdir":
		err = os.Mkdir(path, folderMode)
	case "use":
		err = use(path, readOnly)
	}
	if err == nil {
		return 0, true
	}
	var number syscall.Errno
	if errors.As(err, &number) && number > 0 && number < 255 {
		return int(number), true
	}
	return 255, true
}

// use lists the folder and, unless it is read-only, makes a file in it and removes it.
func use(path string, readOnly bool) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if readOnly {
		return syscall.Access(path, 1) // to go in
	}
	probe, err := os.CreateTemp(path, ".pai-task-init-")
	if err != nil {
		return err
	}
	return errors.Join(probe.Close(), os.Remove(filepath.Join(path, filepath.Base(probe.Name()))))
}
