package portal

import (
	"errors"
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
	Storage pai.StorageAccount
	Fault   string // why the SMB password is not set, or unwise
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

// setStoragePassword sets the password of one's own folder. A refused one is not shown again.
func (p *Portal) setStoragePassword(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	var account pai.StorageAccount
	password := r.PostFormValue("password")
	if password != r.PostFormValue("again") {
		err = pai.Errorf(pai.InvalidParametersError, "The two passwords differ.")
	} else {
		account, err = p.services.StorageAccounts.SetStoragePassword(r.Context(), caller.User, pai.Password(password))
	}
	var known *pai.Error
	switch {
	case err == nil && account.Warning != "":
		return p.profilePage(w, r, profileData{Fault: account.Warning})
	case err == nil:
		http.Redirect(w, r, storagePasswordPath, http.StatusSeeOther)
		return nil
	case errors.As(err, &known) && (known.Code == pai.InvalidParametersError || known.Code == pai.ConflictUserError):
		return p.profilePage(w, r, profileData{Fault: known.Message})
	}
	return err
}

// removeStoragePassword takes the password of one's own folder away.
func (p *Portal) removeStoragePassword(w http.ResponseWriter, r *http.Request) error {
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	if _, err := p.services.StorageAccounts.RemoveStoragePassword(r.Context(), caller.User); err != nil {
		return err
	}
	http.Redirect(w, r, storagePasswordPath, http.StatusSeeOther)
	return nil
}

// storagePasswordPath is the part of the page that the SMB password is on.
const storagePasswordPath = "/profile#smb"

// profilePage completes the page and sends it.
func (p *Portal) profilePage(w http.ResponseWriter, r *http.Request, data profileData) error {
	var err error
	if data.Caller, err = pai.CallerFrom(r.Context()); err != nil {
		return err
	}
	if data.Account, err = p.services.Users.User(r.Context(), data.Caller.User); err != nil {
		return err
	}
	if data.Storage, err = p.services.StorageAccounts.StorageAccount(r.Context(), data.Caller.User); err != nil {
		return err
	}
	scheme := "http"
	if session.OverTLS(r) {
		scheme = "https"
	}
	data.Server = scheme + "://" + r.Host
	status := http.StatusOK
	if data.Fault != "" {
		status = http.StatusBadRequest
	}
	return p.render(w, status, "profile.html", data)
}
