package rest_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/openidtest"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

const returnPath = "/rest-server/api/v2/authn/oidc/return" // as the original registers it

// startSignOn runs a server beside a provider that knows carol, and four who cannot come in.
func startSignOn(t *testing.T, log io.Writer, change ...func(*auth.OpenID)) (*servertest.Server, *openidtest.Provider) {
	t.Helper()
	var p *openidtest.Provider
	s := servertest.StartSignOn(t, log, func(url string) auth.OpenID {
		p = openidtest.Start(t, url+returnPath,
			openidtest.Person{ID: "1", Name: "carol@example.org", Email: "carol@example.org", Verified: true, Groups: []string{"uuid-research", "uuid-other"}},
			openidtest.Person{ID: "2", Name: "alice@example.org", Email: "alice@elsewhere.org", Verified: true, Groups: []string{"uuid-research"}},
			openidtest.Person{ID: "3", Name: "dave smith", Groups: []string{"uuid-research"}},
			openidtest.Person{ID: "4", Name: "erin", TooMany: true},
			openidtest.Person{ID: "5", Name: "me"},
		)
		o := auth.OpenID{Issuer: p.URL, ClientID: openidtest.ClientID, ClientSecret: openidtest.ClientSecret, RedirectURL: url + returnPath,
			Scopes: []string{"openid", "profile", "email"}, UsernameClaim: "preferred_username", GroupsClaim: "groups"}
		for _, c := range change {
			c(&o)
		}
		return o
	})
	setExternalName(t, s, "research", "uuid-research")
	setExternalName(t, s, "admingroup", "uuid-admins")
	return s, p
}

func setExternalName(t *testing.T, s *servertest.Server, group pai.GroupName, name string) {
	t.Helper()
	if _, err := s.Cluster.ChangeGroup(t.Context(), pai.GroupChange{Name: group, ExternalName: &name, Patch: true}); err != nil {
		t.Fatal(err)
	}
}

// TestSignOn goes the whole way: to the provider, back with a session, to the pages, and out again.
func TestSignOn(t *testing.T) {
	var log bytes.Buffer
	s, p := startSignOn(t, &log)
	browser := openidtest.Browser(t)
	page, text := openidtest.SignIn(t, browser, s.URL+"/api/v2/authn/oidc/login", "carol@example.org")
	if page.Request.URL.String() != s.URL+"/" || !strings.Contains(text, "carol") || !strings.Contains(text, "personal") {
		t.Fatalf("carol arrives at %s: %s", page.Request.URL, text)
	}
	token := cookieOf(t, browser, s.URL, "pai-session")
	expect(t, s, "GET", "/api/v2/users/me", "", "Bearer "+token, 200,
		`"username":"carol"`, `"email":"carol@example.org"`, `"grouplist":["default","research"]`, `"admin":false`)
	expect(t, s, "GET", "/api/v2/info", "", "", 200, `"authnMethod":"OIDC"`)

	p.Set(openidtest.Person{ID: "1", Name: "carol", Groups: []string{"uuid-admins"}}) // another job
	openidtest.SignIn(t, openidtest.Browser(t), s.URL+"/api/v2/authn/oidc/login", "carol")
	expect(t, s, "GET", "/api/v2/users/me", "", "Bearer "+token, 200, `"grouplist":["default","admingroup"]`, `"admin":true`)

	resp, err := browser.Get(s.URL + "/rest-server/api/v2/authn/oidc/logout")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Request.URL.String() != s.URL+"/login" {
		t.Errorf("signed out, the browser is at %s", resp.Request.URL)
	}
	expect(t, s, "GET", "/api/v2/users/me", "", "Bearer "+token, 401)
	for _, secret := range []string{openidtest.ClientSecret, token, "code="} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log contains %q", secret)
		}
	}
}

func cookieOf(t *testing.T, browser *http.Client, site, name string) string {
	t.Helper()
	u, err := url.Parse(site)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range browser.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	t.Fatalf("no cookie %s", name)
	return ""
}

// TestSignOnRefused: whoever cannot come in is told why, on the page to sign in.
func TestSignOnRefused(t *testing.T) {
	s, _ := startSignOn(t, nil)
	for person, why := range map[string]string{
		"alice@example.org": "There is a user alice already",
		"dave smith":        "cannot be the name of a user",
		"erin":              "too many groups",
		"me":                "cannot be the name of a user",
	} {
		browser := openidtest.Browser(t)
		req := func(start string) (*http.Response, string) {
			return openidtest.SignIn(t, asPage(browser), start, person)
		}
		page, text := req(s.URL + "/api/v2/authn/oidc/login")
		if page.Request.URL.Path != "/login" || !strings.Contains(text, why) {
			t.Errorf("%s: %s does not say %q: %s", person, page.Request.URL, why, text)
		}
		u, _ := url.Parse(s.URL)
		if slices.ContainsFunc(browser.Jar.Cookies(u), func(c *http.Cookie) bool { return c.Name == "pai-session" }) {
			t.Errorf("%s has a session", person)
		}
	}
	if users, err := s.Accounts.Users(t.Context()); err != nil || len(users) != 3 {
		t.Errorf("%d users, %v", len(users), err)
	}
}

