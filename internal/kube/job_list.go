package kube

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// board keeps the summary of every job, with the first line of its diagnosis, so that a list of ten thousand costs no more than walking
// through them. What changes about a job itself is worked out when somebody asks, what changes about the cluster around it a moment later.
type board struct {
	cluster *Cluster

	mu       sync.Mutex
	entries  map[string]*entry // by name of the record
	sorted   []*pai.JobSummary // the latest first; nil when it has to be made anew
	lastSlow time.Time

	// Its own lock, because changes are noted while a view is locked, and views are read while mu is.
	noted  sync.Mutex
	dirty  map[string]bool // records whose own objects have changed
	around bool            // nodes, claims, volumes or servers have changed
	wake   chan struct{}

	holds atomic.Pointer[map[string]doctor.Hold] // what jobs hold of workers that cannot go on; never changed
}

// entry is a job on the board.
type entry struct {
	summary *pai.JobSummary
	passing bool // what is said about it changes with time alone
	bound   bool // a task has a worker and has not started
	aside   bool // it is set aside
	// holds is what the job's tasks hold of workers and cannot use until somebody mends something, by worker; why is the code of that.
	holds map[string]pai.Quantity
	why   string
}

func newBoard(c *Cluster) *board {
	return &board{cluster: c, entries: map[string]*entry{}, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// touch notes that something about a job has changed; key is as in [specs.Key].
func (b *board) touch(key string) {
	b.noted.Lock()
	b.dirty["job-"+key] = true
	b.noted.Unlock()
	b.rouse()
}

// touchAround notes that something has changed that may concern every job that waits.
func (b *board) touchAround() {
	b.noted.Lock()
	b.around = true
	b.noted.Unlock()
	b.rouse()
}

func (b *board) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Paces of the board.
const (
	boardPause = 250 * time.Millisecond // between two rounds
	boardTick  = time.Second            // what passes with time
	boardSlow  = 20 * time.Second       // everything that is not done
)

// run keeps the board current, so that whoever asks waits for little.
func (b *board) run(ctx context.Context) {
	tick := time.NewTicker(boardTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-tick.C:
		}
		if b.cluster.Synced() {
			b.refresh()
			b.askServers()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(boardPause):
		}
	}
}

// refresh works out what has changed, by itself or with time.
func (b *board) refresh() {
	b.mu.Lock()
	b.noted.Lock()
	now := b.cluster.now()
	slow := now.Sub(b.lastSlow) > boardSlow
	if slow {
		b.lastSlow = now
	}
	all := b.around || slow
	for name, e := range b.entries {
		if !e.summary.State.Done() && (all || e.passing) {
			b.dirty[name] = true
		}
		if slow && (e.bound || e.aside) {
			b.cluster.jobKeeper.touch(name)
		}
	}
	b.around = false
	b.noted.Unlock()
	b.mu.Unlock()
	for busy := true; busy; {
		b.mu.Lock()
		busy = b.work(100) // in portions, so that nobody who asks waits for all of it
		b.mu.Unlock()
	}
}

// work brings some records up to date, and tells whether there may be more. The caller holds mu.
func (b *board) work(most int) bool {
	b.noted.Lock()
	var names []string
	for name := range b.dirty {
		if len(names) == most {
			break
		}
		names = append(names, name)
		delete(b.dirty, name)
	}
	b.noted.Unlock()
	changed := false
	for _, name := range names {
		changed = b.update(name) || changed
	}
	if changed {
		b.sumHolds()
		b.touchAround() // who waits for a worker waits for somebody else now
	}
	return len(names) == most
}

// held is what tasks hold of workers that cannot go on until somebody mends something. The result is shared: nobody may change it.
func (b *board) held() map[string]doctor.Hold {
	if holds := b.holds.Load(); holds != nil {
		return *holds
	}
	return nil
}

// sumHolds puts together what all jobs hold. The caller holds mu.
func (b *board) sumHolds() {
	sum := map[string]doctor.Hold{}
	for _, e := range b.entries {
		for worker, q := range e.holds {
			h := sum[worker]
			h.Quantity = h.Quantity.Plus(q)
			h.By = append(h.By, doctor.Holder{Job: e.summary.ID, Code: e.why, Quantity: q})
			sum[worker] = h
		}
	}
	for _, h := range sum {
		slices.SortFunc(h.By, func(a, b doctor.Holder) int { return compareID(a.Job, b.Job) })
	}
	b.holds.Store(&sum)
}

// update works out the summary of a job, and tells whether what it holds of workers has changed. The caller holds mu.
func (b *board) update(name string) bool {
	old := b.entries[name]
	r, ok := b.cluster.records.get(name)
	if !ok {
		if old != nil {
			delete(b.entries, name)
			b.sorted = nil
		}
		return old != nil && len(old.holds) > 0
	}
	a, err := b.cluster.attempt(r.id, -1)
	if err != nil {
		return false
	}
	j, findings := b.cluster.examine(a)
	s := summarize(a, j)
	e := &entry{summary: s, bound: slices.ContainsFunc(a.pods, taskPod.startsSlowly), aside: a.aside != nil}
	if len(findings) > 0 {
		s.Finding = &findings[0]
		s.Finding.HeldBy = nil // a list is for many people
	}
	e.passing = !j.State.Done() && (s.Finding == nil || s.Finding.Who == pai.FixedByWaiting || e.bound || j.State == pai.JobStopping)
	if e.why = stuck(findings); !j.State.Done() && e.why != "" {
		e.holds = a.holds()
	}
	b.entries[name] = e
	if old == nil {
		b.sorted = nil
		return len(e.holds) > 0
	}
	same := maps.Equal(old.holds, e.holds) && (len(e.holds) == 0 || old.why == e.why)
	if reflect.DeepEqual(old.summary, s) {
		e.summary = old.summary // the same pointer says that it is the same
	} else {
		b.sorted = nil
	}
	return !same
}

// stuck is the code of what keeps tasks that have a worker from going on, and does not pass by itself; "" when nothing does. That a job lacks workers
// is no such thing: else two jobs that wait for each other would each keep the other one waiting after all else is mended.
func stuck(findings []pai.Finding) string {
	for _, f := range findings {
		if f.Who != pai.FixedByWaiting && !doctor.LacksWorkers(f.Code) {
			return f.Code
		}
	}
	return ""
}

// holds is what those of the attempt's tasks hold of workers that have not started, or do not end. What runs ends with time.
func (a attempt) holds() map[string]pai.Quantity {
	out := map[string]pai.Quantity{}
	for _, p := range a.pods {
		if p.node != "" && !p.state.Done() && (p.state == pai.JobWaiting || !p.deleting.IsZero()) {
			out[p.node] = out[p.node].Plus(p.requests)
		}
	}
	return out
}

// startsSlowly tells whether a task has a worker and has not started.
func (p taskPod) startsSlowly() bool {
	return p.node != "" && p.state == pai.JobWaiting && p.deleting.IsZero()
}

// askServers asks the file servers of the jobs whose tasks are slow to start.
func (b *board) askServers() {
	c := b.cluster
	if c.probes == nil {
		return
	}
	const patience = 5 * time.Second
	servers := map[Server]bool{}
	b.mu.Lock()
	var slow []pai.JobID
	for _, e := range b.entries {
		if e.bound && c.now().Sub(e.summary.Submitted) > patience {
			slow = append(slow, e.summary.ID)
		}
	}
	b.mu.Unlock()
	for _, id := range slow {
		if a, err := c.attempt(id, -1); err == nil {
			for _, s := range c.serversOf(a) {
				servers[s] = true
			}
		}
	}
	for s := range servers {
		c.probes.start(s)
	}
}

func summarize(a attempt, j pai.Job) *pai.JobSummary {
	s := &pai.JobSummary{ID: j.ID, UID: j.UID, Object: j.Object, VirtualCluster: j.VirtualCluster, Priority: j.Priority, State: j.State,
		Stopped: j.Stopped, Attempt: j.Attempt, Tags: j.Tags, Submitted: j.Submitted, Started: j.Started, Completed: j.Completed,
		ExitCode: j.ExitCode, TaskRoles: len(a.record.roles)}
	for _, role := range a.record.roles {
		s.Tasks += role.Instances
		s.GPUs += role.Instances * int(a.roles[role.Name].requests.GPU)
	}
	for _, m := range a.mounts {
		s.Storages = append(s.Storages, m.Storage)
	}
	slices.Sort(s.Storages)
	return s
}

// list is every job, the latest first, as it is now. The result is shared: nobody may change it.
func (b *board) list() []*pai.JobSummary {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.work(1000) {
	}
	if b.sorted == nil {
		b.sorted = make([]*pai.JobSummary, 0, len(b.entries))
		for _, e := range b.entries {
			b.sorted = append(b.sorted, e.summary)
		}
		slices.SortFunc(b.sorted, func(a, b *pai.JobSummary) int {
			return cmp.Or(b.Submitted.Compare(a.Submitted), compareIDs(a, b))
		})
	}
	return b.sorted
}

func compareIDs(a, b *pai.JobSummary) int { return compareID(a.ID, b.ID) }

func compareID(a, b pai.JobID) int {
	return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Name, b.Name))
}

