package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// cell is one storage on one worker.
type cell struct {
	Node    string     `json:"node"`
	Storage string     `json:"storage"`
	State   string     `json:"state" enum:"ok,unchecked,failed,pending,stale" doc:"unchecked: what mounts it is there, and nothing was mounted; pending: nobody has looked yet; stale: what is known is too old to count"`
	Finding *finding   `json:"finding,omitempty" doc:"Why it failed"`
	Note    string     `json:"note,omitempty" doc:"Why it is unchecked, or what the check of one that is ok could not do"`
	At      *time.Time `json:"at,omitempty" doc:"When the worker looked; absent when it has not"`
	Latency float64    `json:"latencySeconds" doc:"What mounting, using and unmounting took"`
	Free    int64      `json:"freeBytes" doc:"-1 when not known"`
	Size    int64      `json:"sizeBytes" doc:"-1 when not known"`
}

func cellOf(c pai.Cell) cell {
	return cell{Node: c.Node, Storage: string(c.Storage), State: string(c.State), Finding: findingOf(c.Finding), Note: c.Note, At: instant(c.At),
		Latency: c.Latency.Seconds(), Free: c.Free, Size: c.Size}
}

// instant is a time that may be unknown.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// cells writes cells itself: there are hundreds of thousands of them, and most have no finding.
type cells []pai.Cell

// Schema is that of a list of cells.
func (cells) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[[]cell](), true, "Cells")
}

// MarshalJSON writes what a list of [cell] would be.
func (list cells) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+200*len(list))
	b = append(b, '[')
	for i, c := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(append(b, `{"node":`...), c.Node), `,"storage":`...) // names of objects have nothing to escape
		b = strconv.AppendQuote(b, string(c.Storage))
		b = strconv.AppendQuote(append(b, `,"state":`...), string(c.State))
		if c.Finding != nil {
			text, err := json.Marshal(findingOf(c.Finding))
			if err != nil {
				return nil, err
			}
			b = append(append(b, `,"finding":`...), text...)
		}
		if c.Note != "" {
			text, err := json.Marshal(c.Note)
			if err != nil {
				return nil, err
			}
			b = append(append(b, `,"note":`...), text...)
		}
		if !c.At.IsZero() {
			b = append(c.At.UTC().AppendFormat(append(b, `,"at":"`...), time.RFC3339Nano), '"')
		}
		b = strconv.AppendFloat(append(b, `,"latencySeconds":`...), c.Latency.Seconds(), 'f', -1, 64)
		b = strconv.AppendInt(append(b, `,"freeBytes":`...), c.Free, 10)
		b = append(strconv.AppendInt(append(b, `,"sizeBytes":`...), c.Size, 10), '}')
	}
	return append(b, ']'), nil
}

// counts are how many cells are in each state.
type counts struct {
	OK        int `json:"ok"`
	Unchecked int `json:"unchecked"`
	Failed    int `json:"failed"`
	Pending   int `json:"pending"`
	Stale     int `json:"stale"`
}

func countsOf(c pai.CellCounts) counts {
	return counts{OK: c.OK, Unchecked: c.Unchecked, Failed: c.Failed, Pending: c.Pending, Stale: c.Stale}
}

type nodeReadiness struct {
	Node     string          `json:"node"`
	Ready    bool            `json:"ready" doc:"By Kubernetes' word"`
	Reported *time.Time      `json:"reported,omitempty" doc:"When its agent spoke last; absent when it never has"`
	CanMount map[string]bool `json:"canMount" doc:"By type of storage, as its agent found"`
	Missing  []finding       `json:"missing" doc:"What the worker lacks"`
	Counts   counts          `json:"counts"`
	Cells    cells           `json:"cells,omitempty" doc:"Not in a summary"`
}

type readinessInput struct {
	Node    string `query:"node" doc:"This worker only"`
	Storage string `query:"storage" doc:"This storage only"`
	State   string `query:"state" enum:"ok,unchecked,failed,pending,stale," doc:"Cells in this state only"`
	Summary bool   `query:"summary" doc:"Counts, without cells"`
}

type readinessBody struct {
	Nodes []nodeReadiness `json:"nodes"`
}

type healthOutput struct {
	Body struct {
		Storage string `json:"storage"`
		Counts  counts `json:"counts"`
		Cells   []cell `json:"cells" doc:"One for each worker that the storage is for; empty for a storage that no group holds, which nobody checks"`
	}
}

func (s *Server) readinessOperations() {
	register(s, pai.Administrator, huma.Operation{
		OperationID: "getReadiness", Method: http.MethodGet, Path: prefix + "/nodes/readiness", Tags: []string{"readiness"},
		Summary: "What each worker can mount, and which storages it really did: the whole matrix. Administrators only.",
		Responses: map[string]*huma.Response{"200": {Description: "The workers", Content: map[string]*huma.MediaType{
			"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[readinessBody](), true, "Readiness")}}}},
	}, s.getReadiness)
	register(s, pai.Person, huma.Operation{
		OperationID: "getStorageHealth", Method: http.MethodGet, Path: prefix + "/storages/{storage}/health", Tags: []string{"readiness"},
		Summary: "How a storage is on each worker, for whoever may see it.",
	}, s.getStorageHealth)
}

// getReadiness writes worker by worker: the whole matrix of a large cluster is tens of megabytes.
func (s *Server) getReadiness(ctx context.Context, in *readinessInput) (*huma.StreamResponse, error) {
	nodes, err := s.services.Readiness.Readiness(ctx, pai.ReadinessQuery{Node: in.Node, Storage: pai.StorageName(in.Storage), State: pai.CellState(in.State), Summary: in.Summary})
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/json")
		hctx.SetStatus(http.StatusOK)
		out := listWriters.Get().(*bufio.Writer)
		defer listWriters.Put(out)
		out.Reset(hctx.BodyWriter())
		out.WriteString(`{"nodes":[`)
		separator := ""
		for n := range nodes {
			text, err := json.Marshal(nodeReadinessOf(n))
			if err != nil {
				s.options.Log.ErrorContext(ctx, "a worker's readiness cannot be written", "node", n.Node, "cause", err.Error())
				return // what is not complete is no JSON, so nobody takes it for an answer
			}
			out.WriteString(separator)
			if _, err := out.Write(text); err != nil {
				return // nobody reads any more
			}
			separator = ","
		}
		out.WriteString("]}\n")
		out.Flush()
	}}, nil
}

func nodeReadinessOf(n pai.NodeReadiness) nodeReadiness {
	x := nodeReadiness{Node: n.Node, Ready: n.Ready, Reported: instant(n.Reported), CanMount: map[string]bool{}, Missing: []finding{}, Counts: countsOf(n.Counts)}
	for t, can := range n.CanMount {
		x.CanMount[string(t)] = can
	}
	for _, f := range n.Missing {
		x.Missing = append(x.Missing, *findingOf(&f))
	}
	x.Cells = n.Cells
	return x
}

func (s *Server) getStorageHealth(ctx context.Context, in *storageInput) (*healthOutput, error) {
	health, err := s.services.Readiness.StorageHealth(ctx, pai.StorageName(in.Storage))
	if err != nil {
		return nil, err
	}
	out := &healthOutput{}
	out.Body.Storage, out.Body.Counts, out.Body.Cells = string(health.Storage), countsOf(health.Counts()), []cell{}
	for _, c := range health.Cells {
		out.Body.Cells = append(out.Body.Cells, cellOf(c))
	}
	return out, nil
}
