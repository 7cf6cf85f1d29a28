package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

// cellStates in the order in which counts of them are told.
var cellStates = []pai.CellState{pai.CellOK, pai.CellUnchecked, pai.CellFailed, pai.CellPending, pai.CellStale}

// countsText says how many cells are in each state, without those that none is in.
func countsText(counts map[pai.CellState]int) string {
	var parts []string
	for _, state := range cellStates {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return strings.Join(parts, ", ")
}

// cellColours are those of the words for states.
var cellColours = map[string]term.Colour{
	string(pai.CellOK): term.Green, string(pai.CellUnchecked): term.Yellow, string(pai.CellFailed): term.Red, string(pai.CellPending): term.Yellow, string(pai.CellStale): term.Yellow,
}

// faultsShown is how many failed cells are told one by one: a server that is down fails on every worker.
const faultsShown = 20

// printFaults tells why cells failed, and what mends it; more is the command that tells those that are left out, by the first of them.
func printFaults(w io.Writer, now time.Time, cells []client.Cell, more func(client.Cell) string) error {
	failed := slices.DeleteFunc(slices.Clone(cells), func(c client.Cell) bool { return c.State != pai.CellFailed })
	for _, c := range failed[:min(len(failed), faultsShown)] {
		f := client.Finding{Message: "it cannot be used there, and the server does not know why"}
		if c.Finding != nil {
			f = *c.Finding
		}
		title := fmt.Sprintf("%s on %s", c.Storage, c.Node)
		if f.Code != "" {
			title += ": " + f.Code
		}
		if err := printFindingAs(w, title+": "+f.Message+seenText(now, c.At), f); err != nil {
			return err
		}
	}
	if left := len(failed) - faultsShown; left > 0 {
		_, err := fmt.Fprintf(w, "\nand %d more, see: %s\n", left, more(failed[faultsShown]))
		return err
	}
	return nil
}

func seenText(now time.Time, at *time.Time) string {
	if at == nil {
		return ""
	}
	return " (seen " + ageOf(now, at) + " ago)"
}

// ageOf says how long ago something was: 5s, 12m, 3h, 9d; "" for never.
func ageOf(now time.Time, at *time.Time) string {
	if at == nil {
		return ""
	}
	return age(now, *at)
}

// latencyText is how long a check took, "" when there was none.
func latencyText(c client.Cell) string {
	if c.At == nil || c.LatencySeconds <= 0 {
		return ""
	}
	return (time.Duration(c.LatencySeconds*1000) * time.Millisecond).String()
}

// freeText is how much room there is, "" when nobody knows.
func freeText(c client.Cell) string {
	switch {
	case c.At == nil || c.FreeBytes < 0:
		return ""
	case c.SizeBytes <= 0:
		return bytesText(uint64(c.FreeBytes))
	default:
		return bytesText(uint64(c.FreeBytes)) + " of " + bytesText(uint64(c.SizeBytes))
	}
}

// codeOf is the code of why a cell failed.
func codeOf(c client.Cell) string {
	if c.Finding == nil {
		return ""
	}
	return c.Finding.Code
}
