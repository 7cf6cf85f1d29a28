package term

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	var out strings.Builder
	err := Table(&out, []string{"NAME", "GROUPS", "EMAIL"}, [][]string{{"a", "x, y, z", ""}, {"bob", "", "b@c\x1b.de"}, {"c", "", ""}})
	want := "NAME  GROUPS   EMAIL\na     x, y, z\nbob            b@c?.de\nc\n"
	if err != nil || out.String() != want {
		t.Errorf("got %q, %v, want %q", out.String(), err, want)
	}
}

func TestCutTable(t *testing.T) {
	var out strings.Builder
	if err := table(&out, []string{"JOB", "WHY"}, [][]string{{"train", "the node is full"}, {"x", ""}}, 12); err != nil {
		t.Fatal(err)
	}
	if want := "JOB    WHY\ntrain  the …\nx\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
