package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

type storageCheckOptions struct {
	streams *Streams
	wait    bool
	timeout time.Duration
}

func newStorageCheck(s *Streams) *cobra.Command {
	o := &storageCheckOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "check STORAGE",
		Short: "Say on which workers a storage can be used, and why not on the others",
		Long: `Say on which workers a storage can be used: each worker mounts it now and then, reads or writes, and unmounts it. For
each worker that cannot, the reason follows with what mends it. Workers check the storages that a group holds.

The state is ok, unchecked (what mounts it is there, and nothing was mounted: it is said why), failed, pending (the worker has not
looked yet) or stale (the worker has said nothing for long). With --wait, wait until all have looked.

Exit status: 0 no worker failed, 1 one did, or not all looked in time, 2 wrong usage, 3 not signed in or not allowed, 4 no such storage.`,
		Example: `  paictl storage check nfs-storage
  paictl storage check nfs-storage --wait --timeout 2m
  paictl storage check nfs-storage --output json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, storageNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runStorageCheck(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().BoolVar(&o.wait, "wait", false, "wait until every worker has looked")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait")
	return cmd
}

func runStorageCheck(ctx context.Context, o *storageCheckOptions, cmd *cobra.Command, arg string) error {
	name, err := pai.ParseStorageName(arg)
	switch {
	case err != nil:
		return usageError{err}
	case o.timeout <= 0:
		return usageError{fmt.Errorf("--timeout %s: takes what is more than nothing", o.timeout)}
	}
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	var health client.StorageHealth
	var late error
	if o.wait {
		w := healthWait{live: term.NewLive(o.streams.Err), pause: sleep, health: c.StorageHealth, admin: t.admin}
		health, late, err = w.until(ctx, name, o.timeout)
	} else {
		health, err = c.StorageHealth(ctx, name)
	}
	if err != nil {
		return err
	}
	if health.Cells == nil {
		health.Cells = []client.Cell{}
	}
	err = printResult(o.streams, cmd, health, func() error { return printHealth(o.streams.Out, time.Now(), health, t.admin) })
	switch {
	case err != nil:
		return err
	case late != nil:
		return late
	case health.Counts[pai.CellFailed] > 0:
		return errSilent
	}
	return nil
}

// printHealth prints a line for each worker, and below why some cannot use the storage.
func printHealth(w io.Writer, now time.Time, h client.StorageHealth, admin bool) error {
	if len(h.Cells) == 0 {
		more := "; ask an administrator"
		if admin {
			more = ", see: paictl storage grant --help"
		}
		_, err := fmt.Fprintf(w, "no worker checks storage %s: workers check what a group holds%s\n", h.Storage, more)
		return err
	}
	var rows [][]string
	for _, c := range h.Cells {
		rows = append(rows, []string{c.Node, string(c.State), ageOf(now, c.At), latencyText(c), freeText(c), codeOf(c)})
	}
	header := []string{"NODE", "STATE", "AGE", "LATENCY", "FREE", "CODE"}
	if err := term.Table(term.ColourWords(w, cellColours), header, rows); err != nil {
		return err
	}
	if err := printNotes(w, h.Cells); err != nil {
		return err
	}
	return printFaults(w, now, h.Cells, func(client.Cell) string { return "paictl storage check " + h.Storage + " --output json" })
}

// printNotes prints what there is to say about cells that have not failed: each note once, with the workers that it is about.
func printNotes(w io.Writer, cells []client.Cell) error {
	var notes []string
	nodes := map[string][]string{}
	for _, c := range cells {
		if c.Note == "" {
			continue
		}
		note := string(c.State) + ": " + c.Note
		if nodes[note] == nil {
			notes = append(notes, note)
		}
		nodes[note] = append(nodes[note], c.Node)
	}
	for _, note := range notes {
		on := ""
		if len(nodes[note]) < len(cells) {
			on = " (" + clipList(nodes[note], faultsShown) + ")"
		}
		if _, err := fmt.Fprintf(w, "\n%s%s\n", note, on); err != nil {
			return err
		}
	}
	return nil
}

// clipList is at most so many names.
func clipList(names []string, most int) string {
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// healthWait waits until every worker has looked at a storage.
type healthWait struct {
	admin  bool // who waits
	live   *term.Live
	pause  func(context.Context, time.Duration) error
	health func(context.Context, pai.StorageName) (client.StorageHealth, error)
}

// until returns what the workers said, and as late why some did not in time.
func (w healthWait) until(ctx context.Context, name pai.StorageName, timeout time.Duration) (health client.StorageHealth, late, err error) {
	defer w.live.End()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s are over (--timeout)", timeout))
	defer cancel()
	pause, silent := firstPause, 0
	for {
		next, err := w.health(ctx, name)
		switch {
		case err == nil:
			health, silent = next, 0
			w.live.Set(firstOf(countsText(health.Counts), "no worker is to look at it yet"))
			if len(health.Cells) > 0 && health.Counts[pai.CellPending] == 0 {
				return health, nil, nil
			}
		case ctx.Err() != nil:
			return w.end(ctx, name, health)
		case !passing(err) || silent == patience:
			return health, nil, err
		default:
			silent++
			w.live.Set("the server does not answer; asking again")
		}
		if w.pause(ctx, pause) != nil {
			return w.end(ctx, name, health)
		}
		pause = min(pause*5/4, lastPause)
	}
}

// end says why the waiting ended although workers have not looked.
func (w healthWait) end(ctx context.Context, name pai.StorageName, h client.StorageHealth) (client.StorageHealth, error, error) {
	var waiting []string
	for _, c := range h.Cells {
		if c.State == pai.CellPending {
			waiting = append(waiting, c.Node)
		}
	}
	switch {
	case h.Storage == "": // not one answer
		return h, nil, context.Cause(ctx)
	case len(h.Cells) == 0 && !w.admin:
		return h, fmt.Errorf("no worker is to look at storage %s: ask an administrator: %w", name, context.Cause(ctx)), nil
	case len(h.Cells) == 0:
		return h, fmt.Errorf("no worker is to look at storage %s: grant it to a group (paictl storage grant GROUP %s), and start the workers' agents (paictl service start -n node-agent): %w",
			name, name, context.Cause(ctx)), nil
	}
	if !w.admin {
		return h, fmt.Errorf("%s have not looked at storage %s: %w", few(waiting), name, context.Cause(ctx)), nil
	}
	return h, fmt.Errorf("%s have not looked at storage %s: %w; see how their agents are: paictl service status -n node-agent",
		few(waiting), name, context.Cause(ctx)), nil
}

// few names some of many.
func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
