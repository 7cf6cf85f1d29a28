package cli

import (
	"testing"

	"github.com/pai-storage/pai-storage/internal/client"
)

func TestNextName(t *testing.T) {
	for name, want := range map[string]string{"train": "train-2", "train-2": "train-3", "train-99": "train-100", "train-x": "train-x-2", "a-99999999999999999999": "a-99999999999999999999-2"} {
		if got := nextName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestWord: what a hint has can be pasted into a shell.
func TestWord(t *testing.T) {
	for text, want := range map[string]string{"job.yaml": "job.yaml", "alice~a": "alice~a", "~a": "'~a'", "my job": "'my job'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'"} {
		if got := word(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestNewToken: the token that was made is known when it is the only new one.
func TestNewToken(t *testing.T) {
	a, b, person := client.Token{ID: "a", Application: true}, client.Token{ID: "b", Application: true}, client.Token{ID: "p"}
	for name, c := range map[string]struct {
		before, after []client.Token
		want          string
	}{
		"one":     {[]client.Token{a}, []client.Token{b, a, person}, "b"},
		"two":     {nil, []client.Token{b, a}, "ID"},
		"unknown": {nil, nil, "ID"},
	} {
		if got := newToken(c.before, c.after); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
