package jobspec // and not jobspec_test: no document is known that these checks are needed for

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/token"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

const unmasked = "# top\nsecrets:\n  a: 'one # two' # why\n  b: |\n    three\nname: x\n"

// rolesIn reads a document as far as masking needs it.
func rolesIn(t *testing.T, document string) (token.Tokens, []tokenRole) {
	t.Helper()
	_, file, faults := parseYAML([]byte(document))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	roles, ok := rolesOf(file.Tokens, newReader(file.Bodies[0]).secrets.values)
	if !ok {
		t.Fatal("the secrets have no tokens")
	}
	return file.Tokens, roles
}

func TestIsMasked(t *testing.T) {
	tokens, roles := rolesIn(t, unmasked)
	const good = "# top\nsecrets:\n  a: \"******\" # why\n  b: \"******\"\nname: x\n"
	for _, c := range []struct {
		name, old, new string
		want           bool
	}{
		{"all", "", "", true},
		{"white space", "name: x\n", "\n\nname:   x", true},
		{"left as it is", `b: "******"`, "b: |\n    three", false},
		{"the end stays as a comment", `"******" # why`, `"******" # two' # why`, false},
		{"the comment is gone", " # why", "", false},
		{"another value", "name: x", "name: y", false},
		{"a part stays", `b: "******"`, `b: "******three"`, false},
		{"another secret", "name: x", "  c: \"******\"\nname: x", false},
		{"no YAML", "name: x", "name: 'x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := isMasked([]byte(strings.Replace(good, c.old, c.new, 1)), tokens, roles, 2); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if isMasked([]byte(good), tokens, roles, 3) {
		t.Error("one secret of three is gone, and nobody noticed")
	}
}

func TestSpansWantEveryCharacter(t *testing.T) {
	tokens, _ := rolesIn(t, unmasked)
	if _, ok := yamltext.Spans([]byte(unmasked), tokens); !ok {
		t.Fatal("the tokens are not found")
	}
	for _, other := range []string{unmasked + "z", strings.Replace(unmasked, "three", "threee", 1), strings.TrimSuffix(unmasked, "x\n"), ""} {
		if _, ok := yamltext.Spans([]byte(other), tokens); ok {
			t.Errorf("the tokens are found in another text:\n%s", other)
		}
	}
}
