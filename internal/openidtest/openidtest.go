// Package openidtest runs a real OpenID provider on loopback, for tests of signing in through one.
//
// It is the provider of a certified library with that library's in-memory storage and sign-in page; ours is only who the people are.
//
// Example:
//
//	p := openidtest.Start(t, "http://127.0.0.1:9186/api/v2/authn/oidc/return", openidtest.Person{ID: "1", Name: "carol", Groups: []string{"g1"}})
package openidtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The client that the provider knows.
const (
	ClientID     = "pai"
	ClientSecret = "provider-CANARY-secret"
)

// Password is everybody's at the provider.
const Password = "correct horse"

// Person is somebody whom the provider knows.
type Person struct {
	ID       string // never changes
	Name     string // preferred_username
	Email    string
	Verified bool // the address
	Groups   []string
	TooMany  bool // groups to list
}

// Provider is a running provider.
type Provider struct {
	URL   string // the issuer
	store *people
	web   *httptest.Server
}

// Start runs a provider until the test ends, which sends browsers back to redirectURL and nowhere else.
func Start(t testing.TB, redirectURL string, known ...Person) *Provider {
	t.Helper()
	p := &Provider{store: &people{list: known}, web: httptest.NewUnstartedServer(nil)}
	p.URL = "http://" + p.web.Listener.Addr().String()
	memory := storage.NewStorageWithClients(p.store, map[string]*storage.Client{ClientID: storage.WebClient(ClientID, ClientSecret, redirectURL)})
	p.web.Config.Handler = exampleop.SetupServer(p.URL, &withGroups{memory, p.store, redirectURL}, nil, false)
	p.web.Start()
	t.Cleanup(p.web.Close)
	return p
}

// Set replaces what the provider knows of the person with that ID.
func (p *Provider) Set(person Person) { p.store.set(person) }

// Stop ends the provider before the test does.
func (p *Provider) Stop() { p.web.Close() }

// people is the provider's directory.
type people struct {
	mu   sync.Mutex
	list []Person
}

func (p *people) set(person Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(slices.DeleteFunc(p.list, func(q Person) bool { return q.ID == person.ID }), person)
}

func (p *people) find(match func(Person) bool) (Person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.list, match)
	if i < 0 {
		return Person{}, false
	}
	return p.list[i], true
}

func user(q Person, ok bool) *storage.User {
	if !ok {
		return nil
	}
	return &storage.User{ID: q.ID, Username: q.Name, Password: Password, Email: q.Email, EmailVerified: q.Verified}
}

// GetUserByID is for the library's storage.
func (p *people) GetUserByID(id string) *storage.User {
	return user(p.find(func(q Person) bool { return q.ID == id }))
}

// GetUserByUsername is for the library's storage.
func (p *people) GetUserByUsername(name string) *storage.User {
	return user(p.find(func(q Person) bool { return q.Name == name }))
}

// ExampleClientID is for the library's storage.
func (p *people) ExampleClientID() string { return "service" }

// withGroups adds groups to what the library's storage tells.
type withGroups struct {
	*storage.Storage
	people      *people
	redirectURL string
}

// client may send browsers to its sign-in page after signing out.
type client struct {
	op.Client
	page string
}

// PostLogoutRedirectURIs is the one page.
func (c client) PostLogoutRedirectURIs() []string { return []string{c.page} }

// GetClientByClientID is the library's client with that page.
func (s *withGroups) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	known, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	home, err := url.Parse(s.redirectURL)
	if err != nil {
		return nil, err
	}
	return client{known, home.Scheme + "://" + home.Host + "/login"}, nil
}

func (s *withGroups) add(info *oidc.UserInfo, subject string) error {
	q, ok := s.people.find(func(q Person) bool { return q.ID == subject })
	switch {
	case !ok:
		return errors.New("nobody")
	case q.TooMany:
		info.AppendClaims("_claim_names", map[string]any{"groups": "src1"})
		info.AppendClaims("_claim_sources", map[string]any{"src1": map[string]any{"endpoint": "https://directory.example.org/groups"}})
	default:
		info.AppendClaims("groups", q.Groups)
	}
	return nil
}

// SetUserinfoFromToken is what the userinfo endpoint says.
func (s *withGroups) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, tokenID, subject, origin string) error {
	if err := s.Storage.SetUserinfoFromToken(ctx, info, tokenID, subject, origin); err != nil {
		return err
	}
	return s.add(info, subject)
}

// SetUserinfoFromRequest is what the ID token says.
func (s *withGroups) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	if err := s.Storage.SetUserinfoFromRequest(ctx, info, request, scopes); err != nil {
		return err
	}
	return s.add(info, request.GetSubject())
}

// Browser is a client with cookies that follows redirects, as browsers do.
func Browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

var requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// SignIn follows start to the provider's page, fills it in for the person, and returns what comes in the end.
func SignIn(t testing.TB, browser *http.Client, start, person string) (*http.Response, string) {
	t.Helper()
	page, text := get(t, browser, start)
	id := requestID.FindStringSubmatch(text)
	if id == nil {
		t.Fatalf("%s is not the provider's page: %s", page.Request.URL, text)
	}
	resp, err := browser.PostForm(page.Request.URL.String(), url.Values{"username": {person}, "password": {Password}, "id": {id[1]}})
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func get(t testing.TB, browser *http.Client, page string) (*http.Response, string) {
	t.Helper()
	resp, err := browser.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t testing.TB, resp *http.Response) (*http.Response, string) {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}
