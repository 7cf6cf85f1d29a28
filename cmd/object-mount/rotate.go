package main

import (
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostLog is how big a log grows until it becomes the old one, of which there is one.
const mostLog = 4 << 20

// rotating is the log file of a mount, which is also where the runtime writes when the program dies.
type rotating struct {
	path string
	fd   int
	most int64
	size int64
}

// rotate is standard error, as long as that is the log beside the cache.
func rotate(stderr *os.File, cache string) *rotating {
	path := filepath.Join(filepath.Dir(filepath.Clean(cache)), "log")
	var one, other syscall.Stat_t
	if syscall.Fstat(int(stderr.Fd()), &one) != nil || syscall.Stat(path, &other) != nil || one.Dev != other.Dev || one.Ino != other.Ino {
		return nil
	}
	return &rotating{path: path, fd: int(stderr.Fd()), most: mostLog, size: one.Size}
}

// Write implements [io.Writer].
func (r *rotating) Write(text []byte) (int, error) {
	if r.size+int64(len(text)) > r.most {
		r.renew()
	}
	n, err := unix.Write(r.fd, text)
	r.size += int64(max(n, 0))
	return n, err
}

func (r *rotating) renew() {
	r.size = 0 // whatever happens: not with each line
	if os.Rename(r.path, r.path+".old") != nil {
		return
	}
	fresh, err := unix.Open(r.path, unix.O_CREAT|unix.O_APPEND|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	_ = unix.Dup3(fresh, r.fd, 0)
	_ = unix.Close(fresh)
}