// Jobs lists the jobs that a query selects. The guard decides whose.
func (c *Cluster) Jobs(_ context.Context, q pai.JobQuery) (pai.JobPage, error) {
	all := c.board.list()
	selected := all
	if !matchesAll(q) {
		selected = make([]*pai.JobSummary, 0, min(len(all), 1024))
		for _, s := range all {
			if matches(q, s) {
				selected = append(selected, s)
			}
		}
	}
	if q.Order != (pai.JobOrder{}) && q.Order != (pai.JobOrder{Field: pai.BySubmission}) {
		selected = slices.Clone(selected)
		slices.SortStableFunc(selected, func(a, b *pai.JobSummary) int { return cmp.Or(compareJobs(q.Order, a, b), compareIDs(a, b)) })
	}
	page := pai.JobPage{Total: len(selected)}
	from := min(max(q.Offset, 0), len(selected))
	page.Jobs = selected[from:min(from+cmp.Or(q.Limit, pai.DefaultJobLimit), len(selected))]
	return page, nil
}

// matchesAll tells whether a query selects every job.
func matchesAll(q pai.JobQuery) bool {
	return q.User == "" && q.VirtualCluster == "" && len(q.States) == 0 && q.Keyword == "" && len(q.TagsAny) == 0 && len(q.TagsNone) == 0 &&
		q.Priority == "" && q.Storage == ""
}

