package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// lookForPath is the argument by which the agent's own program becomes the child that looks for a path: a path may be on a mount that hangs.
const lookForPath = "look-for-path"

// pathOn makes the function that looks for a path of the machine.
func pathOn(root string) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		child := exec.CommandContext(ctx, self, lookForPath, root, name)
		said, err := child.CombinedOutput()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text := strings.TrimSpace(string(said)); err != nil && text != "" {
			return errors.New(text)
		}
		return err
	}
}

// lookFor is the child. It says what is wrong as the kubelet would.
func lookFor(root, name string, stderr io.Writer) int {
	m := machine{root: root}
	file, err := m.open(name, unix.O_PATH)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		fmt.Fprintf(stderr, "path %q does not exist\n", name)
		return 1
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer file.Close()
	if _, err := file.Stat(); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}
