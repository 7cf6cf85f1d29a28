package flexvolume

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// concealed stands in a command line for options that come on standard input.
const concealed = "-"

// mostOptions is how long the kubelet's options may be; the kernel takes no argument that is longer.
const mostOptions = 128 << 10

// Conceal takes the Secret out of the command line, which every user of the machine can read while a mount is under way: a program that got the
// kubelet's options as an argument starts anew in the same process, with them on standard input, and Conceal does not return. In the new one it
// returns the arguments as the kubelet gave them. command are the words before them in program's command line.
func Conceal(program string, command, args []string, in io.Reader) ([]string, error) {
	if len(args) != 3 || args[0] != "mount" {
		return args, nil
	}
	if args[2] == concealed {
		text, err := io.ReadAll(io.LimitReader(in, mostOptions+1))
		if err == nil && len(text) > mostOptions {
			err = errors.New("they are too long")
		}
		if err != nil {
			return nil, fmt.Errorf("the kubelet's options: %w", err)
		}
		return []string{args[0], args[1], string(text)}, nil
	}
	fd, err := unix.MemfdCreate("options", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("take the Secret out of the command line: %w", err)
	}
	options := os.NewFile(uintptr(fd), "options")
	defer options.Close()
	if _, err := options.WriteString(args[2]); err != nil {
		return nil, fmt.Errorf("take the Secret out of the command line: %w", err)
	}
	if _, err := options.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("take the Secret out of the command line: %w", err)
	}
	if err := unix.Dup3(fd, 0, 0); err != nil {
		return nil, fmt.Errorf("take the Secret out of the command line: %w", err)
	}
	words := append(append([]string{program}, command...), args[0], args[1], concealed)
	return nil, fmt.Errorf("start %s anew: %w", program, unix.Exec(program, words, os.Environ()))
}

// Refuse answers a call that cannot even begin.
func Refuse(err error, out io.Writer) int {
	return say(status{Status: "Failure", Message: err.Error()}, out)
}
