package agent

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// servedMounts follows the object store mounts of the machine. The engine is asked, which starts a program, only when there are other mounts
// than before, when a process of one is gone, and once in a while.
type servedMounts struct {
	mounter mount.Mounter
	dir     string // the engine's, with a directory for each of them, and for each that ended before everything was uploaded
	proc    string
	every   time.Duration

	seen  string
	known []mount.Served
	asked time.Time
}

// list says how the mounts are.
func (s *servedMounts) list(ctx context.Context) ([]mount.Served, error) {
	var names []string
	for _, place := range []string{"mounts", "lost"} {
		entries, err := os.ReadDir(filepath.Join(s.dir, place))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			names = append(names, place+"/"+e.Name())
		}
	}
	seen := strings.Join(names, "\n")
	switch {
	case len(names) == 0:
		s.seen, s.known = "", nil
		return nil, nil
	case seen == s.seen && !s.died() && time.Since(s.asked) < s.every:
		return s.known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	known, err := s.mounter.Served(ctx)
	if err != nil {
		return nil, err
	}
	clipMounts(known)
	s.seen, s.known, s.asked = seen, known, time.Now()
	return known, nil
}

// died tells whether a process that served a mount is gone.
func (s *servedMounts) died() bool {
	for _, m := range s.known {
		if !m.Alive {
			continue
		}
		if _, err := os.Stat(filepath.Join(s.proc, strconv.Itoa(m.PID))); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}
