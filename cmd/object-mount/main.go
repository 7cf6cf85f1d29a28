// Command object-mount serves a container of Azure Blob or a bucket of S3 as a file system: one process for each mount. The engine of
// package mount starts it; nobody types it.
//
//	object-mount serve     what to mount, secrets included, is one line of JSON on standard input ([mount.ServeRequest]); the answer is one
//	                       on file descriptor 3 ([mount.ServeAnswer]). It ends when the file system is unmounted and everything that was
//	                       written is uploaded, however long the store is away; SIGTERM unmounts, a second one gives up what is left.
//	object-mount pending   what a cache without a process has that was not uploaded ([mount.Pending])
//
// Whoever connects to the socket control.sock beside the cache gets a [mount.Pending] and is hung up on.
//
// Exit status: 0 when nothing is left to be uploaded, 1 otherwise.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	cleanEnvironment()
	// More than one signal can be waiting: the second one gives up.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	p := program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, answer: answerTo(3), signals: signals}
	os.Exit(p.main(context.Background(), os.Args[1:]))
}

// cleanEnvironment starts the program anew without variables that its libraries take for options: they read them before main.
func cleanEnvironment() {
	var kept []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "RCLONE_") && !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "AZURE_") {
			kept = append(kept, v)
		}
	}
	if len(kept) == len(os.Environ()) {
		return
	}
	if err := syscall.Exec("/proc/self/exe", os.Args, kept); err != nil {
		os.Exit(1)
	}
}

// answerTo is the pipe that whoever started us waits at; nil when there is none, and the number belongs to the runtime.
func answerTo(fd int) *os.File {
	var st syscall.Stat_t
	if syscall.Fstat(fd, &st) != nil {
		return nil
	}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFIFO, syscall.S_IFSOCK, syscall.S_IFREG:
		syscall.CloseOnExec(fd)
		return os.NewFile(uintptr(fd), "answer")
	}
	return nil
}
