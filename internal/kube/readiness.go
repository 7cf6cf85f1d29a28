package kube

import (
	"context"
	"iter"
	"slices"
	"time"
	"unique"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// column is a storage of the matrix, with what is the same for all of its cells.
type column struct {
	name    pai.StorageName
	handle  unique.Handle[string]
	version unique.Handle[string]
	scope   orderScope
	facts   func() doctor.Storage // what is known about it, found out once
	made    uint64                // the generation of the storages, or an earlier one, that the facts are of
}

func (c *Cluster) columns() []column {
	var out []column
	for _, name := range c.orders.names() {
		if x, ok := c.column(pai.StorageName(name)); ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b column) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return out
}

func (c *Cluster) column(name pai.StorageName) (column, bool) {
	o, ok := c.orders.get(string(name))
	if !ok {
		return column{}, false
	}
	var facts *doctor.Storage
	return column{made: c.StoragesGeneration(), name: name, handle: unique.Make(string(name)), version: unique.Make(o.version), scope: o.orderScope, facts: func() doctor.Storage {
		if facts == nil {
			s := c.storageFacts(specs.KeptMount{Storage: name})
			facts = &s
		}
		return *facts
	}}, true
}

// workers are the nodes that have the role of a worker, and those with an agent; all nodes where nobody has either.
func (c *Cluster) workers() []node {
	all := c.nodes.all()
	workers := slices.DeleteFunc(slices.Clone(all), func(n node) bool {
		_, reports := c.reports.get(n.name)
		return !n.worker && !reports
	})
	if len(workers) == 0 {
		return all
	}
	return workers
}

// Readiness is the matrix. The guard decides who may.
func (c *Cluster) Readiness(_ context.Context, q pai.ReadinessQuery) (iter.Seq[pai.NodeReadiness], error) {
	columns, workers, now := c.columns(), c.workers(), c.now()
	if q.Storage != "" {
		columns = slices.DeleteFunc(columns, func(s column) bool { return s.name != q.Storage })
	}
	return func(yield func(pai.NodeReadiness) bool) {
		for _, n := range workers {
			if (q.Node == "" || n.name == q.Node) && !yield(c.row(n, columns, q, now)) {
				return
			}
		}
	}, nil
}

// row is one worker of the matrix.
func (c *Cluster) row(n node, columns []column, q pai.ReadinessQuery, now time.Time) pai.NodeReadiness {
	r := c.reported(n.name)
	x := pai.NodeReadiness{Node: n.name, Ready: n.fact.Ready, CanMount: map[pai.StorageType]bool{}, Reported: r.at}
	for t := range n.fact.CanMount {
		x.CanMount[t] = true
	}
	for t := range n.fact.CannotMount {
		x.CanMount[t] = false
	}
	x.Missing = missing(n, r, now)
	if !q.Summary && q.State == "" {
		x.Cells = make([]pai.Cell, 0, len(columns))
	}
	var count pai.CellCounts
	quiet, rest := !n.fact.Ready || silent(&n, &r, now), r.results
	for i := range columns {
		s := &columns[i]
		for len(rest) > 0 && rest[0].storage != s.handle && rest[0].storage.Value() < string(s.name) {
			rest = rest[1:] // both are sorted
		}
		var found *checkResult
		if len(rest) > 0 && rest[0].storage == s.handle {
			found = &rest[0]
		}
		state, ok := s.state(n.name, quiet, &r, found)
		if !ok || (q.State != "" && state != q.State) {
			continue
		}
		count.Add(state)
		if !q.Summary {
			x.Cells = append(x.Cells, c.cell(n.name, s, state, found))
		}
	}
	x.Counts = count
	return x
}

// missing is what a worker lacks, whatever storages there are.
func missing(n node, r report, now time.Time) []pai.Finding {
	var out []pai.Finding
	if !r.at.IsZero() && !r.facts.Unknown {
		out = doctor.Lacks(n.name, facts(r))
	}
	if silent(&n, &r, now) && n.fact.Ready {
		out = append(out, doctor.Silent(n.name, r.at))
	}
	for _, m := range r.mounts {
		switch {
		case m.Lost:
			out = append(out, doctor.LostFiles(n.name, m.Volume.Source, doctor.Check{Pending: m.Pending, Files: m.Files, At: r.at}))
		case m.Alive && m.Fault != "" && m.Pending > 0:
			out = append(out, doctor.UploadsFail(n.name, m.Volume.Source, doctor.Check{Message: m.Fault, Pending: m.Pending, Files: m.Files, At: r.at}))
		case !m.Alive:
			out = append(out, doctor.DeadMount(n.name, m.Volume.Source, doctor.Check{Pending: m.Pending, Files: m.Files, At: r.at}))
		}
	}
	return out
}

// StorageHealth is one column. The guard decides who may. NoStorageError.
func (c *Cluster) StorageHealth(ctx context.Context, name pai.StorageName) (pai.StorageHealth, error) {
	if _, err := c.Storage(ctx, name); err != nil {
		return pai.StorageHealth{}, err
	}
	out := pai.StorageHealth{Storage: name}
	s, ok := c.column(name)
	if !ok {
		return out, nil
	}
	now := c.now()
	for _, n := range c.workers() {
		r := c.reported(n.name)
		found := r.result(s.handle)
		if state, ok := s.state(n.name, !n.fact.Ready || silent(&n, &r, now), &r, found); ok {
			out.Cells = append(out.Cells, c.cell(n.name, &s, state, found))
		}
	}
	return out, nil
}

// reported is what a worker's agent said last; the zero one when it never has.
func (c *Cluster) reported(node string) report {
	r, _ := c.reports.get(node)
	return r
}

// silent tells whether nobody speaks for a worker any more, or nobody ever has: an agent speaks soon after its worker joins.
func silent(n *node, r *report, now time.Time) bool {
	last := r.at
	if last.IsZero() {
		last = n.created
	}
	return now.Sub(last) > silentAfter
}

// state is that of the storage on one worker, of which nobody speaks any more when it is quiet; not ok for storages that other workers alone
// can use.
func (s *column) state(node string, quiet bool, r *report, found *checkResult) (state pai.CellState, ok bool) {
	switch {
	case len(s.scope.Nodes) > 0 && !slices.Contains(s.scope.Nodes, node):
		return "", false
	case quiet: // who waits for a word from there waits in vain
		return pai.CellStale, true
	case found == nil || found.version != s.version:
		return pai.CellPending, true
	case r.overdue(found): // its worker speaks, and does not get to it
		return pai.CellStale, true
	case found.unchecked:
		return pai.CellUnchecked, true
	case found.ok && s.scope.Unmounted != "":
		return pai.CellUnchecked, true
	case found.ok:
		return pai.CellOK, true
	}
	return pai.CellFailed, true
}

// cell puts together what is known about one storage on one worker.
func (c *Cluster) cell(node string, s *column, state pai.CellState, x *checkResult) pai.Cell {
	out := pai.Cell{Node: node, Storage: s.name, State: state, Free: -1, Size: -1}
	if x == nil || x.version != s.version {
		return out
	}
	out.At, out.Latency, out.Free, out.Size = time.UnixMilli(x.at), time.Duration(x.latency)*time.Millisecond, x.free, x.size
	if state == pai.CellUnchecked {
		out.Note = s.scope.Unmounted
		if x.unchecked {
			out.Note = x.message.Value()
		}
	}
	if state == pai.CellOK && x.writeDenied && !c.personal(s.name) {
		out.Note = readableOnly
	}
	if state == pai.CellFailed {
		out.Finding = c.verdicts.verdict(said{s.handle, x.message}, s.facts, s.made, node, out.At)
	}
	return out
}

// readableOnly is said of a storage that nothing declares to be read-only, and into which a worker's root may not write: who may write there,
// such as users in folders of their own, cannot be seen from the worker.
const readableOnly = "readable; the check may not write"

// personal tells whether each user has a folder of a storage: nobody else needs to write beside them, least of all a worker's root.
func (c *Cluster) personal(name pai.StorageName) bool {
	cl, ok := c.claims.get(string(name))
	return ok && !cl.share
}

// facts are what the doctor wants to know of a worker's report.
func facts(r report) doctor.Equipment {
	return doctor.Equipment{Helpers: r.facts.Helpers, Modules: r.facts.Modules, FUSE: r.facts.FUSE, Flex: r.facts.Flex, CSI: r.facts.CSI}
}
