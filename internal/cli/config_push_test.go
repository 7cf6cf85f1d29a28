package cli

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/rollout"
)

// TestPushOverWhatCannotBeRead: only a push of all files goes over a configuration that cannot be read, and only with force.
func TestPushOverWhatCannotBeRead(t *testing.T) {
	lost := errors.New("the Secret lacks passwords")
	for _, c := range []struct {
		mode    string
		force   bool
		err     error
		unknown bool
		fault   string
		hint    string
	}{
		{"all", false, nil, false, "", ""},
		{"service", true, rollout.ErrNoConfiguration, false, "", ""},
		{"all", false, lost, false, lost.Error(), ""},
		{"all", true, lost, true, "", ""},
		{"service", false, lost, false, lost.Error(), ""},
		{"service", true, lost, false, "cannot be read: " + lost.Error(), "hint: drop what is there for all files of the directory with: paictl config push -p 'my dir' -m all --force"},
	} {
		o, cmd := &configOptions{mode: c.mode, force: c.force, directory: "my dir"}, &cobra.Command{}
		unknown, err := o.readable(cmd, c.err)
		switch {
		case unknown != c.unknown, (err != nil) != (c.fault != ""):
			t.Errorf("%s, %t, %v: %t, %v", c.mode, c.force, c.err, unknown, err)
		case err != nil && (!strings.Contains(err.Error(), c.fault) || hintFor(cmd, err) != c.hint):
			t.Errorf("%s, %t: %v, %q", c.mode, c.force, err, hintFor(cmd, err))
		}
	}
}

// TestOnlyService: "-m service" pushes the services' files and leaves the rest as the cluster has it; what it leaves is remembered, and a later push of
// everything does not drop it.
func TestOnlyService(t *testing.T) {
	text := func(pairs ...string) map[string][]byte {
		files := map[string][]byte{}
		for pair := range slices.Chunk(pairs, 2) {
			files[pair[0]] = []byte(pair[1])
		}
		return files
	}
	here := text("layout.yaml", "a: 1\n", "extra.yaml", "x: 1\n", "same.yaml", "s: 1\n")
	cluster := text("layout.yaml", "a: 0\n", "extra.yaml", "x: 2\n", "same.yaml", "s: 1\n", "theirs.yaml", "t: 1\n", "config.yaml", "c: 1\n")
	files, behind := onlyService(here, cluster)
	if want := text("layout.yaml", "a: 1\n", "extra.yaml", "x: 2\n", "same.yaml", "s: 1\n", "theirs.yaml", "t: 1\n"); !maps.EqualFunc(files, want, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Errorf("pushed would be %q", files)
	}
	if !slices.Equal(behind, []string{"extra.yaml", "theirs.yaml"}) {
		t.Errorf("behind are %q", behind)
	}
	if shown := overtaken(behind, here, cluster); !strings.Contains(shown, "-x: 2") || !strings.Contains(shown, "+x: 1") || !strings.Contains(shown, "-t: 1") {
		t.Errorf("a push of everything is refused with\n%s", shown)
	}
	if shown := overtaken(behind, cluster, cluster); shown != "" {
		t.Errorf("nothing is in the way, and it is refused with\n%s", shown)
	}
}
