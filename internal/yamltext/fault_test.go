package yamltext_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// TestTabs: of lines with tabs that follow each other, the first is told.
func TestTabs(t *testing.T) {
	got := yamltext.Tabs(strings.Split("a:\n\tb: 1\n\tc: 2\nd:\n  \te: 3\n\t\nf: a\tb\n", "\n"))
	if diff := cmp.Diff([]yamltext.Position{{Line: 2, Column: 1}, {Line: 5, Column: 3}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"name", "mountPath", "dockerImage"}
	for word, want := range map[string]string{"mountpath": "mountPath", "mount_path": "mountPath", "nmae": "name", "dockerimages": "dockerImage", "colour": "", "": ""} {
		if got := yamltext.Nearest(word, keys); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// TestRepeated: keys that are given twice hide nothing else that is wrong, and both places are known.
func TestRepeated(t *testing.T) {
	file, err := yamltext.Parse([]byte("a: 1\nb: {c: 1, d: 2, c: 3}\na: 2\na: 3\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for again, first := range yamltext.Repeated(file.Bodies[0]) {
		got[yamltext.PositionOf(again).String()] = yamltext.PositionOf(first).String()
	}
	want := map[string]string{"line 2, column 17": "line 2, column 5", "line 3, column 1": "line 1, column 1", "line 4, column 1": "line 1, column 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
