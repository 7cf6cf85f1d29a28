package localcluster

import (
	"math"
	"runtime"
	"strings"
	"testing"
)

// TestTSC: two measurements agree.
func TestTSC(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		if tscKHz() != 0 {
			t.Error("a counter that is not there has a speed")
		}
		return
	}
	a, b := tscKHz(), tscKHz()
	near := func(x, y int) bool { return math.Abs(float64(x-y)) < 0.01*float64(y) }
	if a < 100_000 || !near(a, b) {
		t.Errorf("measured %d and %d kHz", a, b)
	}
	if !strings.Contains(kernelParameters(emulation), " tsc_early_khz=") || strings.Contains(kernelParameters(hardware), "tsc_early_khz") {
		t.Errorf("parameters %q and %q", kernelParameters(emulation), kernelParameters(hardware))
	}
}
