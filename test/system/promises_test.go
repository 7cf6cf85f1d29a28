package system

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// Promises in time are kept or broken in "make soak" alone, and as ratios: how long something may take is stretched by how much slower than the
// yardstick the workers are in the same minute. "make test" only asks whether it happens.

// processes are started one after the other for the yardstick, and take so long on an emulated worker of an otherwise idle machine.
const (
	processes = 100
	yardstick = 900 * time.Millisecond
)

// promised compares how long something took with what is promised for an idle machine.
func (c *cluster) promised(t testing.TB, what string, took, limit time.Duration) {
	t.Helper()
	if !soak() {
		return
	}
	slower := c.slower(t)
	if took > time.Duration(float64(limit)*slower) {
		t.Errorf("%s: %.1f s; promised are %.1f s, and the workers are %.1f times slower than on an idle machine", what, took.Seconds(), limit.Seconds(), slower)
	}
}

// slower is how many times longer than the yardstick worker2 needs now for starting processes, and never less than 1.
func (c *cluster) slower(t testing.TB) float64 {
	t.Helper()
	out := c.on(t, "worker2", "bash -c 'start=${EPOCHREALTIME/./}; for ((i = 0; i < "+strconv.Itoa(processes)+"; i++)); do /bin/true; done; echo $((${EPOCHREALTIME/./} - start))'")
	us, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatalf("yardstick: %v: %q", err, out)
	}
	return max(1, float64(us)/float64(yardstick.Microseconds()))
}
