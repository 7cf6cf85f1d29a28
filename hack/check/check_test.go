package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pai-storage/pai-storage/"

// events are what go test -json prints.
func events(t *testing.T, all ...event) *bytes.Buffer {
	t.Helper()
	var out bytes.Buffer
	for _, e := range all {
		if err := json.NewEncoder(&out).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return &out
}

// TestReport: what failed is said once, where it is, with its words and the command that runs it alone.
func TestReport(t *testing.T) {
	const rest, agent, broken = module + "internal/rest", module + "internal/agent", module + "internal/broken"
	var out bytes.Buffer
	r := newReport(&out)
	r.step("unit", func() error {
		packages, cached := r.read(events(t,
			event{Action: "build-output", ImportPath: broken, Output: "broken.go:1: no\n"},
			event{Action: "output", Package: broken, Output: "FAIL\t" + broken + " [build failed]\n"},
			event{Action: "fail", Package: broken},
			event{Action: "output", Package: agent, Output: "ok  \t" + agent + "\t(cached)\n"},
			event{Action: "pass", Package: agent, Elapsed: 0.1},
			event{Action: "output", Package: rest, Test: "TestWho", Output: "=== RUN   TestWho\n"},
			event{Action: "output", Package: rest, Test: "TestWho/bob", Output: "    who_test.go:9: bob may\n"},
			event{Action: "output", Package: rest, Test: "TestWho/bob", Output: "    --- FAIL: TestWho/bob (0.02s)\n"},
			event{Action: "fail", Package: rest, Test: "TestWho/bob", Elapsed: 0.02},
			event{Action: "output", Package: rest, Test: "TestWho", Output: "--- FAIL: TestWho (0.03s)\n"},
			event{Action: "fail", Package: rest, Test: "TestWho", Elapsed: 0.03},
			event{Action: "pass", Package: rest, Test: "TestSlow", Elapsed: 7},
			event{Action: "output", Package: rest, Output: "FAIL\t" + rest + "\t8.1s\n"},
			event{Action: "fail", Package: rest, Elapsed: 8.1},
		), testRun{stage: "unit"})
		if packages != 3 || cached != 1 {
			t.Errorf("%d packages, %d cached", packages, cached)
		}
		return nil
	})
	r.fail("unit")
	r.print()
	text := out.String()
	for _, want := range []string{
		"ok  \t" + agent, "FAIL\t" + rest,
		"FAILED  internal/broken \nbroken.go:1: no\n",
		"FAILED  internal/rest TestWho/bob\n    who_test.go:9: bob may\n",
		"alone: make test PKG=./internal/rest RUN='^TestWho$$/^bob$$'\n",
		"the slowest tests\n      7.0  internal/rest TestSlow\n      0.0  internal/rest TestWho\n",
		"\nunit: failed\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "FAILED  "); n != 2 {
		t.Errorf("%d faults are told, want 2:\n%s", n, text)
	}
	if r.failed == "" {
		t.Error("the run has not failed")
	}
}

// TestPackageEndsAtOnce: a program that ends without a word about a test is a fault of the package.
func TestPackageEndsAtOnce(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	r.read(events(t,
		event{Action: "output", Package: module + "test/system", Test: "TestSystem", Output: "=== RUN   TestSystem\n"},
		event{Action: "output", Package: module + "test/system", Output: "panic: test timed out\n"},
		event{Action: "fail", Package: module + "test/system", Elapsed: 8.1},
	), testRun{stage: "system", live: true})
	if len(r.faults) != 1 || !strings.Contains(r.faults[0].said, "timed out") || r.faults[0].alone != "make system" {
		t.Errorf("faults: %+v", r.faults)
	}
}

// TestStages: they run in their order until one fails, whose name ends the report; a stage that nobody knows is refused.
func TestStages(t *testing.T) {
	if _, err := parse([]string{"unit", "-pkg", "./internal/rest", "untit"}); err == nil || !strings.Contains(err.Error(), "untit") {
		t.Errorf("an unknown stage: %v", err)
	}
	o, err := parse([]string{"unit", "-run", "TestWho", "-pkg", "./internal/rest", "system"})
	if err != nil || o.pkg != "./internal/rest" || o.run != "TestWho" || !slices.Equal(o.stages, []string{"unit", "system"}) {
		t.Fatalf("%+v, %v", o, err)
	}
	var ran []string
	old := stages
	defer func() { stages = old }()
	stages = map[string]func(context.Context, options, *report) error{}
	for _, name := range []string{"unit", "system"} {
		stages[name] = func(context.Context, options, *report) error {
			ran = append(ran, name)
			return errors.New(name + " is broken")
		}
	}
	var out bytes.Buffer
	if runAll(t.Context(), o, newReport(&out)) || !slices.Equal(ran, []string{"unit"}) || !regexp.MustCompile(`(?s)unit is broken.*unit: failed\n$`).Match(out.Bytes()) {
		t.Errorf("ran %v: %s", ran, &out)
	}
}

func TestTail(t *testing.T) {
	if got := tail("a\nb\nc", 2); got != "[1 lines more above]\nb\nc\n" {
		t.Errorf("got %q", got)
	}
	if got := fmt.Sprint(tail("", 2), tail("a\n", 2)); got != "a\n" {
		t.Errorf("got %q", got)
	}
}

func TestClusters(t *testing.T) {
	dir := t.TempDir()
	for pid, cmdline := range map[string]string{
		"7":  "/bin/paictl\x00supervise\x00--state-dir\x00/var/lib/mine\x00",
		"8":  "/bin/paictl\x00up\x00",
		"9":  "",
		"10": "vi\x00supervise\x00--state-dir\x00",
	} {
		if err := os.MkdirAll(filepath.Join(dir, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, pid, "cmdline"), []byte(cmdline), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := clusters(dir); !slices.Equal(got, []string{"/var/lib/mine"}) {
		t.Errorf("clusters %q", got)
	}
}
