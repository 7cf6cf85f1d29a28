package portal_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
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
	for _, page := range []struct{ method, path string }{{"GET", "/"}, {"GET", "/profile"}, {"POST", "/profile/token"}, {"POST", "/profile/storage-password"}, {"POST", "/profile/storage-password/remove"}, {"POST", "/logout"}} {
		answer, text := open(t, s).ask(page.method, page.path, nil, "Cookie", "pai-session="+token)
		if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, "Applications are not allowed") {
			t.Errorf("%s %s: %d %s", page.method, page.path, answer.StatusCode, text)
		}
	}
}

// TestStoragePassword: a form sets one's own password and nobody else's, whatever it says, and no page shows it.
func TestStoragePassword(t *testing.T) {
	s := servertest.Start(t, nil)
	if answer, _ := open(t, s).ask("POST", "/profile/storage-password", url.Values{"password": {"secret of nobody"}, "again": {"secret of nobody"}}); answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/login" {
		t.Errorf("without a session: %d %s", answer.StatusCode, answer.Header)
	}
	b := open(t, s)
	b.signIn("bob", "secret-bob")
	for _, bad := range []struct{ password, again, want string }{
		{"secret of bob", "secret of rob", "The two passwords differ."},
		{"short", "short", "at least 6 characters"},
		{"tab\tsecret", "tab\tsecret", "control characters"},
		{"", "", "at least 6 characters"},
	} {
		answer, text := b.ask("POST", "/profile/storage-password", url.Values{"password": {bad.password}, "again": {bad.again}})
		if answer.StatusCode != http.StatusBadRequest || !strings.Contains(text, bad.want) || bad.password != "" && strings.Contains(text, bad.password+`"`) {
			t.Errorf("%q: %d %s", bad.password, answer.StatusCode, text)
		}
	}
	form := url.Values{"password": {"secret of bob"}, "again": {"secret of bob"}, "username": {"alice"}, "user": {"alice"}}
	if answer, text := b.ask("POST", "/profile/storage-password", form, "Sec-Fetch-Site", "cross-site"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %d %s", answer.StatusCode, text)
	}
	if answer, text := b.ask("POST", "/profile/storage-password", form); answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/profile#smb" {
		t.Fatalf("%d %s", answer.StatusCode, text)
	}
	for user, has := range map[pai.UserName]bool{"bob": true, "alice": false} {
		if a, err := s.Cluster.StorageAccount(t.Context(), user); err != nil || a.Set.IsZero() == has {
			t.Errorf("%s: %+v, %v", user, a, err)
		}
	}
	if _, text := b.ask("GET", "/profile", nil); !strings.Contains(text, "It was set on 20") || strings.Contains(text, "secret of bob") {
		t.Errorf("the profile is %s", text)
	}
	b.ask("POST", "/profile/storage-password/remove", url.Values{})
	if _, text := b.ask("GET", "/profile", nil); !strings.Contains(text, "There is none yet.") {
		t.Errorf("after the removal the profile is %s", text)
	}
	same := url.Values{"password": {"secret-bob"}, "again": {"secret-bob"}}
	if _, text := b.ask("POST", "/profile/storage-password", same); !strings.Contains(text, "is the one that bob signs in with") ||
		!strings.Contains(text, "It was set on 20") || strings.Contains(text, "secret-bob") {
		t.Errorf("with the password for signing in the profile is %s", text)
	}
}
