package kube

import (
	"strings"
	"sync"
	"time"
	"unique"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
)

// verdicts keeps what the doctor makes of the words of workers. A server that is down makes a thousand workers say the same about its
// storages, and reading it takes time.
type verdicts struct {
	mu         sync.Mutex
	generation uint64 // of the storages
	known      map[said]pai.Finding
}

// said is what some worker says about a storage.
type said struct{ storage, message unique.Handle[string] }

// mostVerdicts bounds the memory.
const mostVerdicts = 10_000

// anyNode stands in a verdict for the worker that it is about.
const anyNode = "the-node-in-question"

// verdict is why a worker cannot use a storage, in its own words. The storage is as it was at the generation, or later: what is known of a
// storage as it was before is nobody else's.
func (v *verdicts) verdict(what said, storage func() doctor.Storage, generation uint64, node string, at time.Time) *pai.Finding {
	v.mu.Lock()
	if v.known == nil || v.generation < generation || len(v.known) > mostVerdicts {
		v.known, v.generation = map[said]pai.Finding{}, generation
	}
	f, ok := v.known[what]
	ok = ok && v.generation == generation
	v.mu.Unlock()
	if !ok {
		f = doctor.Cell(storage(), anyNode, what.message.Value(), time.Time{})
		v.mu.Lock()
		if v.generation == generation { // else it may be about a storage as it was
			v.known[what] = f
		}
		v.mu.Unlock()
	}
	f.Object, f.Message, f.Fix = strings.ReplaceAll(f.Object, anyNode, node), strings.ReplaceAll(f.Message, anyNode, node), strings.ReplaceAll(f.Fix, anyNode, node)
	f.Since = at
	return &f
}
