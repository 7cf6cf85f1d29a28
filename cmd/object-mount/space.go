package main

import (
	"sync"
	"syscall"
	"time"
)

const (
	spaceTime = 300 * time.Millisecond // how long what is known of the free space counts
	leastLook = 4 << 20                // however little is free: not for less than this
	roomTime  = 10 * time.Second       // how long a write waits for room that the library makes by itself
)

// space watches that what users write leaves some of the cache's disk free. The library only takes away what is uploaded, and does so a little
// before it comes to that.
type space struct {
	dir  string
	keep uint64

	mu     sync.Mutex
	looked time.Time
	budget int64     // how much may be written before the next look
	since  time.Time // when it was full; zero when it is not
}

// take asks for room for n bytes. none: there was none for so long that waiting is no use.
func (s *space) take(n int) (ok, none bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	old := now.Sub(s.looked) > spaceTime
	if old || s.since.IsZero() && s.budget < int64(n) {
		s.look(now)
	}
	if !s.since.IsZero() {
		return false, now.Sub(s.since) > roomTime
	}
	s.budget -= int64(n)
	return true, false
}

func (s *space) look(now time.Time) {
	s.looked = now
	var st syscall.Statfs_t
	if syscall.Statfs(s.dir, &st) != nil {
		s.since, s.budget = time.Time{}, leastLook // then the disk itself says it
		return
	}
	free := st.Bavail * uint64(st.Bsize)
	if free <= s.keep {
		if s.since.IsZero() {
			s.since = now
		}
		return
	}
	s.since, s.budget = time.Time{}, max(int64(free-s.keep)/2, leastLook)
}
