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

func newNodeList(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the workers and what each can mount (administrators)",
		Long: `List the workers: whether Kubernetes calls them ready, how long ago their agent spoke, which types of storages they can
mount and which not, on how many storages their check failed, and the codes of what else is wrong
with them.

Exit status: 0 also when checks failed, 3 not signed in or no administrator.`,
		Example: `  paictl node list
  paictl node list --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runNodeList(cmd.Context(), s, cmd) },
	}
}

func runNodeList(ctx context.Context, s *Streams, cmd *cobra.Command) error {
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	nodes, err := c.Readiness(ctx, client.ReadinessQuery{Summary: true})
	if err != nil {
		return err
	}
	return printResult(s, cmd, map[string]any{"nodes": list(nodes)}, func() error { return printNodes(s.Out, time.Now(), nodes) })
}

// printNodes prints a line for each worker, and below where to read on.
func printNodes(w io.Writer, now time.Time, nodes []client.NodeReadiness) error {
	var rows [][]string
	for _, n := range nodes {
		can, cannot := mountable(n)
		rows = append(rows, []string{n.Node, yes(n.Ready), firstOf(ageOf(now, n.Reported), "never"), can, cannot,
			strconv.Itoa(n.Counts[pai.CellFailed]), strings.Join(codesOf(n.Missing), ", ")})
	}
	header := []string{"NODE", "READY", "AGENT", "CAN MOUNT", "CANNOT", "FAILED", "PROBLEMS"}
	if err := term.Table(w, header, rows); err != nil {
		return err
	}
	wrong := slices.DeleteFunc(slices.Clone(nodes), func(n client.NodeReadiness) bool { return len(n.Missing) == 0 })
	if len(wrong) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nwhat is wrong with a worker, and what mends it: paictl node check %s\n", term.Plain(wrong[0].Node))
	return err
}

// mountable are the types of storages that a worker can mount, and those that it cannot.
func mountable(n client.NodeReadiness) (can, cannot string) {
	var yes, no []string
	for _, t := range slices.Sorted(maps.Keys(n.CanMount)) {
		if n.CanMount[t] {
			yes = append(yes, string(t))
		} else {
			no = append(no, string(t))
		}
	}
	return strings.Join(yes, ","), strings.Join(no, ",")
}

func codesOf(findings []client.Finding) []string {
	codes := make([]string, len(findings))
	for i, f := range findings {
		codes[i] = f.Code
	}
	return codes
}

// list is a slice that is printed as [] when it is empty.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
