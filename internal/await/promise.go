package await

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// EnvSoak is the variable of "make soak", under which promises in time are kept or broken.
const EnvSoak = "PAI_SOAK"

// The yardstick: so many processes started one after the other take so long on an idle machine of two cores at 2.6 GHz.
const (
	processes = 100
	yardstick = 150 * time.Millisecond
)

// Promised is [Until]; in "make soak" it also asks that it comes to that within limit, see [Kept].
func Promised(t testing.TB, what string, limit time.Duration, so func() bool) {
	t.Helper()
	began := time.Now()
	Until(t, what, so)
	Kept(t, what, time.Since(began), limit)
}

// Kept compares how long something took with what is promised for an idle machine: in "make soak" alone, and as a ratio. The limit is stretched by how
// much slower than the yardstick this machine is in the same minute.
func Kept(t testing.TB, what string, took, limit time.Duration) {
	t.Helper()
	if os.Getenv(EnvSoak) == "" || took <= limit {
		return
	}
	slower := Slower(t)
	if took > time.Duration(float64(limit)*slower) {
		t.Errorf("%s: %.1f s; promised are %.1f s, and this machine is %.1f times slower than an idle one", what, took.Seconds(), limit.Seconds(), slower)
	}
}

var measuring sync.Mutex

// Slower is how many times longer than the yardstick this machine needs now for starting processes, and never less than 1.
func Slower(t testing.TB) float64 {
	t.Helper()
	measuring.Lock() // two at once would measure each other
	defer measuring.Unlock()
	began := time.Now()
	for range processes {
		if err := exec.CommandContext(t.Context(), "/bin/true").Run(); err != nil {
			t.Fatalf("yardstick: %v", err)
		}
	}
	return max(1, float64(time.Since(began))/float64(yardstick))
}
