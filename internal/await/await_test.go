package await_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, asked := time.Now(), 0
		await.Until(t, "it is late", func() bool { asked++; return time.Since(begun) > await.Limit/2 })
		if asked > 1000 {
			t.Errorf("asked %d times in %s", asked, time.Since(begun))
		}
	})
}

// TestExpiring: the time is over when it is so, and not before, for whoever derives a context, too.
func TestExpiring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var so atomic.Bool
		ctx := await.Expiring(t, so.Load)
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		time.Sleep(time.Hour)
		if ctx.Err() != nil || derived.Err() != nil {
			t.Errorf("it is over before: %v, %v", ctx.Err(), derived.Err())
		}
		so.Store(true)
		<-derived.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(derived.Err(), context.DeadlineExceeded) {
			t.Errorf("it ends with %v, %v", ctx.Err(), derived.Err())
		}
	})
}

// TestPromises: they are broken in the soak alone, and only as far as the machine is not slow itself.
func TestPromises(t *testing.T) {
	t.Setenv(await.EnvSoak, "")
	var quiet recorder
	await.Kept(&quiet, "anything", time.Hour, time.Second)
	t.Setenv(await.EnvSoak, "1")
	for name, c := range map[string]struct {
		took, limit time.Duration
		broken      bool
	}{
		"kept":   {time.Second, time.Second, false},
		"broken": {time.Duration(1000 * await.Slower(t) * float64(time.Second)), time.Second, true},
	} {
		r := recorder{TB: t}
		await.Kept(&r, name, c.took, c.limit)
		if r.failed != c.broken {
			t.Errorf("%s: broken %t", name, r.failed)
		}
	}
	if quiet.failed {
		t.Error("judged by the clock outside of the soak")
	}
	done := false
	await.Promised(t, "done", time.Hour, func() bool { defer func() { done = true }(); return done })
}

// recorder is a test that notes that it failed.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
