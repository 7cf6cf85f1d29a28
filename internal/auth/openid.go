package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	pai "github.com/pai-storage/pai-storage"
)

// OpenID says which provider users come from.
type OpenID struct {
	Issuer        string // https, or http on loopback
	ClientID      string
	ClientSecret  string // "" for a public client
	RedirectURL   string // of the operation that the provider sends browsers back to
	Scopes        []string
	UsernameClaim string // what of it is before "@" is the user's name
	GroupsClaim   string // the external names of the user's groups
	AdoptUsers    bool   // whoever comes under the name of a user who never came from the provider is that user
}

// Check names every fault.
func (o OpenID) Check() error {
	var faults []error
	if o.ClientID == "" {
		faults = append(faults, errors.New("the client's id is missing"))
	}
	for what, raw := range map[string]string{"issuer": o.Issuer, "redirect URL": o.RedirectURL} {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname()))) {
			faults = append(faults, fmt.Errorf("%s: expected an https URL, got %q", what, raw))
		}
	}
	return errors.Join(faults...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Limits of one sign-on.
const (
	signOnTimeout   = 10 * time.Minute // for the person at the provider
	providerTimeout = 10 * time.Second // for one request to the provider
)

// SignOn is a [pai.SignOnService].
type SignOn struct {
	accounts *Accounts
	openID   OpenID
	http     *http.Client
	seal     cipher.AEAD
	now      func() time.Time

	mu    sync.Mutex
	known *provider
}

// provider is what discovery found.
type provider struct {
	*oidc.Provider
	config  oauth2.Config
	signOut string
}

// NewSignOn signs users in through a provider. It asks the provider nothing yet.
func NewSignOn(accounts *Accounts, o OpenID) (*SignOn, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, accounts.signer.key, nil, "pai sign-on", 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	return &SignOn{accounts: accounts, openID: o, seal: seal, http: &http.Client{Timeout: providerTimeout}, now: accounts.signer.now}, err
}

// provider discovers the provider once. UnavailableError.
func (s *SignOn) provider() (*provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known != nil {
		return s.known, nil
	}
	// The provider fetches keys later with the same context, so it must outlive the request. The client bounds each.
	found, err := oidc.NewProvider(oidc.ClientContext(context.Background(), s.http), s.openID.Issuer)
	if err != nil {
		return nil, unavailable(err)
	}
	var more struct {
		SignOut string `json:"end_session_endpoint"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, unavailable(err)
	}
	s.known = &provider{Provider: found, signOut: more.SignOut, config: oauth2.Config{
		ClientID: s.openID.ClientID, ClientSecret: s.openID.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: s.openID.RedirectURL, Scopes: s.openID.Scopes,
	}}
	return s.known, nil
}

func unavailable(err error) error {
	return pai.Errorf(pai.UnavailableError, "The identity provider does not answer as it should: try again later.").Because(err)
}

// kept is what goes with a browser, sealed.
type kept struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Until    time.Time `json:"t"`
}

// StartSignOn says where the browser goes. See [pai.SignOnService] for the errors.
func (s *SignOn) StartSignOn(context.Context) (pai.SignOn, error) {
	p, err := s.provider()
	if err != nil {
		return pai.SignOn{}, err
	}
	k := kept{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Until: s.now().Add(signOnTimeout)}
	text, err := json.Marshal(k)
	if err != nil {
		return pai.SignOn{}, err
	}
	return pai.SignOn{
		Page: p.config.AuthCodeURL(k.State, oidc.Nonce(k.Nonce), oauth2.S256ChallengeOption(k.Verifier)),
		Keep: base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, text, nil)),
	}, nil
}

// open reads what the browser kept.
func (s *SignOn) open(keep string) (kept, bool) {
	var k kept
	sealed, err := base64.RawURLEncoding.DecodeString(keep)
	if err != nil {
		return k, false
	}
	text, err := s.seal.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(text, &k) != nil {
		return k, false
	}
	return k, s.now().Before(k.Until)
}

// faultPattern is what error codes look like. Anybody can make a link with another.
var faultPattern = regexp.MustCompile(`^[a-z_]{1,40}$`)

// FinishSignOn signs in whom the provider vouches for. See [pai.SignOnService] for the errors.
func (s *SignOn) FinishSignOn(ctx context.Context, answer pai.SignOnAnswer) (pai.Session, error) {
	k, ok := s.open(answer.Keep)
	if !ok || subtle.ConstantTimeCompare([]byte(k.State), []byte(answer.State)) != 1 {
		return pai.Session{}, pai.Errorf(pai.UnauthorizedUserError, "This sign-on did not start in this browser, or took too long: sign in again.")
	}
	if answer.Fault != "" {
		if !faultPattern.MatchString(answer.Fault) {
			answer.Fault = "an error"
		}
		return pai.Session{}, pai.Errorf(pai.ForbiddenUserError, "The identity provider refused: %s.", answer.Fault)
	}
	p, err := s.provider()
	if err != nil {
		return pai.Session{}, err
	}
	ctx = oidc.ClientContext(ctx, s.http)
	claims, err := s.redeem(ctx, p, answer.Code, k)
	if err != nil {
		return pai.Session{}, err
	}
	id, err := identityFrom(claims, s.openID)
	if err != nil {
		return pai.Session{}, err
	}
	return s.accounts.loginAs(ctx, id, s.openID.AdoptUsers)
}

// redeem turns the code into what the provider claims of the person.
func (s *SignOn) redeem(ctx context.Context, p *provider, code string, k kept) (map[string]any, error) {
	refused := pai.Errorf(pai.UnauthorizedUserError, "The identity provider does not confirm this sign-on: sign in again.")
	token, err := p.config.Exchange(ctx, code, oauth2.VerifierOption(k.Verifier))
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer) && answer.Response.StatusCode < http.StatusInternalServerError:
		return nil, refused.Because(errors.New(answer.ErrorCode)) // not its body: it may repeat secrets
	case errors.As(err, &answer):
		return nil, unavailable(errors.New(answer.Response.Status))
	case err != nil:
		return nil, unavailable(err)
	}
	raw, _ := token.Extra("id_token").(string)
	idToken, err := p.VerifierContext(ctx, &oidc.Config{ClientID: s.openID.ClientID, Now: s.now}).Verify(ctx, raw)
	if err != nil {
		return nil, refused.Because(err)
	}
	if subtle.ConstantTimeCompare([]byte(idToken.Nonce), []byte(k.Nonce)) != 1 {
		return nil, refused.Because(errors.New("wrong nonce"))
	}
	claims := map[string]any{}
	if err := idToken.Claims(&claims); err != nil {
		return nil, refused.Because(err)
	}
	return claims, s.complete(ctx, p, token, claims)
}

// complete asks the provider for what the ID token leaves out: many put little into it.
func (s *SignOn) complete(ctx context.Context, p *provider, token *oauth2.Token, claims map[string]any) error {
	if p.UserInfoEndpoint() == "" || (claims[s.openID.UsernameClaim] != nil && claims[s.openID.GroupsClaim] != nil) {
		return nil
	}
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return unavailable(err)
	}
	if info.Subject != claims["sub"] {
		return pai.Errorf(pai.UnauthorizedUserError, "The identity provider contradicts itself about who you are.")
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil {
		return unavailable(err)
	}
	for name, value := range more {
		if _, has := claims[name]; !has {
			claims[name] = value
		}
	}
	return nil
}

// SignOutPage is where the provider ends its own session.
func (s *SignOn) SignOutPage(context.Context) string {
	p, err := s.provider()
	if err != nil || p.signOut == "" {
		return ""
	}
	page, err := url.Parse(p.signOut)
	if err != nil {
		return ""
	}
	home, err := url.Parse(s.openID.RedirectURL)
	if err != nil {
		return ""
	}
	home = &url.URL{Scheme: home.Scheme, Host: home.Host, Path: "/login"}
	query := page.Query()
	query.Set("client_id", s.openID.ClientID)
	query.Set("post_logout_redirect_uri", home.String())
	page.RawQuery = query.Encode()
	return page.String()
}
