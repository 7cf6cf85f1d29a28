package kube

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// report is what a worker's agent said last. Names and messages are the same for many workers, and are kept once.
type report struct {
	node    string
	at      time.Time
	facts   storagecheck.Facts
	results []checkResult // sorted by the storages' names
	mounts  []mount.Served
	sum     uint64 // of what says something about jobs: neither times nor numbers
}

// checkResult is one storage on one worker.
type checkResult struct {
	storage unique.Handle[string]
	message unique.Handle[string] // why it is not well, or unchecked; "" when it is well
	version unique.Handle[string] // of the order
	at      int64                 // milliseconds since 1970
	latency int32                 // milliseconds
	free    int64
	size    int64
	ok      bool
	// unchecked: whether it can be used could not be found out, for the reason in the message.
	unchecked bool
	// writeDenied: it can be read, and the worker's root may not write into it.
	writeDenied bool
}

func parseReport(obj any) (report, error) {
	m, ok := obj.(*corev1.ConfigMap)
	if !ok {
		return report{}, fmt.Errorf("expected a ConfigMap, got %T", obj)
	}
	var r storagecheck.Report
	if err := json.Unmarshal([]byte(m.Data[storagecheck.ReportKey]), &r); err != nil {
		return report{}, err
	}
	m.Data = nil // it is read, and a thousand of them are large
	out := report{node: m.Name, at: r.Time, facts: r.Facts, mounts: r.Mounts, results: make([]checkResult, 0, len(r.Results))}
	for storage, x := range r.Results {
		message := x.Message
		if message == "" && !x.OK {
			message = "the check failed"
		}
		if message == "" && x.Unchecked {
			message = "it could not be checked"
		}
		out.results = append(out.results, checkResult{storage: unique.Make(storage), message: unique.Make(message), version: unique.Make(x.Order), at: x.Time.UnixMilli(),
			latency: int32(x.Latency.Milliseconds()), free: x.Free, size: x.Size, ok: x.OK, unchecked: x.Unchecked, writeDenied: x.WriteDenied})
	}
	slices.SortFunc(out.results, func(a, b checkResult) int { return strings.Compare(a.storage.Value(), b.storage.Value()) })
	out.sum = out.summed()
	return out, nil
}

// summed tells reports apart that say something else.
func (r *report) summed() uint64 {
	h := fnv.New64a()
	for _, x := range r.results {
		fmt.Fprintf(h, "%s %t %t %t %s %q\n", x.storage.Value(), x.ok, x.unchecked, r.overdue(&x), x.version.Value(), x.message.Value())
	}
	for _, m := range r.mounts {
		if !m.Alive {
			fmt.Fprintf(h, "%s %d %t\n", m.Target, m.Pending, m.Lost)
		}
	}
	fmt.Fprintf(h, "%+v", r.facts)
	return h.Sum64()
}

// hearing remembers what each worker said last.
type hearing struct {
	generation atomic.Uint64 // grows when one says something else
	mu         sync.Mutex
	sums       map[string]uint64
}

// news tells whether a report says something else than the one before. Most say the same again, so that it counts on.
func (h *hearing) news(r report) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if before, ok := h.sums[r.node]; ok && before == r.sum {
		return false
	}
	if h.sums == nil {
		h.sums = map[string]uint64{}
	}
	h.sums[r.node] = r.sum
	h.generation.Add(1)
	return true
}

// result finds what is said about a storage.
func (r *report) result(storage unique.Handle[string]) *checkResult {
	i, ok := slices.BinarySearchFunc(r.results, storage.Value(), func(x checkResult, name string) int { return strings.Compare(x.storage.Value(), name) })
	if !ok {
		return nil
	}
	return &r.results[i]
}

// silentAfter is how old the report of a worker may be: agents report every five minutes, and when something changes.
const silentAfter = 12 * time.Minute

// silent tells whether a report is too old to count.
func (r report) silent(now time.Time) bool { return now.Sub(r.at) > silentAfter }

// overdueAfter is how old a result may be when its worker reports: agents check each storage every five minutes, or say why they do not. Where many
// servers are away at once they need longer.
const overdueAfter = 30 * time.Minute

// overdue tells whether a result was too old to count when the worker reported.
func (r *report) overdue(x *checkResult) bool {
	return r.at.UnixMilli()-x.at > overdueAfter.Milliseconds()
}

// checkIndex is what does not work, by storage and worker, for the doctor, as long as no report and no order changes.
type checkIndex struct {
	generation uint64
	made       time.Time
	known      map[pai.StorageName]map[string]doctor.Check
}

// indexHolds is how soon it is seen that a worker does not report any more.
const indexHolds = time.Minute

// failures are the workers on which a storage cannot be used, by their reports.
func (c *Cluster) failures(name pai.StorageName) map[string]doctor.Check {
	generation := c.heard.generation.Load() + c.orders.generation.Load() + c.volumes.generation.Load()
	index, now := c.checks.Load(), c.now()
	if index == nil || index.generation != generation || now.Sub(index.made) > indexHolds {
		index = &checkIndex{generation, now, c.indexFailures()}
		c.checks.Store(index)
	}
	return index.known[name]
}

// foundWell tells whether a worker that speaks has found a storage well, as it is declared now.
func (c *Cluster) foundWell(name pai.StorageName) bool {
	o, ok := c.orders.get(string(name))
	if !ok {
		return false
	}
	storage, version, now := unique.Make(string(name)), unique.Make(o.version), c.now()
	return slices.ContainsFunc(c.reports.all(), func(r report) bool {
		x := r.result(storage)
		return !r.silent(now) && x != nil && x.ok && !x.unchecked && !r.overdue(x) && x.version == version
	})
}

func (c *Cluster) indexFailures() map[pai.StorageName]map[string]doctor.Check {
	out := map[pai.StorageName]map[string]doctor.Check{}
	add := func(name pai.StorageName, node string, x doctor.Check) {
		if out[name] == nil {
			out[name] = map[string]doctor.Check{}
		}
		out[name][node] = x
	}
	versions := map[unique.Handle[string]]unique.Handle[string]{}
	for _, name := range c.orders.names() {
		if o, ok := c.orders.get(name); ok {
			versions[unique.Make(name)] = unique.Make(o.version)
		}
	}
	now := c.now()
	volumes := c.volumes.all()
	for _, r := range c.reports.all() {
		if r.silent(now) {
			continue
		}
		for _, x := range r.results {
			if !x.ok && !x.unchecked && !r.overdue(&x) && versions[x.storage] == x.version {
				add(pai.StorageName(x.storage.Value()), r.node, doctor.Check{Message: x.message.Value(), At: time.UnixMilli(x.at)})
			}
		}
		for _, m := range r.mounts {
			if m.Alive || m.Lost { // what is lost is of a mount that nobody uses any more
				continue
			}
			for _, v := range volumes {
				if v.owner != nil && v.owner.Namespace == c.namespace && v.mountedAt(m.Target) {
					add(pai.StorageName(v.owner.Name), r.node, doctor.Check{Dead: true, Pending: m.Pending, At: r.at})
				}
			}
		}
	}
	return out
}
