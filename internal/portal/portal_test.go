package portal_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// browser is a client with cookies that shows each answer as it is.
type browser struct {
	t    *testing.T
	base string
	http.Client
}

func open(t *testing.T, s *servertest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, base: s.URL, Client: http.Client{Jar: jar}}
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b
}

// ask sends a request; headers come in pairs.
func (b *browser) ask(method, path string, form url.Values, headers ...string) (*http.Response, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer, string(text)
}

func (b *browser) signIn(user, password string) (*http.Response, string) {
	b.t.Helper()
	return b.ask("POST", "/login", url.Values{"username": {user}, "password": {password}})
}

func TestStrangersAreSentToTheForm(t *testing.T) {
	s := servertest.Start(t, nil)
	for _, session := range []string{"", "nonsense", "a.b.c"} {
		for _, page := range []struct{ method, path string }{{"GET", "/"}, {"GET", "/profile"}, {"GET", "/jobs"}, {"GET", "/jobs/alice~train"}, {"GET", "/jobs/alice~train/config"}, {"POST", "/jobs/alice~train/stop"}, {"POST", "/jobs/alice~train/delete"}, {"POST", "/profile/token"}, {"POST", "/logout"}} {
			headers := []string{}
			if session != "" {
				headers = []string{"Cookie", "pai-session=" + session}
			}
			answer, text := open(t, s).ask(page.method, page.path, nil, headers...)
			if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/login" || strings.Contains(text, "personal") {
				t.Errorf("%s %s with session %q: %d %s", page.method, page.path, session, answer.StatusCode, text)
			}
		}
	}
}

func TestRevokedSession(t *testing.T) {
	s := servertest.Start(t, nil)
	token := s.Token(t, "alice")
	if err := s.Cluster.RemoveToken(t.Context(), "alice", token); err != nil {
		t.Fatal(err)
	}
	if answer, _ := open(t, s).ask("GET", "/", nil, "Cookie", "pai-session="+token); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("a revoked token opens the portal: %d", answer.StatusCode)
	}
}

// TestWhoSeesWhat: the page has what the API would list for the same user.
func TestWhoSeesWhat(t *testing.T) {
	s := servertest.Start(t, nil)
	for user, want := range map[string]struct{ sees, not string }{
		"bob":   {"No group grants you a storage yet", "<code>personal</code>"},
		"alice": {"<code>personal</code>", "No group grants"},
		"admin": {"You are an administrator", "No group grants"},
	} {
		b := open(t, s)
		answer, text := b.signIn(user, "secret-"+user)
		if answer.StatusCode != http.StatusSeeOther || answer.Header.Get("Location") != "/" {
			t.Fatalf("%s signs in: %d %s", user, answer.StatusCode, text)
		}
		cookie := answer.Cookies()[0]
		if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode {
			t.Errorf("the session's cookie: %+v", cookie)
		}
		answer, text = b.ask("GET", "/", nil)
		if answer.StatusCode != http.StatusOK || !strings.Contains(text, want.sees) || strings.Contains(text, want.not) {
			t.Errorf("%s: %d, wants %q and not %q:\n%s", user, answer.StatusCode, want.sees, want.not, text)
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("policy %q", policy)
		}
	}
}

func TestSignOutRevokes(t *testing.T) {
	s := servertest.Start(t, nil)
	b := open(t, s)
	answer, _ := b.signIn("alice", "secret-alice")
	session := "pai-session=" + answer.Cookies()[0].Value
	if answer, _ := b.ask("POST", "/logout", url.Values{}); answer.StatusCode != http.StatusSeeOther {
		t.Fatalf("sign out: %d", answer.StatusCode)
	}
	if answer, _ := open(t, s).ask("GET", "/", nil, "Cookie", session); answer.StatusCode != http.StatusSeeOther {
		t.Errorf("the token still opens the portal: %d", answer.StatusCode)
	}
}

func TestRefusedSignIn(t *testing.T) {
	s := servertest.Start(t, nil)
	for _, user := range []string{"alice", "nobody", `"><script>alert(1)</script>`} {
		answer, text := open(t, s).signIn(user, "wrong-canary")
		if answer.StatusCode != http.StatusForbidden || !strings.Contains(text, `role="alert"`) {
			t.Errorf("%s: %d %s", user, answer.StatusCode, text)
		}
		if strings.Contains(text, "<script>") || strings.Contains(text, "wrong-canary") || len(answer.Cookies()) > 0 {
			t.Errorf("%s: the answer is\n%s", user, text)
		}
	}
}

// TestOtherSites: a form of another site cannot sign anybody in or out.
func TestOtherSites(t *testing.T) {
	s := servertest.Start(t, nil)
	form := url.Values{"username": {"alice"}, "password": {"secret-alice"}}
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
		for _, path := range []string{"/login", "/logout", "/profile/token"} {
			if answer, _ := open(t, s).ask("POST", path, form, headers...); answer.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %v: %d", path, headers, answer.StatusCode)
			}
		}
	}
}

func TestWhoseRequest(t *testing.T) {
	s := servertest.Start(t, nil)
	b := open(t, s)
	for path, want := range map[string]string{
		"/nothing-here": "There is no such page", "/api/v2/nothing": "NoApiError", "/rest-server/api/v2/info": "launcherType",
		"/readyz": "ok", "/openapi.yaml": "openapi: 3.1", "/style.css": "color-scheme",
	} {
		if _, text := b.ask("GET", path, nil); !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%.300s", path, want, text)
		}
	}
}
