package taskinit

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// Main is the program task-init: it makes the personal folders of one task. Its status is 0 when the task can use all of them.
func Main(args []string, stdout, stderr io.Writer) int {
	if status, ok := Act(args); ok {
		return status
	}
	var user, identity, message string
	var folders []Folder
	f := flag.NewFlagSet("task-init", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&user, "user", "", "`name` of the user, and of the folder in each storage")
	f.StringVar(&identity, "identity", "", "`file` that belongs to whom the task will run as")
	f.StringVar(&message, "termination-log", "/dev/termination-log", "`file` for the first failure")
	f.Func("storage", "`NAME=DIRECTORY`, or NAME=DIRECTORY:ro: where a storage is mounted as a whole; several times", func(text string) error {
		folder, err := parseStorage(text)
		folders = append(folders, folder)
		return err
	})
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if user == "" || identity == "" || len(folders) == 0 || f.NArg() > 0 {
		fmt.Fprintln(stderr, "task-init: --user, --identity and at least one --storage are needed, and nothing else")
		return 2
	}
	info, err := os.Stat(identity)
	if err != nil {
		fmt.Fprintf(stderr, "task-init: nobody said whom the task will run as: %v\n", err)
		return 1
	}
	var first *Failure
	for _, folder := range folders {
		folder.User = user
		folder.UID, folder.GID = ownerOf(info), groupOf(info)
		failure := folder.Make()
		if failure == nil {
			fmt.Fprintf(stdout, "storage %s: folder %s can be used by %d:%d\n", folder.Storage, user, folder.UID, folder.GID)
			continue
		}
		fmt.Fprintf(stderr, "task-init: storage %s: %s: %s\n", folder.Storage, failure.Reason, failure.Detail)
		if first == nil {
			first = failure
		}
	}
	if first == nil {
		return 0
	}
	if err := os.WriteFile(message, []byte(first.Message()), 0o644); err != nil {
		fmt.Fprintf(stderr, "task-init: %v\n", err)
	}
	return 1
}

func parseStorage(text string) (Folder, error) {
	name, dir, ok := strings.Cut(text, "=")
	dir, readOnly := strings.CutSuffix(dir, ":ro")
	if !ok || name == "" || !strings.HasPrefix(dir, "/") {
		return Folder{}, fmt.Errorf("%q: expected NAME=DIRECTORY or NAME=DIRECTORY:ro", text)
	}
	return Folder{Storage: name, Root: dir, ReadOnly: readOnly}, nil
}
