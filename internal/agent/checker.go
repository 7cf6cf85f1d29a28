package agent

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// order is a storage's order and which version of it this is.
type order struct {
	storagecheck.Order
	version string
}

// pace is how often and how many.
type pace struct {
	period   time.Duration // between checks of a storage that is well, or that cannot be checked
	retry    time.Duration // after the first check that failed; it doubles
	retryMax time.Duration
	spread   time.Duration // new orders are checked within this time: other workers check them, too
	deadline time.Duration // of a check
	grace    time.Duration // for what the deadline ends to be gone
	atOnce   int
	perHost  int // checks of storages of one server at once
	suspects int // checks at once of storages whose last check hung
	left     int // checks that hang, and that nobody waits for, until no further one is begun
}

func defaultPace() pace {
	return pace{period: 5 * time.Minute, retry: 10 * time.Second, retryMax: time.Minute, spread: 2 * time.Second,
		deadline: 20 * time.Second, grace: 5 * time.Second, atOnce: 4, perHost: 2, suspects: 2, left: 64}
}

// checker decides when which storage is checked. A check that does not end is left behind: its storage is not checked again before it has
// ended, the others go on.
type checker struct {
	pace    pace
	look    func(context.Context, storagecheck.Order) storagecheck.Result // one check; it may take for ever
	log     *slog.Logger
	random  func() float64
	changed func() // results are not what they were
	ended   func(result string, took time.Duration)

	wake chan struct{}

	mu      sync.Mutex
	tasks   map[string]*task // by storage
	busy    map[string]*run  // by storage, which may have no order any more
	earlier map[string]storagecheck.Result
}

// task is a storage that is to be checked.
type task struct {
	order  order
	due    time.Time
	again  bool // something changed while it was checked
	fails  int  // in a row
	known  bool // result counts
	result storagecheck.Result
	// refused: it is not checked because too many checks hang, and the result says so.
	refused bool
}

// run is a check that has begun.
type run struct {
	host    string
	suspect bool
	left    bool // behind
}

func newChecker(p pace, look func(context.Context, storagecheck.Order) storagecheck.Result) *checker {
	return &checker{pace: p, look: look, log: slog.New(slog.DiscardHandler), random: func() float64 { return 0.5 }, changed: func() {}, ended: func(string, time.Duration) {},
		wake: make(chan struct{}, 1), tasks: map[string]*task{}, busy: map[string]*run{}}
}

// remember takes over what an earlier agent found on this machine, for orders that are still the same.
func (c *checker) remember(results map[string]storagecheck.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.earlier = results
}

// set says what is to be checked: all of it.
func (c *checker) set(orders []order) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, wanted := time.Now(), map[string]bool{}
	for _, o := range orders {
		wanted[o.Storage] = true
		t := c.tasks[o.Storage]
		switch {
		case t != nil && t.order.version == o.version:
			continue
		case t != nil:
			t.order, t.again, t.fails, t.refused = o, true, 0, false
			t.due = now.Add(c.part(c.pace.spread))
		default:
			t = &task{order: o, due: now.Add(c.part(c.pace.spread))}
			if was, ok := c.earlier[o.Storage]; ok && was.Order == o.version {
				// It counts until it is looked at anew, which has time when it was well.
				t.result, t.known = was, true
				if was.OK {
					t.due = now.Add(c.part(min(c.pace.period, time.Minute)))
				}
			}
			c.tasks[o.Storage] = t
		}
	}
	maps.DeleteFunc(c.tasks, func(name string, _ *task) bool { return !wanted[name] })
	c.earlier = nil
	c.changed()
	c.poke()
}

// recheck makes storages due now.
func (c *checker) recheck(which func(storagecheck.Order) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tasks {
		if which(t.order.Order) {
			t.due, t.again, t.fails = time.Now(), true, 0
		}
	}
	c.poke()
}

// results are the newest ones, by storage.
func (c *checker) results() map[string]storagecheck.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := make(map[string]storagecheck.Result, len(c.tasks))
	for name, t := range c.tasks {
		if !t.known {
			continue
		}
		r := t.result
		if b := c.busy[name]; t.refused || b != nil && b.left && r.Hung {
			r.Time = time.Now() // it still is so
		}
		found[name] = r
	}
	return found
}

// count says how many checks run, and how many are left behind.
func (c *checker) count() (running, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.busy {
		if r.left {
			left++
		} else {
			running++
		}
	}
	return running, left
}

// poke has the loop look again.
func (c *checker) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// part is a random part of a time.
func (c *checker) part(d time.Duration) time.Duration {
	return time.Duration(c.random() * float64(d))
}

// jitter is a time, 20 % more or less.
func (c *checker) jitter(d time.Duration) time.Duration {
	return d*4/5 + c.part(d*2/5)
}

