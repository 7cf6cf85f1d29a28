package main

import (
	"context"
	"time"

	"github.com/rclone/rclone/fs/rc"
	"github.com/rclone/rclone/vfs"
	"github.com/rclone/rclone/vfs/vfscache/writeback"
)

// retryTime is how long an upload that did not work waits at most until some are tried again. The library alone would wait up to five
// minutes after the store is back.
const retryTime = 5 * time.Second

// queue is the library's queue of uploads, which it shows by its remote control alone.
type queue struct{ vfs *vfs.VFS }

func (q queue) list(ctx context.Context) []writeback.QueueInfo {
	out, err := q.call(ctx, "vfs/queue", rc.Params{})
	if err != nil {
		return nil
	}
	items, _ := out["queue"].([]writeback.QueueInfo)
	return items
}

// call asks the one file system of this process.
func (q queue) call(ctx context.Context, name string, in rc.Params) (rc.Params, error) {
	return rc.Calls.Get(name).Fn(ctx, in)
}

func (q queue) length(ctx context.Context) int { return len(q.list(ctx)) }

// start has everything that was not tried yet be uploaded now: nobody can write any more, so there is nothing to wait for.
func (q queue) start(ctx context.Context) {
	for _, item := range q.list(ctx) {
		if !item.Uploading && item.Tries == 0 {
			q.now(ctx, item)
		}
	}
}

// last has what the store refuses be tried once more: whatever it said while somebody could still help does not count alone.
func (q queue) last(ctx context.Context, l *logger) {
	l.lastTries()
	for _, item := range q.list(ctx) {
		if !item.Uploading && l.refusal(item.Name).times > 0 {
			q.now(ctx, item)
		}
	}
}

// hurry has some of those that wait for another try be tried now. Those that the store refuses for good wait as long as the library makes them.
func (q queue) hurry(ctx context.Context, l *logger) {
	const most = 32
	n := 0
	all := q.list(ctx)
	waiting := map[string]bool{}
	for _, item := range all {
		waiting[l.hide.from(item.Name)] = true
	}
	l.forget(func(name string) bool { return waiting[name] })
	for _, item := range all {
		if item.Uploading || item.Tries == 0 || item.Expiry < retryTime.Seconds() || l.refusal(item.Name).forGood() {
			continue
		}
		if n++; n > most {
			return
		}
		q.now(ctx, item)
	}
}

func (q queue) now(ctx context.Context, item writeback.QueueInfo) {
	_, _ = q.call(ctx, "vfs/queue-set-expiry", rc.Params{"id": int64(item.ID), "expiry": -1.0}) // an error: it is uploaded by now
}
