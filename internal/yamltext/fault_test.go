package yamltext_test

import (
	"slices"
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

// TestNearestIsBounded: long texts are near nothing, and cost nothing.
func TestNearestIsBounded(t *testing.T) {
	const kib = 1 << 10
	long := strings.Repeat("x", 80*kib)
	names := slices.Repeat([]string{long + "y"}, 10000)
	for range 1000 {
		if got := yamltext.Nearest(long, names); got != "" {
			t.Fatalf("%.20q", got)
		}
	}
	if got := yamltext.Nearest("name", names); got != "" {
		t.Errorf("%.20q", got)
	}
	if got := yamltext.Nearest(strings.Repeat("ä", 32), []string{long, strings.Repeat("ä", 31) + "b"}); !strings.HasSuffix(got, "äb") {
		t.Errorf("%.20q", got)
	}
	if got := yamltext.Nearest(strings.Repeat("a", 65), []string{strings.Repeat("a", 64)}); got != "" {
		t.Errorf("%.20q", got)
	}
}

func TestAlmost(t *testing.T) {
	for word, want := range map[string]bool{"storages": true, "Storages": true, "storage": true, "STORAGESS": true, "stages": false, "stroages": false, "": false} {
		if got := yamltext.Almost(word, "storages"); got != want {
			t.Errorf("%q: %t", word, got)
		}
	}
}

// TestRepeatedKeysWithSomethingBefore: anchors, tags and the signs of explicit keys are no part of the keys, and an alias is not compared.
func TestRepeatedKeysWithSomethingBefore(t *testing.T) {
	file, err := yamltext.Parse([]byte("&x a: 1\n&y b: 2\n!!str c: 1\n!!str d: 2\n? e\n: 1\n? f\n: 2\n*x : 1\n*y : 2\n&z a: 3\n'b': 4\n? c\n: 5\n\"e\": 6\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for again, first := range yamltext.Repeated(file.Bodies[0]) {
		key, _ := yamltext.KeyText(again.Key)
		of, _ := yamltext.KeyText(first.Key)
		if key != of {
			t.Errorf("%q is not %q", key, of)
		}
		got[key]++
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 1, "c": 1, "e": 1}, got); diff != "" {
		t.Error(diff)
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
