package proc

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Command is a program that does one thing and ends.
type Command struct {
	Path   string // looked up in PATH when it has no slash
	Args   []string
	Env    []string // added to the caller's environment
	Dir    string
	Log    string    // file for its output; the error of a failed command quotes its end
	Output io.Writer // gets the output as well, when it is set
}

// Run runs the command and waits for it. When ctx ends, the whole process group is stopped.
func Run(ctx context.Context, c Command) error {
	log, err := openLog(c.Log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	cmd.Stdout = io.Writer(log)
	if c.Output != nil {
		cmd.Stdout = io.MultiWriter(log, c.Output)
	}
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", c.Path, context.Cause(ctx))
		}
		return fmt.Errorf("%s %s: %s%s", c.Path, strings.Join(c.Args, " "), exitText(err), Tail(c.Log, 12))
	}
	return nil
}
