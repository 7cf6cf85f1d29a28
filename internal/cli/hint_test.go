package cli

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/localcluster"
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

// TestGoOnWith: the command that goes on is for the same server and user, whatever names there are in it.
func TestGoOnWith(t *testing.T) {
	cmd := &cobra.Command{}
	cmd.Flags().String("server", "", "")
	cmd.Flags().String("user", "", "")
	if err := errors.Join(cmd.Flags().Set("server", "http://h:1"), cmd.Flags().Set("user", "alice")); err != nil {
		t.Fatal(err)
	}
	id := pai.JobID{User: "alice", Name: "x"}
	logs := jobLogsOptions{request: pai.LogRequest{Role: "100% it's", Task: 2}}
	for got, want := range map[string]string{
		jobGoals[0].again(cmd)(id):                 "paictl --server http://h:1 --user alice job wait alice~x",
		jobGoal{word: "stopped"}.again(cmd)(id):    "paictl --server http://h:1 --user alice job wait alice~x --for stopped",
		again(cmd, logs.words(id)...):              `paictl --server http://h:1 --user alice job logs alice~x --follow --task-role '100% it'\''s' --task-index 2`,
		again(&cobra.Command{}, logs.words(id)...): `paictl job logs alice~x --follow --task-role '100% it'\''s' --task-index 2`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestShellLine: a cluster's name and directory are one word each.
func TestShellLine(t *testing.T) {
	if got := shellLine(localcluster.Status{Name: "my cluster", StateDir: "/x y"}); !strings.Contains(got, ` env --name 'my cluster' --state-dir '/x y')`) {
		t.Errorf("got %s", got)
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
