package cli

import (
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/auth"
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

// TestLoginWhereAProviderDecides: nobody is asked for a password that is none of our business; a token from the pages does it.
func TestLoginWhereAProviderDecides(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	s := servertest.StartSignOn(t, nil, func(url string) auth.OpenID {
		return auth.OpenID{Issuer: "https://login.example.org", ClientID: "pai", RedirectURL: url + "/api/v2/authn/oidc/return"}
	})
	var out, fault strings.Builder
	streams := Streams{In: strings.NewReader("secret-alice\n"), Out: &out, Err: &fault}
	if status := Main(t.Context(), []string{"login", "--server", s.URL, "--user", "alice", "--password-stdin"}, streams); status != 1 || !strings.Contains(fault.String(), s.URL+"/login") {
		t.Errorf("with a password: %d %s", status, fault.String())
	}
	streams.In = strings.NewReader(s.Token(t, "alice") + "\n")
	if status := Main(t.Context(), []string{"login", "--server", s.URL, "--token-file", "-"}, streams); status != 0 || !strings.Contains(out.String(), "alice") {
		t.Errorf("with a token: %d %s", status, fault.String())
	}
}
