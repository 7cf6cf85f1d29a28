// Package await lets tests wait for events. A test never judges by the clock: how long something takes depends on the machine, and what is
// promised in time is measured by "make bench" and "make soak". So there is one limit for all waiting, which only catches what hangs.
//
// Example:
//
//	await.Until(t, "the server listens", func() bool { return dial() == nil })
package await

import (
	"context"
	"testing"
	"time"
)

// Limit is how long a test waits for anything. It is far longer than what takes long on a slow machine that has other things to do.
const Limit = 10 * time.Minute

// The pauses between two questions: short at first, because most things are so at once, then longer, because asking costs processor time that
// what is waited for may need.
const (
	firstPause = 5 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// Until waits until something is so. A test whose event never comes is ended with the event's name. It may be called while a test cleans up.
func Until(t testing.TB, what string, so func() bool) {
	t.Helper()
	end := time.Now().Add(Limit)
	for pause := firstPause; !so(); pause = min(pause*3/2, lastPause) {
		if time.Now().After(end) {
			t.Fatalf("%s: it has not come to that in %s", what, Limit)
		}
		time.Sleep(pause)
	}
}

// Expiring is the test's context with a deadline that passes as soon as something is so, and not before: for a limit that has to run out, of
// something that has to come far enough before, however long that takes. The question comes from another goroutine.
func Expiring(t testing.TB, so func() bool) context.Context {
	e := expiring{Context: t.Context(), over: make(chan struct{})}
	go func() {
		defer close(e.over)
		for pause := firstPause; t.Context().Err() == nil && !so(); pause = min(pause*3/2, lastPause) {
			time.Sleep(pause)
		}
	}()
	return e
}

type expiring struct {
	context.Context
	over chan struct{}
}

func (e expiring) Done() <-chan struct{} { return e.over }

func (e expiring) Err() error {
	select {
	case <-e.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Context is the test's, with the limit of all waiting.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Limit)
	t.Cleanup(cancel)
	return ctx
}
