package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

func cell(node string, state pai.CellState) client.Cell {
	c := client.Cell{Node: node, State: state}
	if state == pai.CellFailed {
		c.Finding = &client.Finding{Line: "STO-302: " + node + " cannot; start it"}
	}
	return c
}

// TestWorkerCheck: what the workers say in turn, and what the command makes of it.
func TestWorkerCheck(t *testing.T) {
	spoken := time.Unix(1, 0)
	agents := []client.NodeReadiness{{Node: "worker1", Reported: &spoken}, {Node: "worker2"}}
	pending := []client.Cell{cell("worker1", pai.CellPending), cell("worker2", pai.CellPending)}
	for _, c := range []struct {
		name    string
		nodes   []client.NodeReadiness
		refused error
		said    [][]client.Cell // the last for ever
		want    string
		failure string
		steps   string
	}{
		{name: "refused", refused: pai.Errorf(pai.ForbiddenUserError, "no"), failure: "declared and granted, but not checked: no"},
		{name: "a server that does not know", refused: pai.Errorf(pai.NoApiError, "no such thing"), want: "not checked: no worker has a node agent; start it with: paictl service start -n node-agent\n"},
		{name: "no agents", nodes: agents[1:], want: "not checked: no worker has a node agent; start it with: paictl service start -n node-agent\n"},
		{name: "all well", nodes: agents, said: [][]client.Cell{{}, pending, {cell("worker1", pai.CellOK), cell("worker2", pai.CellPending)}, {cell("worker1", pai.CellOK), cell("worker2", pai.CellOK)}},
			want: "checked: 2 of 2 workers can use it\n", steps: "... checked on 0 of 0 workers\n... checked on 1 of 2 workers\n"},
		{name: "one cannot", nodes: agents, said: [][]client.Cell{{cell("worker1", pai.CellOK), cell("worker2", pai.CellFailed)}},
			want: "checked: 1 of 2 workers can use it\n  worker2: STO-302: worker2 cannot; start it\n", failure: "1 of 2 workers cannot use it; mend it, then: paictl storage check data"},
		{name: "not mounted", nodes: agents, said: [][]client.Cell{{{Node: "worker1", State: pai.CellUnchecked, Note: "its Secret is elsewhere"}, cell("worker2", pai.CellOK)}},
			want: "checked: 1 of 2 workers can use it; not mounted on 1: its Secret is elsewhere\n"},
		{name: "silence", nodes: agents, said: [][]client.Cell{{cell("worker1", pai.CellFailed), cell("worker2", pai.CellStale)}},
			want: "checked: 0 of 2 workers can use it; worker2 said nothing within 20ms, see: paictl storage check data\n  worker1: STO-302: worker1 cannot; start it\n", failure: "1 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var steps, out strings.Builder
			asked := 0
			check := workerCheck{progress: &steps, interval: time.Microsecond, timeout: time.Minute,
				workers: func(context.Context) ([]client.NodeReadiness, error) { return c.nodes, c.refused },
				health: func(context.Context, pai.StorageName) (client.StorageHealth, error) {
					cells := c.said[min(asked, len(c.said)-1)]
					asked++
					return client.StorageHealth{Cells: cells}, nil
				}}
			if c.name == "silence" {
				check.timeout = 20 * time.Millisecond
			}
			got, err := check.run(t.Context(), "data")
			if err == nil {
				err = errors.Join(got.print(&out, "data"), got.err("data"))
			}
			if out.String() != c.want || !strings.Contains(steps.String(), c.steps) {
				t.Errorf("got %q, steps %q, want %q, %q", out.String(), steps.String(), c.want, c.steps)
			}
			if (err != nil) != (c.failure != "") || (err != nil && !strings.Contains(err.Error(), c.failure)) {
				t.Errorf("got %v, want %q", err, c.failure)
			}
		})
	}
}

// TestWorkerCheckIsInterrupted: that is no silence of the workers.
func TestWorkerCheckIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	check := workerCheck{progress: io.Discard, interval: time.Minute, timeout: time.Hour,
		workers: func(context.Context) ([]client.NodeReadiness, error) {
			return []client.NodeReadiness{{Node: "worker1", Reported: new(time.Time)}}, nil
		},
		health: func(context.Context, pai.StorageName) (client.StorageHealth, error) {
			cancel(signalError(syscall.SIGINT))
			return client.StorageHealth{Cells: []client.Cell{cell("worker1", pai.CellPending)}}, nil
		}}
	_, err := check.run(ctx, "data")
	if statusOf(err) != 130 || err.Error() != "storage data is declared and granted, but not checked: interrupted; see: paictl storage check data" {
		t.Errorf("got %v", err)
	}
}
