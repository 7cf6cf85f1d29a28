package client

import (
	"context"
	"net/http"
	"net/url"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Cell is one storage on one worker; see [pai.Cell].
type Cell struct {
	Node           string        `json:"node"`
	Storage        string        `json:"storage"`
	State          pai.CellState `json:"state"`
	Finding        *Finding      `json:"finding,omitempty"` // why it failed
	Note           string        `json:"note,omitempty"`    // why it is unchecked, or what the check of one that is ok could not do
	At             *time.Time    `json:"at,omitempty"`      // when the worker looked; nil when it has not
	LatencySeconds float64       `json:"latencySeconds"`
	FreeBytes      int64         `json:"freeBytes"` // -1 when not known
	SizeBytes      int64         `json:"sizeBytes"` // -1 when not known
}

// StorageHealth is one storage on every worker that it is for.
type StorageHealth struct {
	Storage string                `json:"storage"`
	Counts  map[pai.CellState]int `json:"counts"`
	Cells   []Cell                `json:"cells"`
}

// StorageHealth tells how a storage is on each worker. NoApiError from servers that do not know.
func (c *Client) StorageHealth(ctx context.Context, name pai.StorageName) (out StorageHealth, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/storages/" + url.PathEscape(string(name)) + "/health"}, &out)
	return out, err
}

// NodeReadiness is what a worker can mount; see [pai.NodeReadiness].
type NodeReadiness struct {
	Node     string                   `json:"node"`
	Ready    bool                     `json:"ready"`
	Reported *time.Time               `json:"reported,omitempty"` // when its agent spoke last; nil when it never has
	CanMount map[pai.StorageType]bool `json:"canMount"`
	Missing  []Finding                `json:"missing"` // what the worker lacks
	Counts   map[pai.CellState]int    `json:"counts"`
	Cells    []Cell                   `json:"cells,omitzero"` // nil in summaries
}

// ReadinessQuery chooses from the matrix of workers and storages. What is empty chooses everything.
type ReadinessQuery struct {
	Node    string
	State   pai.CellState // only cells in it
	Summary bool          // no cells, only how many there are of each state
}

// Readiness tells what workers can mount, by name. Administrators only. NoApiError from servers that do not know.
func (c *Client) Readiness(ctx context.Context, q ReadinessQuery) ([]NodeReadiness, error) {
	query := url.Values{}
	for key, value := range map[string]string{"node": q.Node, "state": string(q.State)} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if q.Summary {
		query.Set("summary", "true")
	}
	var out struct {
		Nodes []NodeReadiness `json:"nodes"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/nodes/readiness", query: query}, &out)
	return out.Nodes, err
}
