package portal

import (
	"net/http"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/session"
)

// profileData is the page of who is signed in.
type profileData struct {
	Caller  pai.Caller
	Account pai.Account
	Server  string // how this browser reaches the server
	Token   string // a new one, shown this once
	Until   time.Time
}

// copiedLifetime is how long a token is good for that people copy from the page.
const copiedLifetime = 7 * 24 * time.Hour

func (p *Portal) profile(w http.ResponseWriter, r *http.Request) error {
	return p.profilePage(w, r, profileData{})
}

// makeToken makes a token to copy. The session's own is never shown: it ends with the session.
func (p *Portal) makeToken(w http.ResponseWriter, r *http.Request) error {
	until := time.Now().Add(copiedLifetime)
	token, err := p.services.Tokens.Issue(r.Context(), copiedLifetime)
	if err != nil {
		return err
	}
	return p.profilePage(w, r, profileData{Token: token, Until: until})
}

// profilePage completes the page and sends it.
func (p *Portal) profilePage(w http.ResponseWriter, r *http.Request, data profileData) error {
	var err error
	if data.Caller, err = pai.CallerFrom(r.Context()); err != nil {
		return err
	}
	if data.Account, err = p.services.Users.User(r.Context(), data.Caller.User); err != nil {
		return err
	}
	scheme := "http"
	if session.OverTLS(r) {
		scheme = "https"
	}
	data.Server = scheme + "://" + r.Host
	return p.render(w, http.StatusOK, "profile.html", data)
}
