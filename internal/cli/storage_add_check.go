package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/plural"
)

// workerCheck waits for what workers say about a storage that was just granted: they mount it to see.
type workerCheck struct {
	progress io.Writer
	interval time.Duration // between two questions
	timeout  time.Duration
	workers  func(context.Context) ([]client.NodeReadiness, error)
	health   func(context.Context, pai.StorageName) (client.StorageHealth, error)
}

// workersOf asks for the workers, without what each can mount.
func workersOf(c *client.Client) func(context.Context) ([]client.NodeReadiness, error) {
	return func(ctx context.Context) ([]client.NodeReadiness, error) {
		return c.Readiness(ctx, client.ReadinessQuery{Summary: true})
	}
}

// checkedStorage is what they said.
type checkedStorage struct {
	Checked   bool          `json:"checked"`        // false: nobody looks
	OK        []string      `json:"ok"`             // workers that can use it
	Unchecked []string      `json:"unchecked"`      // those that have what it takes, and did not mount it
	Note      string        `json:"note,omitempty"` // why they did not
	Failed    []client.Cell `json:"failed"`         // those that cannot, and why
	Unknown   []string      `json:"unknown"`        // those that have not said in time
	wait      time.Duration
}

// run asks until every worker has said something.
func (w workerCheck) run(run context.Context, name pai.StorageName) (checkedStorage, error) {
	ctx, cancel := context.WithTimeout(run, w.timeout)
	defer cancel()
	nodes, err := w.workers(ctx)
	agents := slices.ContainsFunc(nodes, func(n client.NodeReadiness) bool { return n.Reported != nil })
	if pai.CodeOf(err) == pai.NoApiError || (err == nil && !agents) {
		return checkedStorage{}, nil
	}
	out, said := checkedStorage{Checked: true, wait: w.timeout}, -1
	for err == nil {
		var h client.StorageHealth
		if h, err = w.health(ctx, name); err != nil {
			break
		}
		out.sort(h)
		if len(out.Unknown) == 0 && len(h.Cells) > 0 {
			return out, nil
		}
		if done := len(h.Cells) - len(out.Unknown); done != said {
			said = done
			fmt.Fprintf(w.progress, "... checked on %d of %s\n", done, plural.Of(len(h.Cells), "worker"))
		}
		select {
		case <-time.After(w.interval):
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if run.Err() != nil {
		err = context.Cause(run)
	} else if ctx.Err() != nil && said >= 0 {
		return out, nil
	}
	return out, fmt.Errorf("storage %s is declared and granted, but not checked: %w; see: paictl storage check %s", name, err, name)
}

// sort puts each worker where it belongs.
func (c *checkedStorage) sort(h client.StorageHealth) {
	c.OK, c.Unchecked, c.Failed, c.Unknown = []string{}, []string{}, []client.Cell{}, []string{}
	for _, cell := range h.Cells {
		switch cell.State {
		case pai.CellOK:
			c.OK = append(c.OK, cell.Node)
		case pai.CellUnchecked:
			c.Unchecked, c.Note = append(c.Unchecked, cell.Node), cell.Note
		case pai.CellFailed:
			c.Failed = append(c.Failed, cell)
		default:
			c.Unknown = append(c.Unknown, cell.Node)
		}
	}
}

// workers is for how many workers the storage is.
func (c checkedStorage) workers() int {
	return len(c.OK) + len(c.Unchecked) + len(c.Failed) + len(c.Unknown)
}

// print says it in one line, and in one more for each worker that cannot use the storage.
func (c checkedStorage) print(w io.Writer, name string) error {
	if !c.Checked {
		_, err := fmt.Fprintln(w, "not checked: no worker has a node agent; start it with: paictl service start -n node-agent")
		return err
	}
	all := c.workers()
	line := fmt.Sprintf("checked: %d of %s can use it", len(c.OK), plural.Of(all, "worker"))
	if len(c.Unchecked) > 0 {
		line += fmt.Sprintf("; not mounted on %d: %s", len(c.Unchecked), c.Note)
	}
	if len(c.Unknown) > 0 {
		line += fmt.Sprintf("; %s said nothing within %s, see: paictl storage check %s", strings.Join(c.Unknown, ", "), c.wait, name)
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	for _, cell := range c.Failed {
		why := "it cannot be used there"
		if cell.Finding != nil {
			why = cell.Finding.Line
		}
		if _, err := fmt.Fprintf(w, "  %s: %s\n", cell.Node, why); err != nil {
			return err
		}
	}
	return nil
}

// err is why the command fails although the storage is there.
func (c checkedStorage) err(name string) error {
	if len(c.Failed) == 0 {
		return nil
	}
	return fmt.Errorf("storage %s is declared and granted, and %d of %s cannot use it; mend it, then: paictl storage check %s", name, len(c.Failed), plural.Of(c.workers(), "worker"), name)
}
