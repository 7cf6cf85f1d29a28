package term

import (
	"strings"
	"testing"
)

// TestColouredWords: only whole words between blanks, and the line stays as wide as it was.
func TestColouredWords(t *testing.T) {
	for in, want := range map[string]string{
		"data  ok  failed\n":      "data  \033[32mok\033[0m  \033[31mfailed\033[0m\n",
		"nfs-ok  broken  okay\n":  "nfs-ok  broken  okay\n",
		"a  ok\nb  failed  ok\n":  "a  \033[32mok\033[0m\nb  \033[31mfailed\033[0m  \033[32mok\033[0m\n",
		"a b c  failed-ok (ok)\n": "a b c  failed-ok (ok)\n",
	} {
		var got strings.Builder
		w := newColoured(&got, map[string]Colour{"ok": Green, "failed": Red})
		if n, err := w.Write([]byte(in)); err != nil || n != len(in) || got.String() != want {
			t.Errorf("%q became %q, %d, %v; want %q", in, got.String(), n, err, want)
		}
	}
}

// TestNoColoursElsewhere: what is no terminal gets the text as it is.
func TestNoColoursElsewhere(t *testing.T) {
	var got strings.Builder
	if w := ColourWords(&got, map[string]Colour{"ok": Green}); w != &got {
		t.Errorf("got %T", w)
	}
}
