package docrun_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/docrun"
)

// page uses ~~~ for the fences, which cannot stand in here.
func page(lines ...string) string { return strings.ReplaceAll(strings.Join(lines, "\n"), "~~~", "```") }

func TestParse(t *testing.T) {
	got, err := docrun.Parse(page("# Title", "Save as `a.yaml`:", "", "~~~yaml", "kind: X", "", "at: $SERVER", "~~~", "Then:", "~~~sh", "one", "two", "~~~",
		"~~~yaml", "left: alone", "~~~", "<!-- not run: it takes Windows -->", "~~~sh", "never", "~~~",
		"  - a list", "    ~~~console", "    $ ls \\", "      -l", "    a  b", "    …", "    $ false", "    [exit status 1]", "    ~~~"))
	if err != nil {
		t.Fatal(err)
	}
	want := []docrun.Step{
		{Line: 4, File: "a.yaml", Text: "kind: X\n\nat: $SERVER\n"},
		{Line: 10, Text: "one\ntwo\n"},
		{Line: 23, Text: "ls \\\n  -l\n", Session: true, Want: []string{"a  b", "…"}},
		{Line: 27, Text: "false\n", Session: true, Status: 1, Want: []string{}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := docrun.Variables(append(got, docrun.Step{Text: "X=1 echo $X $Y_2 $lower $web"})); !slices.Equal(got, []string{"SERVER", "Y_2"}) {
		t.Errorf("variables %v", got)
	}
}

func TestParseFaults(t *testing.T) {
	for text, want := range map[string]string{
		page("x", "~~~sh", "y"):                         "line 2: the block does not end",
		page("~~~console", "output first", "~~~"):       `line 2: a session begins with "$ "`,
		page("~~~console", "$ ls \\", "~~~", "more"):    "line 2: the command does not end",
		page("~~~console", "$ a", "x", "~~~", "~~~sh"):  "line 5: the block does not end",
		page("Save as `../x`:", "~~~console", "x~~~"):   "line 2: the block does not end",
		page("~~~console", "", "$ blank first", "~~~"):  "line 2: a session",
		page("Save as `/etc/x`:", "~~~console", "~~~x"): "line 2: the block does not end",
	} {
		if _, err := docrun.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, said string
		matches    bool
	}{
		{"", "", true},
		{"", "x\n", false},
		{"a", "", false},
		{"a   b", "a b\n", true},
		{"a", "a\nb\n", false},
		{"a\n…", "a\nb\nc\n", true},
		{"a\n…", "a\n", true},
		{"…\nc", "a\nb\nc\n", true},
		{"…\nd", "a\nb\nc\n", false},
		{"volume …, ready", "volume x-pv, ready\n", true},
		{"volume …, ready", "volume x\n-pv, ready\n", false},
		{"a.c", "abc\n", false},
	} {
		var want []string
		if c.want != "" {
			want = strings.Split(c.want, "\n")
		}
		if got := docrun.Matches(want, c.said); got != c.matches {
			t.Errorf("%q and %q: %v", c.want, c.said, got)
		}
	}
}

func TestRun(t *testing.T) {
	run := func(lines ...string) (string, error) {
		steps, err := docrun.Parse(page(lines...))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		err = docrun.Runner{Dir: dir, Variables: map[string]string{"SERVER": "10.0.0.1"}}.Run(t.Context(), steps)
		text, _ := os.ReadFile(filepath.Join(dir, "f.yaml"))
		return string(text), err
	}
	text, err := run("Save as `f.yaml`:", "~~~yaml", "server: $SERVER", "path: $OTHER", "~~~", "~~~sh", "echo more >> f.yaml", "~~~",
		"~~~console", "$ tail -n 1 f.yaml", "more", "$ echo $SERVER; exit 3", "10.…", "[exit status 3]", "~~~")
	if err != nil || text != "server: 10.0.0.1\npath: $OTHER\nmore\n" {
		t.Errorf("got %q, %v", text, err)
	}
	for _, c := range [][]string{
		{"~~~sh", "false", "true", "~~~"},
		{"~~~sh", "true", "~~~", "~~~console", "$ echo a", "b", "~~~"},
		{"~~~console", "$ exit 2", "[exit status 1]", "~~~"},
		{"~~~console", "$ true", "[exit status 1]", "~~~"},
		{"~~~sh", "no-such-program-anywhere", "~~~"},
	} {
		if _, err := run(c...); err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%q: got %v", c, err)
		}
	}
}
