package auth

import (
	"sync"
	"time"
)

// limiter counts failures by key: so many at once, and one more for each interval that passes.
type limiter struct {
	burst    float64
	interval time.Duration
	now      func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the memory of a limiter: full buckets are forgotten then, and all of them when that does not help.
const maxBuckets = 10_000

func newLimiter(burst int, interval time.Duration, now func() time.Time) *limiter {
	return &limiter{burst: float64(burst), interval: interval, now: now, buckets: map[string]bucket{}}
}

// take uses up one try of the key. When none is left it says how long until the next.
func (l *limiter) take(key string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.current(key)
	if b.left < 1 {
		return time.Duration((1 - b.left) * float64(l.interval)), false
	}
	b.left--
	l.store(key, b)
	return 0, true
}

// giveBack returns a try that turned out to be none: the password was right.
func (l *limiter) giveBack(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.current(key)
	b.left = min(b.left+1, l.burst)
	l.store(key, b)
}

// current returns the bucket as it is now. The caller holds the lock.
func (l *limiter) current(key string) bucket {
	now := l.now()
	b, ok := l.buckets[key]
	if !ok {
		return bucket{left: l.burst, at: now}
	}
	b.left = min(b.left+float64(now.Sub(b.at))/float64(l.interval), l.burst)
	b.at = now
	return b
}

// store keeps a bucket unless it is full, which is the same as absent. The caller holds the lock.
func (l *limiter) store(key string, b bucket) {
	if b.left >= l.burst {
		delete(l.buckets, key)
		return
	}
	if len(l.buckets) >= maxBuckets {
		for old := range l.buckets {
			if l.current(old).left >= l.burst {
				delete(l.buckets, old)
			}
		}
		if len(l.buckets) >= maxBuckets {
			clear(l.buckets)
		}
	}
	l.buckets[key] = b
}