// asPage makes a browser of a client: it asks for HTML.
func asPage(c *http.Client) *http.Client {
	c.Transport = transport(func(r *http.Request) (*http.Response, error) {
		r.Header.Set("Accept", "text/html,*/*;q=0.8")
		return http.DefaultTransport.RoundTrip(r)
	})
	return c
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSignOnWithoutGroups: where the group of all has an external name, whoever is in none of the groups stays outside, and so does
// whoever was in one.
func TestSignOnWithoutGroups(t *testing.T) {
	s, p := startSignOn(t, nil)
	start := s.URL + "/api/v2/authn/oidc/login"
	openidtest.SignIn(t, openidtest.Browser(t), start, "carol@example.org")
	setExternalName(t, s, "default", "uuid-all")
	p.Set(openidtest.Person{ID: "1", Name: "carol", Groups: []string{"uuid-none"}})
	p.Set(openidtest.Person{ID: "6", Name: "frank"})
	for _, person := range []string{"carol", "frank"} {
		if page, text := openidtest.SignIn(t, openidtest.Browser(t), start, person); page.StatusCode != 403 || !strings.Contains(text, "None of your groups") {
			t.Errorf("%s: %d %s", person, page.StatusCode, text)
		}
	}
}

// TestSignOnAdopts: a record that was there before is taken over when the address proves it or the administrator allows it, and belongs to
// that person from then on.
func TestSignOnAdopts(t *testing.T) {
	s, p := startSignOn(t, nil)
	start := s.URL + "/api/v2/authn/oidc/login"
	p.Set(openidtest.Person{ID: "2", Name: "bob", Email: "bob@example.org", Groups: []string{"uuid-research"}}) // not verified
	email := "bob@example.org"
	if _, err := s.Accounts.ChangeUser(t.Context(), pai.UserChange{Name: "bob", Email: &email, Patch: true}); err != nil {
		t.Fatal(err)
	}
	if page, _ := openidtest.SignIn(t, openidtest.Browser(t), start, "bob"); page.StatusCode != 409 {
		t.Errorf("an address that nobody verified: %d", page.StatusCode)
	}
	p.Set(openidtest.Person{ID: "2", Name: "bob", Email: "Bob@example.org", Verified: true, Groups: []string{"uuid-research"}})
	if page, text := openidtest.SignIn(t, openidtest.Browser(t), start, "bob"); page.Request.URL.Path != "/" {
		t.Errorf("a verified address: %d %s", page.StatusCode, text)
	}
	p.Set(openidtest.Person{ID: "2", Name: "robert"})
	p.Set(openidtest.Person{ID: "7", Name: "bob", Email: "Bob@example.org", Verified: true})
	if page, text := openidtest.SignIn(t, openidtest.Browser(t), start, "bob"); page.StatusCode != 409 || !strings.Contains(text, "belongs to somebody else") {
		t.Errorf("another bob: %d %s", page.StatusCode, text)
	}

	lenient, _ := startSignOn(t, nil, func(o *auth.OpenID) { o.AdoptUsers = true })
	if page, text := openidtest.SignIn(t, openidtest.Browser(t), lenient.URL+"/api/v2/authn/oidc/login", "alice@example.org"); page.Request.URL.Path != "/" {
		t.Errorf("adopted by name: %d %s", page.StatusCode, text)
	}
}

// TestSignOnForged: what did not start in this browser, comes twice, late or changed, opens nothing.
func TestSignOnForged(t *testing.T) {
	s, _ := startSignOn(t, nil)
	start, _ := do(t, s, "GET", "/api/v2/authn/oidc/login", "", "", "")
	keep := cookieValue(start, "pai-sign-on")
	to, err := url.Parse(start.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	asked := to.Query()
	if asked.Get("code_challenge_method") != "S256" || len(asked.Get("code_challenge")) < 43 || asked.Get("nonce") == "" || asked.Get("state") == "" {
		t.Errorf("the way to the provider is %s", to)
	}
	state := "state=" + asked.Get("state")
	for name, try := range map[string]struct {
		query, cookie string
		status        int
	}{
		"no cookie":           {state + "&code=x", "", 401},
		"another's cookie":    {state + "&code=x", "pai-sign-on=AAAA" + keep[4:], 401},
		"another state":       {"state=x&code=x", "pai-sign-on=" + keep, 401},
		"no state":            {"code=x", "pai-sign-on=" + keep, 401},
		"a code made up":      {state + "&code=x", "pai-sign-on=" + keep, 401},
		"no code":             {state, "pai-sign-on=" + keep, 401},
		"refused":             {state + "&error=access_denied", "pai-sign-on=" + keep, 403},
		"refused with markup": {state + "&error=%3Cscript%3E", "pai-sign-on=" + keep, 403},
	} {
		resp, text := do(t, s, "GET", returnPath+"?"+try.query, "", "", "", "Cookie", try.cookie)
		if resp.StatusCode != try.status || strings.Contains(text, "script") || cookieValue(resp, "pai-session") != "" {
			t.Errorf("%s: %d %s", name, resp.StatusCode, text)
		}
	}
}

func cookieValue(resp *http.Response, name string) string {
	for _, c := range resp.Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// TestSignOnTwice: a code is good once, even in the browser that it was given to.
func TestSignOnTwice(t *testing.T) {
	s, _ := startSignOn(t, nil)
	var back, cookie string
	browser := openidtest.Browser(t)
	browser.Transport = transport(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/return") {
			back, cookie = r.URL.RequestURI(), r.Header.Get("Cookie")
		}
		return http.DefaultTransport.RoundTrip(r)
	})
	openidtest.SignIn(t, browser, s.URL+"/api/v2/authn/oidc/login", "carol@example.org")
	if resp, text := do(t, s, "GET", back, "", "", "", "Cookie", cookie); resp.StatusCode != 401 {
		t.Errorf("again: %d %s", resp.StatusCode, text)
	}
}

// TestProviderIsDown: it costs those who want to sign in, and nobody else.
func TestProviderIsDown(t *testing.T) {
	s, p := startSignOn(t, nil)
	p.Stop()
	expect(t, s, "GET", "/api/v2/authn/oidc/login", "", "", 503, "UnavailableError", "identity provider")
	expect(t, s, "GET", "/api/v2/storages", "", "Bearer "+s.Token(t, "alice"), 200)
	if resp, _ := do(t, s, "GET", "/api/v2/authn/oidc/logout", "", "", ""); resp.StatusCode != 302 || resp.Header.Get("Location") != "/login" {
		t.Errorf("sign out: %d to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
}

// TestBasicOnly: where a provider decides over users, the API does not, and the other way round.
func TestBasicOnly(t *testing.T) {
	s, _ := startSignOn(t, nil)
	token := "Bearer " + s.Token(t, "admin")
	expect(t, s, "POST", "/api/v2/authn/basic/login", `{"username":"bob","password":"secret-bob"}`, "", 404, "NoApiError")
	expect(t, s, "POST", "/api/v2/users", `{"username":"x","password":"secret-x"}`, token, 405)
	expect(t, s, "PUT", "/api/v2/users/bob/group", `{"groupname":"admingroup"}`, token, 404, "NoApiError")
	expect(t, s, "PUT", "/api/v2/users", `{"data":{"username":"bob","email":"a@b.c","admin":true},"patch":true}`, token, 400,
		"admin: the identity provider decides", "email: the identity provider decides")
	expect(t, s, "PUT", "/api/v2/users/me", `{"data":{"username":"admin","newPassword":"longer-one","oldPassword":"secret-admin"},"patch":true}`, token, 400, "password:")
	expect(t, s, "PUT", "/api/v2/users", `{"data":{"username":"bob","extension":{"a":1}}}`, token, 201)
	resp, text := do(t, s, "POST", "/login", "application/x-www-form-urlencoded", "username=bob&password=secret-bob", "")
	if resp.StatusCode != 403 || cookieValue(resp, "pai-session") != "" {
		t.Errorf("the form: %d %s", resp.StatusCode, text)
	}
	bob := "Bearer " + s.Token(t, "bob")
	expect(t, s, "DELETE", "/api/v2/users/bob", "", token, 200)
	expect(t, s, "GET", "/api/v2/users/me", "", bob, 401)
	expect(t, s, "DELETE", "/api/v2/users/admin", "", token, 200) // the provider has others
	basic := servertest.Start(t, nil)
	for _, path := range []string{"login", "return", "logout"} {
		expect(t, basic, "GET", "/api/v2/authn/oidc/"+path, "", "", 404, "NoApiError")
	}
}

// expect sends JSON and compares the answer.
func expect(t *testing.T, s *servertest.Server, method, path, body, authorization string, status int, parts ...string) {
	t.Helper()
	typ := ""
	if body != "" {
		typ = "application/json"
	}
	resp, text := do(t, s, method, path, typ, body, authorization)
	if resp.StatusCode != status {
		t.Errorf("%s %s: got %d %s, want %d", method, path, resp.StatusCode, text, status)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s %s: %s lacks %s", method, path, text, part)
		}
	}
}
