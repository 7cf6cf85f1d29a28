package term

import (
	"strings"
	"testing"
)

func TestLive(t *testing.T) {
	for name, c := range map[string]struct {
		live bool
		want string
	}{
		"a terminal": {true, "\r\033[KWAITING\r\033[KWAITING: the…\r\033[KWAITING: the node?is full\n"},
		"a file":     {false, "WAITING\nWAITING: the node?is full\n"},
	} {
		var out strings.Builder
		l := &Live{out: &out, live: c.live, width: func() int { return 14 }}
		for _, state := range []string{"WAITING", "WAITING", "WAITING: the node\nis full"} {
			l.Set(state)
		}
		l.End()
		l.End()
		if out.String() != c.want {
			t.Errorf("%s: %q, want %q", name, out.String(), c.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{{"größer", 6, "größer"}, {"größer", 5, "größ…"}, {"größer", 1, "…"}, {"größer", 0, "größer"}, {"", 1, ""}} {
		if got := Cut(c.line, c.width); got != c.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}
