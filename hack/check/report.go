package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// event is one line of "go test -json" (go doc test2json).
type event struct {
	Action     string // run, output, pass, fail, skip, build-output, build-fail, ...
	Package    string
	ImportPath string  // of what was built, for build-output
	Test       string  // "" for the package as a whole
	Elapsed    float64 // seconds
	Output     string
}

// testRun is one call of go test.
type testRun struct {
	stage    string
	dir      string // of the module
	env      []string
	args     []string
	packages []string
	live     bool // what tests say is shown as they say it, not only when they fail
}

// report collects what stages cost and what failed.
type report struct {
	out     io.Writer
	began   time.Time
	rows    []row
	timings []timed
	faults  []fault
	failed  string // the stage
}

type row struct {
	stage string
	took  time.Duration
	note  string
}

// timed is a test, without its subtests, and how long it took.
type timed struct {
	name string // package and test
	took time.Duration
}

// fault is a test, or a package, that failed.
type fault struct {
	pkg, test string
	said      string
	alone     string // the command that runs it alone
}

func newReport(out io.Writer) *report { return &report{out: out, began: time.Now()} }

// step runs a part of a stage and keeps how long it took.
func (r *report) step(name string, do func() error) error {
	fmt.Fprintf(r.out, "== %s\n", name)
	began := time.Now()
	err := do()
	r.rows = append(r.rows, row{stage: name, took: time.Since(began)})
	return err
}

func (r *report) fail(stage string) { r.failed = stage }

// tests runs go test, shows what it says, and keeps what each test cost.
func (r *report) tests(ctx context.Context, t testRun) error {
	var packages, cached int
	err := r.step(t.stage, func() error {
		c := command(ctx, t.dir, t.env, append(append([]string{"go", "test", "-json"}, t.args...), t.packages...)...)
		c.Stdout = nil
		out, err := c.StdoutPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		packages, cached = r.read(out, t)
		return c.Wait()
	})
	last := &r.rows[len(r.rows)-1]
	if last.note = fmt.Sprintf("%d packages", packages); packages == 1 {
		last.note = "1 package"
	}
	if cached > 0 {
		last.note += fmt.Sprintf(", %d of them passed before as they are", cached)
	}
	return err
}

// read follows the events of go test.
func (r *report) read(from io.Reader, t testRun) (packages, cached int) {
	said := map[string]*strings.Builder{} // by package and test
	of := func(key string) *strings.Builder {
		if said[key] == nil {
			said[key] = &strings.Builder{}
		}
		return said[key]
	}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(r.out, lines.Text()) // what is no event is somebody's word
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "build-output":
			fmt.Fprint(r.out, e.Output)
			of(strings.Fields(e.ImportPath + " ?")[0] + " ").WriteString(e.Output)
		case "output":
			if t.live || e.Test == "" && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL\t")) {
				fmt.Fprint(r.out, e.Output)
			}
			if e.Test == "" && strings.HasSuffix(e.Output, "\t(cached)\n") {
				cached++
			}
			if !noise(e.Output) {
				of(key).WriteString(e.Output)
			}
		case "pass", "skip", "fail":
			if e.Test == "" {
				packages++
			} else if !strings.Contains(e.Test, "/") || t.live {
				r.timings = append(r.timings, timed{short(e.Package) + " " + e.Test, time.Duration(e.Elapsed * float64(time.Second))})
			}
			if e.Action == "fail" {
				r.fault(e, t, of(key).String())
			}
			delete(said, key)
		}
	}
	return packages, cached
}

// noise is what go test says of each test besides what the test says.
func noise(line string) bool {
	line = strings.TrimSpace(line)
	return line == "PASS" || line == "FAIL" || slices.ContainsFunc([]string{"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME "}, func(p string) bool { return strings.HasPrefix(line+" ", p) })
}

// fault keeps what failed: the innermost test that said why, or the package that could not be built or ended at once.
func (r *report) fault(e event, t testRun, said string) {
	inner := func(f fault) bool {
		return f.pkg == e.Package && (e.Test == "" || strings.HasPrefix(f.test, e.Test+"/"))
	}
	if slices.ContainsFunc(r.faults, inner) && !tells(said, e.Test) {
		return
	}
	r.faults = append(r.faults, fault{e.Package, e.Test, said, alone(e, t)})
	if !t.live {
		fmt.Fprint(r.out, said)
	}
}

// tells reports whether a test that has failed says more than that it failed.
func tells(said, test string) bool {
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "--- FAIL: "+test) && !strings.HasPrefix(line, "FAIL\t") && !strings.HasPrefix(line, "exit status") {
			return true
		}
	}
	return false
}

// alone is the command that runs a test alone.
func alone(e event, t testRun) string {
	pattern := ""
	if e.Test != "" {
		var parts []string
		for part := range strings.SplitSeq(e.Test, "/") {
			parts = append(parts, "^"+part+"$$") // make halves the dollar signs
		}
		pattern = " RUN='" + strings.Join(parts, "/") + "'"
	}
	if t.stage == "system" {
		return "make system" + pattern
	}
	return "make test PKG=./" + short(e.Package) + pattern
}

// short is a package's place in the repository.
func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/pai-storage/pai-storage/")
}

// slowest is how many tests the report names.
const slowest = 5

func (r *report) print() {
	for _, f := range r.faults {
		fmt.Fprintf(r.out, "\nFAILED  %s %s\n%s        alone: %s\n", short(f.pkg), f.test, tail(f.said, 40), f.alone)
	}
	width := len("all")
	for _, x := range r.rows {
		width = max(width, len(x.stage))
	}
	fmt.Fprintf(r.out, "\n%-*s  seconds\n", width, "stage")
	for _, x := range r.rows {
		fmt.Fprintf(r.out, "%-*s  %7.1f  %s\n", width, x.stage, x.took.Seconds(), x.note)
	}
	fmt.Fprintf(r.out, "%-*s  %7.1f\n", width, "all", time.Since(r.began).Seconds())
	slices.SortFunc(r.timings, func(a, b timed) int { return cmp.Compare(b.took, a.took) })
	if len(r.timings) > 0 {
		fmt.Fprintln(r.out, "\nthe slowest tests")
	}
	for _, x := range r.timings[:min(slowest, len(r.timings))] {
		fmt.Fprintf(r.out, "  %7.1f  %s\n", x.took.Seconds(), x.name)
	}
	if r.failed != "" {
		fmt.Fprintf(r.out, "\n%s: failed\n", r.failed)
	}
}

// tail is the end of a text: so many lines.
func tail(text string, lines int) string {
	all := slices.Collect(strings.Lines(text))
	if len(all) > lines {
		all = append([]string{fmt.Sprintf("[%d lines more above]\n", len(all)-lines)}, all[len(all)-lines:]...)
	}
	if out := strings.Join(all, ""); out == "" || strings.HasSuffix(out, "\n") {
		return out
	}
	return strings.Join(all, "") + "\n"
}
