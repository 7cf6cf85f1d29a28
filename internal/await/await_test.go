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
