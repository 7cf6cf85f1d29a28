package portal

import (
	"errors"
	"net/http"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/session"
)

// sessionLifetime is how long a browser stays signed in.
const sessionLifetime = 12 * time.Hour

// signedIn adds the caller of the session to the request.
func (p *Portal) signedIn(h handler) http.Handler {
	return p.page(func(w http.ResponseWriter, r *http.Request) error {
		cookie, err := r.Cookie(session.Token)
		if err != nil {
			return pai.Errorf(pai.UnauthorizedUserError, "Sign in first.")
		}
		caller, err := p.services.Tokens.Authenticate(r.Context(), cookie.Value)
		if err != nil {
			return err
		}
		requestFrom(r.Context()).user = caller.User
		return h(w, r.WithContext(pai.WithCaller(r.Context(), caller)))
	})
}

// setSession gives the browser a token to keep; "" takes it away.
func setSession(w http.ResponseWriter, r *http.Request, token string) {
	http.SetCookie(w, session.Cookie(session.Token, token, 0, session.OverTLS(r)))
}

// loginData is what the form shows again after a refusal; never the password.
type loginData struct{ User, Fault string }

func (p *Portal) loginForm(w http.ResponseWriter, r *http.Request) error {
	fault := session.FaultOf(r)
	if fault != "" {
		http.SetCookie(w, session.FaultCookie("", session.OverTLS(r)))
	}
	return p.render(w, http.StatusOK, "login.html", loginData{Fault: fault})
}

func (p *Portal) login(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	opened, err := p.open(r)
	if err != nil {
		status, fault, ok := refusal(err)
		if !ok {
			return err
		}
		return p.render(w, status, "login.html", loginData{User: r.PostFormValue("username"), Fault: fault})
	}
	requestFrom(r.Context()).user = opened.User
	setSession(w, r, opened.Token)
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func (p *Portal) open(r *http.Request) (pai.Session, error) {
	user, err := pai.ParseUserName(r.PostFormValue("username"))
	if err != nil {
		return pai.Session{}, err
	}
	return p.services.Tokens.Login(r.Context(), pai.Credentials{
		User: user, Password: pai.Password(r.PostFormValue("password")), Lifetime: sessionLifetime, Address: p.options.Proxies.Address(r),
	})
}

// refusal says what the form shows of a login that failed; not ok when the failure is not the person's. The form does not say which
// users there are.
func refusal(err error) (status int, fault string, ok bool) {
	var known *pai.Error
	if !errors.As(err, &known) {
		return 0, "", false
	}
	switch known.Code {
	case pai.NoUserError, pai.IncorrectPasswordError:
		return http.StatusForbidden, "User name or password is wrong.", true
	case pai.InvalidParametersError, pai.ForbiddenUserError:
		return http.StatusForbidden, known.Message, true
	case pai.TooManyRequestsError:
		return http.StatusTooManyRequests, known.Message, true
	}
	return 0, "", false
}

func (p *Portal) logout(w http.ResponseWriter, r *http.Request) error {
	if err := p.services.Tokens.Logout(r.Context()); err != nil {
		return err
	}
	setSession(w, r, "")
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}