// run checks until ctx ends. It does not wait for checks that hang.
func (c *checker) run(ctx context.Context) {
	for {
		timer := time.NewTimer(c.begin(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// idle is how long nothing is looked for when nothing is due.
const idle = time.Hour

// begin starts what is due and may start, and returns how long to wait for more.
func (c *checker) begin(ctx context.Context) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, wait := time.Now(), idle
	var due []*task
	for name, t := range c.tasks {
		switch {
		case c.busy[name] != nil:
		case t.due.After(now):
			wait = min(wait, t.due.Sub(now))
		default:
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *task) int {
		return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.order.Storage, b.order.Storage))
	})
	for _, t := range due {
		r := &run{host: host(t.order.Order), suspect: t.known && t.result.Hung}
		if !c.may(r) {
			if overdue := now.Sub(t.due); c.full() && !t.refused {
				if !t.known || t.result.Order != t.order.version || overdue >= c.pace.period {
					c.refuse(t, now)
				} else {
					wait = min(wait, c.pace.period-overdue)
				}
			}
			continue // the end of another check wakes us
		}
		c.busy[t.order.Storage] = r
		t.again = false
		go c.perform(ctx, t.order)
	}
	return wait
}

// may tells whether one more check may run now.
func (c *checker) may(r *run) bool {
	running, ofHost, suspects := 0, 0, 0
	for _, other := range c.busy {
		if other.left {
			continue
		}
		running++
		if r.host != "" && other.host == r.host {
			ofHost++
		}
		if other.suspect {
			suspects++
		}
	}
	return !c.full() && running < c.pace.atOnce && ofHost < c.pace.perHost && (!r.suspect || suspects < c.pace.suspects)
}

// full: so many checks hang that no further one is begun.
func (c *checker) full() bool {
	left := 0
	for _, r := range c.busy {
		if r.left {
			left++
		}
	}
	return left >= c.pace.left
}

// refuse says why a storage is not checked, in the place of what was known of it, which is too old to count.
func (c *checker) refuse(t *task, now time.Time) {
	t.result = storagecheck.Result{
		Unchecked: true, Time: now, Free: -1, Size: -1, Order: t.order.version,
		Message: "not checked: too many earlier checks hang on this worker; restart it when its file servers are well",
	}
	t.known, t.refused = true, true
	c.changed()
}

// perform is one check, with its end.
func (c *checker) perform(ctx context.Context, o order) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, c.pace.deadline)
	answer := make(chan storagecheck.Result, 1)
	go func() {
		defer cancel()
		answer <- c.look(limited, o.Order)
	}()
	patience := time.NewTimer(c.pace.deadline + c.pace.grace)
	defer patience.Stop()
	select {
	case r := <-answer:
		c.finish(ctx, o, r, time.Since(began))
		return
	case <-patience.C:
	}
	c.leave(o, time.Since(began))
	<-answer
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, o.Storage)
	if t := c.tasks[o.Storage]; t != nil {
		t.due = time.Now() // whatever it hung on is over
	}
	c.poke()
}

// finish keeps the result of a check that ended.
func (c *checker) finish(ctx context.Context, o order, r storagecheck.Result, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, o.Storage)
	if ctx.Err() != nil {
		return // it was ended by the agent's end
	}
	c.keep(o, r, took)
	c.poke()
}

// leave gives up on a check.
func (c *checker) leave(o order, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[o.Storage].left = true
	c.log.Warn("a check hangs and is left behind", "storage", o.Storage)
	c.keep(o, storagecheck.Result{Hung: true, Message: hungMessage(c.pace.deadline), Free: -1, Size: -1}, took)
	c.poke()
}

// neighbours makes the other storages of a server due soon when one of them went: it may be the server that did. Those that are known to be as
// this one is now have time.
func (c *checker) neighbours(o order, well bool) {
	of := host(o.Order)
	if of == "" {
		return
	}
	now := time.Now()
	for name, t := range c.tasks {
		if name != o.Storage && t.known && !t.result.Unchecked && t.result.OK != well && host(t.order.Order) == of {
			if soon := now.Add(c.part(c.pace.spread)); soon.Before(t.due) {
				t.due = soon
			}
		}
	}
}

func (c *checker) keep(o order, r storagecheck.Result, took time.Duration) {
	switch {
	case r.OK:
		c.ended("ok", took)
	case r.Hung:
		c.ended("hung", took)
	case r.Unchecked:
		c.ended("unchecked", took)
	default:
		c.ended("failed", took)
	}
	t := c.tasks[o.Storage]
	if t == nil {
		return // nobody asks any more
	}
	r.Time, r.Order = time.Now(), o.version
	if r.Latency == 0 {
		r.Latency = took
	}
	if t.refused {
		t.known, t.refused = false, false // what was known before is forgotten
	}
	// What was not checked says nothing of its server.
	if knew := t.known && !t.result.Unchecked; !r.Unchecked && (knew && t.result.OK != r.OK || !knew && !r.OK) {
		c.neighbours(o, r.OK)
	}
	if !t.known || t.result.OK != r.OK || t.result.Unchecked != r.Unchecked {
		c.log.Info("checked", "storage", o.Storage, "ok", r.OK, "message", r.Message, "took", took.String())
	}
	t.result, t.known = r, true
	switch {
	case t.again:
		t.due = time.Now()
	case r.OK || r.Unchecked:
		t.fails, t.due = 0, time.Now().Add(c.jitter(c.pace.period))
	default:
		t.due = time.Now().Add(c.jitter(min(c.pace.retry<<min(t.fails, 10), c.pace.retryMax)))
		t.fails++
	}
	c.changed()
}