func matches(q pai.JobQuery, s *pai.JobSummary) bool {
	has := func(tag string) bool { return slices.Contains(s.Tags, tag) }
	return (q.User == "" || q.User == s.ID.User) &&
		(q.VirtualCluster == "" || q.VirtualCluster == s.VirtualCluster) &&
		(len(q.States) == 0 || slices.Contains(q.States, s.State)) &&
		(q.Keyword == "" || strings.Contains(string(s.ID.User), q.Keyword) || strings.Contains(string(s.ID.Name), q.Keyword) ||
			strings.Contains(s.VirtualCluster, q.Keyword)) &&
		(len(q.TagsAny) == 0 || slices.ContainsFunc(q.TagsAny, has)) &&
		!slices.ContainsFunc(q.TagsNone, has) &&
		(q.Priority == "" || q.Priority == cmp.Or(s.Priority, "default")) &&
		(q.Storage == "" || slices.Contains(s.Storages, q.Storage))
}

// compareJobs compares two jobs by one field, in the order that is asked for.
func compareJobs(o pai.JobOrder, a, b *pai.JobSummary) int {
	n := 0
	switch o.Field {
	case pai.ByJobName:
		n = cmp.Compare(a.ID.Name, b.ID.Name)
	case pai.ByUser:
		n = cmp.Compare(a.ID.User, b.ID.User)
	case pai.ByVC:
		n = cmp.Compare(a.VirtualCluster, b.VirtualCluster)
	case pai.ByRetries:
		n = cmp.Compare(a.Attempt, b.Attempt)
	case pai.ByTasks:
		n = cmp.Compare(a.Tasks, b.Tasks)
	case pai.ByGPUs:
		n = cmp.Compare(a.GPUs, b.GPUs)
	case pai.ByState:
		n = cmp.Compare(a.State, b.State)
	case pai.ByPriority:
		n = cmp.Compare(a.Priority, b.Priority)
	case pai.ByCompletion:
		n = cmp.Or(compareBools(a.Completed.IsZero(), b.Completed.IsZero()), a.Completed.Compare(b.Completed))
	default:
		n = a.Submitted.Compare(b.Submitted)
	}
	if !o.Ascending {
		n = -n
	}
	return n
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// aboutJob finds the job that an object belongs to, by the object's name.
func (c *Cluster) aboutJob(object string) (key string, ok bool) {
	if p, ok := c.pods.get(object); ok {
		return p.key, true
	}
	if j, ok := c.jobs.get(object); ok {
		return j.key, true
	}
	return "", false
}

// followJobs wires the views to the board and to the keeper.
func (c *Cluster) followJobs() {
	c.records.notify = func(r record) {
		c.board.touch(specs.Key(r.id))
		if r.held {
			c.jobKeeper.touch(r.name)
		}
	}
	c.jobs.notify = func(j roleJob) {
		c.board.touch(j.key)
		c.jobKeeper.touch(specs.RecordName(j.id))
	}
	c.pods.notify = func(p taskPod) {
		c.board.touch(p.key)
		if p.state.Done() || !p.deleting.IsZero() {
			c.jobKeeper.touch("job-" + p.key)
		}
	}
	c.events.notify = func(e event) {
		if key, ok := c.aboutJob(e.object); ok {
			c.board.touch(key)
		} else if _, ok := c.claims.get(e.object); ok {
			c.board.touchAround()
		}
	}
	storages := func() {
		c.board.touchAround()
		c.touchHeld()
	}
	c.claims.notify = func(claim) { storages() }
	c.volumes.notify = func(volume) { storages() }
	c.classes.notify = func(storageClass) { storages() }
	c.drivers.notify = func(drivers) { c.board.touchAround() }
	c.nodes.notify = func(node) { c.board.touchAround() }
}
