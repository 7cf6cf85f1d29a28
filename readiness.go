package pai

import (
	"context"
	"iter"
	"time"
)

// CellState says what is known about one storage on one worker.
type CellState string

// The states of a cell of the readiness matrix.
const (
	CellOK      CellState = "ok"      // it was mounted there, and could be used as it should
	CellFailed  CellState = "failed"  // it cannot be mounted or used there; the finding says why
	CellPending CellState = "pending" // nobody has looked yet
	// CellUnchecked: nothing was mounted, so that whether it can be used there is not known; the note says why.
	CellUnchecked CellState = "unchecked"
	CellStale     CellState = "stale" // what is known is too old to count: the worker's agent is silent, or did not get to the storage
)

// Cell is one storage on one worker, as the worker's agent saw it last.
type Cell struct {
	Node    string
	Storage StorageName
	State   CellState
	Finding *Finding      // why it failed; nil otherwise
	Note    string        // why it is unchecked, or what the check of one that is ok could not do; "" otherwise
	At      time.Time     // when the agent looked; zero when it has not
	Latency time.Duration // what mounting, reading or writing, and unmounting took
	Free    int64         // bytes; -1 when not known
	Size    int64         // bytes; -1 when not known
}

// NodeReadiness is what a worker can mount.
type NodeReadiness struct {
	Node     string
	Ready    bool                 // the worker, by Kubernetes' word
	Reported time.Time            // when its agent spoke last; zero when it never has
	CanMount map[StorageType]bool // what the agent found there; types that it did not look for are absent
	Missing  []Finding            // what the worker lacks, each with what mends it
	Counts   CellCounts           // of the chosen cells
	Cells    []Cell               // by storage, sorted by name; without those of storages that other workers alone can use; nil in a summary
}

// CellCounts is how many cells are in each state.
type CellCounts struct{ OK, Unchecked, Failed, Pending, Stale int }

// Add counts one more cell.
func (c *CellCounts) Add(state CellState) {
	switch state {
	case CellOK:
		c.OK++
	case CellUnchecked:
		c.Unchecked++
	case CellFailed:
		c.Failed++
	case CellPending:
		c.Pending++
	case CellStale:
		c.Stale++
	}
}

// ReadinessQuery chooses from the matrix. What is empty chooses everything.
type ReadinessQuery struct {
	Node    string
	Storage StorageName
	State   CellState
	Summary bool // only how many cells there are of each state, which costs little
}

// StorageHealth is one storage on every worker that it is for.
type StorageHealth struct {
	Storage StorageName
	Cells   []Cell // by worker, sorted by name
}

// Counts is how many cells it has of each state.
func (h StorageHealth) Counts() CellCounts {
	var counts CellCounts
	for _, c := range h.Cells {
		counts.Add(c.State)
	}
	return counts
}

// ReadinessService tells what workers can mount. It answers from memory.
type ReadinessService interface {
	// Readiness is the matrix, or what the query chooses of it, workers sorted by name. Each worker is worked out when its turn comes: the
	// whole matrix of a large cluster is nothing to have in memory. Administrators only: ForbiddenUserError for others.
	Readiness(ctx context.Context, q ReadinessQuery) (iter.Seq[NodeReadiness], error)

	// StorageHealth is one storage's column. NoStorageError when there is none of that name, ForbiddenUserError when the caller may not
	// see the storage, UnauthorizedUserError when nobody is signed in.
	StorageHealth(ctx context.Context, name StorageName) (StorageHealth, error)
}
