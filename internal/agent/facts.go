package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// lookAtMachine is the argument by which the agent's own program becomes the child that collects facts: any directory of the machine may be on
// a mount that hangs.
const lookAtMachine = "look-at-machine"

// factsDeadline is how long the child may take, which opens a few small files.
const factsDeadline = 10 * time.Second

// What the child writes: a line for each directory before it looks there, and at last the facts.
const (
	linePlace = "at "
	lineFacts = "facts "
)

// lookout collects facts in a child, so that a directory that does not answer holds up nothing else. One child at once: a second one would
// hang as well.
type lookout struct {
	machine  *machine
	deadline time.Duration
	stuck    *glance // a child that did not end in time; nil when it did
}

// glance is one child.
type glance struct {
	ended chan struct{}
	err   error // how it ended
	said  bytes.Buffer

	mu  sync.Mutex
	out bytes.Buffer
}

// Write takes what the child writes.
func (g *glance) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.Write(p)
}

// last is the content of the last whole line that begins so.
func (g *glance) last(prefix string) (content string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for line := range strings.Lines(g.out.String()) {
		if rest, ok := strings.CutPrefix(line, prefix); ok && strings.HasSuffix(line, "\n") {
			content = strings.TrimSuffix(rest, "\n")
		}
	}
	return content
}

// silent says which directory does not answer.
func (g *glance) silent() error {
	place := g.last(linePlace)
	if place == "" {
		place = "the machine"
	}
	return fmt.Errorf("%s does not answer: something that is mounted there hangs; what was known of this worker counts on", place)
}

// facts looks at the machine, with an error that names the directory when one does not answer in time.
func (l *lookout) facts(ctx context.Context) (storagecheck.Facts, error) {
	if l.stuck != nil {
		select {
		case <-l.stuck.ended:
			l.stuck = nil
		default:
			return storagecheck.Facts{}, l.stuck.silent()
		}
	}
	self, err := os.Executable()
	if err != nil {
		return storagecheck.Facts{}, err
	}
	g := &glance{ended: make(chan struct{})}
	child := exec.Command(self, lookAtMachine, l.machine.root, l.machine.proc, l.machine.flex)
	child.Stdout, child.Stderr = g, &g.said
	if err := child.Start(); err != nil {
		return storagecheck.Facts{}, err
	}
	go func() {
		g.err = child.Wait()
		close(g.ended)
	}()
	timer := time.NewTimer(l.deadline)
	defer timer.Stop()
	select {
	case <-g.ended:
		return g.facts()
	case <-timer.C:
		err = g.silent()
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = child.Process.Kill() // in vain while the kernel holds on to it
	l.stuck = g
	return storagecheck.Facts{}, err
}

// facts are those that the child found before it ended.
func (g *glance) facts() (f storagecheck.Facts, err error) {
	if g.err != nil {
		if text := strings.TrimSpace(g.said.String()); text != "" {
			return f, fmt.Errorf("look at the machine: %s", text)
		}
		return f, fmt.Errorf("look at the machine: %w", g.err)
	}
	if err := json.Unmarshal([]byte(g.last(lineFacts)), &f); err != nil {
		return f, fmt.Errorf("look at the machine: %w", err)
	}
	return f, nil
}

// lookAt is the child.
func lookAt(root, proc, flex string, stdout, stderr io.Writer) int {
	m := machine{root: root, proc: proc, flex: flex}
	m.at = func(dir string) { fmt.Fprintf(stdout, "%s%s\n", linePlace, dir) }
	f, err := m.facts()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	text, err := json.Marshal(f)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stdout, "%s%s\n", lineFacts, text)
	return 0
}
