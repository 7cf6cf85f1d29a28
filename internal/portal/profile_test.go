package portal_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

var shownToken = regexp.MustCompile(`<pre id="token">([^<]+)</pre>`)

// TestTokenToCopy: it works in the API, as the person who made it, and is shown once.
func TestTokenToCopy(t *testing.T) {
	s := servertest.Start(t, nil)
	for user, status := range map[string]int{"bob": http.StatusForbidden, "admin": http.StatusOK} {
		b := open(t, s)
		answer, _ := b.signIn(user, "secret-"+user)
		session := answer.Cookies()[0].Value
		answer, text := b.ask("POST", "/profile/token", url.Values{})
		found := shownToken.FindStringSubmatch(text)
		if answer.StatusCode != http.StatusOK || found == nil || found[1] == session {
			t.Fatalf("%s: %d %s", user, answer.StatusCode, text)
		}
		call := func() int {
			answer, _ := open(t, s).ask("GET", "/api/v2/storages/nfs-storage", nil, "Authorization", "Bearer "+found[1])
			return answer.StatusCode
		}
		if got := call(); got != status {
			t.Errorf("%s's token gets %d, want %d", user, got, status)
		}
		b.ask("POST", "/logout", url.Values{})
		if got := call(); got != status {
			t.Errorf("%s's token gets %d after signing out of the browser", user, got)
		}
		b.signIn(user, "secret-"+user)
		if _, text := b.ask("GET", "/profile", nil); strings.Contains(text, found[1]) || shownToken.MatchString(text) {
			t.Errorf("%s's profile shows a token again", user)
		}
	}
}

func TestProfile(t *testing.T) {
	s := servertest.Start(t, nil)
	for user, groups := range map[string]string{"alice": "default, research", "admin": "default, admingroup", "bob": "default"} {
		b := open(t, s)
		b.signIn(user, "secret-"+user)
		_, text := b.ask("GET", "/profile", nil)
		for _, want := range []string{"<dd>" + user + "</dd>", "<dd>" + groups + "</dd>"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s's profile lacks %q:\n%s", user, want, text)
			}
		}
	}
}

// TestApplicationsSeeNoPages: a token for jobs, put into the cookie, opens neither storages nor profile, and makes no token.
func TestApplicationsSeeNoPages(t *testing.T) {
	s := servertest.Start(t, nil)
	token, err := s.Accounts.IssueApplicationToken(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []struct{ method, path string }{{"GET", "/"}, {"GET", "/profile"}, {"POST", "/profile/token"}, {"POST", "/logout"}} {
		answer, text := open(t, s).ask(page.method, page.path, nil, "Cookie", "pai-session="+token)
		if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, "Applications are not allowed") {
			t.Errorf("%s %s: %d %s", page.method, page.path, answer.StatusCode, text)
		}
	}
}
