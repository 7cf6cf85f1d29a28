package localcluster

import (
	"slices"
	"time"
)

// readTSC is the processor's time stamp counter.
func readTSC() uint64

// tscKHz measures how fast this machine's time stamp counter counts, in kHz. An emulated machine has the same one. Its kernel measures it, too, while
// it boots, against a timer that the emulator has to serve meanwhile; on a busy host it has been off by a factor of four, and so was the machine's
// clock from then on.
func tscKHz() int {
	const windows, window = 5, 20 * time.Millisecond
	var measured []int
	for range windows {
		ticks, at := tscNow()
		time.Sleep(window)
		ticks2, at2 := tscNow()
		measured = append(measured, int(float64(ticks2-ticks)/at2.Sub(at).Seconds()/1000))
	}
	slices.Sort(measured)
	return measured[windows/2]
}

// tscNow reads counter and clock at the same moment, as far as that can be: the closest of several readings.
func tscNow() (ticks uint64, at time.Time) {
	closest := ^uint64(0)
	for range 20 {
		before := readTSC()
		now := time.Now()
		after := readTSC()
		if after-before < closest {
			closest, ticks, at = after-before, before+(after-before)/2, now
		}
	}
	return ticks, at
}
