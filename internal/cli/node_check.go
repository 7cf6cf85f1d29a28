package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

// matrixWorkers is for how many workers storages and workers are shown as a matrix; more do not fit in a line.
const matrixWorkers = 12

func newNodeCheck(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "check [NODE]",
		Short: "Say which storages each worker can use, and why not the others (administrators)",
		Long: `Say which storages each worker can use, or one worker: a matrix of the storages that groups hold and the workers, or where
those are many a line for each worker. What workers lack and why checks failed follows, each with what mends it.

Exit status: 0 no check failed, 1 one did, 3 not signed in or no administrator, 4 no such worker.`,
		Example: `  paictl node check
  paictl node check worker1
  paictl node check --output json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNames(1, nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			node := ""
			if len(args) > 0 {
				node = args[0]
			}
			return runNodeCheck(cmd.Context(), s, cmd, node)
		},
	}
}

func runNodeCheck(ctx context.Context, s *Streams, cmd *cobra.Command, node string) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	ask := c.Readiness
	if node == "" && outputFormat(cmd) == "table" {
		ask = func(ctx context.Context, _ client.ReadinessQuery) ([]client.NodeReadiness, error) {
			return shownReadiness(ctx, c)
		}
	}
	nodes, err := ask(ctx, client.ReadinessQuery{Node: node})
	if err != nil {
		return err
	}
	if node != "" && len(nodes) == 0 {
		return notFoundError{fmt.Errorf("there is no worker %s; see: paictl node list", node)}
	}
	if err := printResult(s, cmd, map[string]any{"nodes": list(nodes)}, func() error {
		return printMatrix(s.Out, time.Now(), nodes)
	}); err != nil {
		return err
	}
	if slices.ContainsFunc(nodes, func(n client.NodeReadiness) bool { return n.Counts[pai.CellFailed] > 0 }) {
		return errSilent
	}
	return nil
}

// shownReadiness asks for all workers, and where those are many for no more cells than are told: those that failed.
func shownReadiness(ctx context.Context, c *client.Client) ([]client.NodeReadiness, error) {
	summary, err := c.Readiness(ctx, client.ReadinessQuery{Summary: true})
	if err != nil {
		return nil, err
	}
	if len(summary) <= matrixWorkers {
		return c.Readiness(ctx, client.ReadinessQuery{})
	}
	failed, err := c.Readiness(ctx, client.ReadinessQuery{State: pai.CellFailed})
	cells := map[string][]client.Cell{}
	for _, n := range failed {
		cells[n.Node] = n.Cells
	}
	for i, n := range summary { // whose counts are those of all states
		summary[i].Cells = cells[n.Node]
	}
	return summary, err
}

// printMatrix prints which worker can use which storage, and why some cannot.
func printMatrix(w io.Writer, now time.Time, nodes []client.NodeReadiness) error {
	coloured := term.ColourWords(w, cellColours)
	var err error
	switch {
	case len(nodes) == 1:
		err = printWorker(coloured, now, nodes[0])
	case len(nodes) <= matrixWorkers:
		err = term.Table(coloured, matrixHeader(nodes), matrixRows(nodes))
	default:
		err = printCounts(w, now, nodes)
	}
	if err != nil {
		return err
	}
	var cells []client.Cell
	for _, n := range nodes {
		for _, f := range n.Missing {
			if err := printFinding(w, f); err != nil {
				return err
			}
		}
		cells = append(cells, n.Cells...)
	}
	return printFaults(w, now, cells, func(c client.Cell) string {
		return fmt.Sprintf("paictl node check %s, or paictl storage check %s", c.Node, c.Storage)
	})
}

func matrixHeader(nodes []client.NodeReadiness) []string {
	header := []string{"STORAGE"}
	for _, n := range nodes {
		header = append(header, n.Node)
	}
	return header
}

// matrixRows has a row for each storage, sorted by name, and a column for each worker; "-" where the storage is not for the worker.
func matrixRows(nodes []client.NodeReadiness) [][]string {
	states := map[string][]string{}
	for i, n := range nodes {
		for _, c := range n.Cells {
			if states[c.Storage] == nil {
				states[c.Storage] = slices.Repeat([]string{"-"}, len(nodes))
			}
			states[c.Storage][i] = string(c.State)
		}
	}
	var rows [][]string
	for _, storage := range slices.Sorted(maps.Keys(states)) {
		rows = append(rows, append([]string{storage}, states[storage]...))
	}
	return rows
}

// printWorker prints a line for each storage of one worker.
func printWorker(w io.Writer, now time.Time, n client.NodeReadiness) error {
	var rows [][]string
	for _, c := range n.Cells {
		rows = append(rows, []string{c.Storage, string(c.State), ageOf(now, c.At), latencyText(c), freeText(c), codeOf(c)})
	}
	return term.Table(w, []string{"STORAGE", "STATE", "AGE", "LATENCY", "FREE", "CODE"}, rows)
}

// printCounts prints a line for each of many workers.
func printCounts(w io.Writer, now time.Time, nodes []client.NodeReadiness) error {
	var rows [][]string
	for _, n := range nodes {
		row := []string{n.Node, yes(n.Ready), firstOf(ageOf(now, n.Reported), "never")}
		for _, state := range cellStates {
			row = append(row, strconv.Itoa(n.Counts[state]))
		}
		rows = append(rows, row)
	}
	header := []string{"NODE", "READY", "AGENT"}
	for _, state := range cellStates {
		header = append(header, strings.ToUpper(string(state)))
	}
	return term.Table(w, header, rows)
}

// nodeNames are those of all workers, for administrators.
func nodeNames(ctx context.Context, c *client.Client, t target, _ []string) ([]string, error) {
	if !t.admin {
		return nil, nil
	}
	nodes, err := c.Readiness(ctx, client.ReadinessQuery{Summary: true})
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Node
	}
	return names, err
}
