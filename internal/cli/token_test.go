package cli

import (
	"testing"

	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestTokensAreNamedByTheirBeginning: one that fits is found, none and several are refused.
func TestTokensAreNamedByTheirBeginning(t *testing.T) {
	s := servertest.Start(t, nil)
	c, err := client.New(s.URL, s.Token(t, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateApplicationToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := c.Tokens(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("got %d tokens, %v", len(list), err)
	}
	for _, token := range list {
		if id, err := tokenWithID(t.Context(), c, token.ID[:20]); err != nil || id != token.ID {
			t.Errorf("%s: got %q, %v", token.ID, id, err)
		}
	}
	for start, status := range map[string]int{"": exitUsage, "zz": exitNotFound} {
		if id, err := tokenWithID(t.Context(), c, start); err == nil || statusOf(err) != status {
			t.Errorf("%q: got %q, %v", start, id, err)
		}
	}
}
