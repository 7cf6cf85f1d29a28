// Package portal is what people see in a browser: server-rendered pages beside the API, in the same process.
//
// It asks the same guarded services as the API, so it decides nothing about who may what. A session is an API
// token in a cookie that scripts cannot read; there are no scripts. A page is a template in pages/ and a
// method that fills it; it is rendered to a buffer first, so that a fault never leaves half a page.
//
// Example:
//
//	handler := portal.New(services, portal.Options{API: restServer, Log: log})
package portal

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

//go:embed pages
var pages embed.FS

// cookieName is where a browser keeps the token.
const cookieName = "pai-session"

// Options of a portal.
type Options struct {
	API http.Handler // gets the requests that are not for pages
	Log *slog.Logger
}

// Portal serves the pages, and hands everything else to the API.
type Portal struct {
	services  pai.Services
	options   Options
	templates *template.Template
	pages     http.Handler
}

// apiPaths are not the portal's.
var apiPaths = []string{"/api/", "/rest-server/", "/healthz", "/readyz", "/openapi."}

// New makes the portal of guarded services.
func New(services pai.Services, o Options) *Portal {
	p := &Portal{services: services, options: o, templates: template.Must(template.ParseFS(pages, "pages/*.html"))}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", p.signedIn(p.storages))
	mux.Handle("GET /login", p.page(p.loginForm))
	mux.Handle("POST /login", p.page(p.login))
	mux.Handle("POST /logout", p.signedIn(p.logout))
	mux.HandleFunc("GET /style.css", style)
	mux.Handle("/", p.page(func(http.ResponseWriter, *http.Request) error {
		return pai.Errorf(pai.NoApiError, "There is no such page.")
	}))
	// A form of another site must not act in the name of somebody who is signed in here.
	p.pages = http.NewCrossOriginProtection().Handler(mux)
	return p
}

// ServeHTTP answers one request.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, path := range apiPaths {
		if strings.HasPrefix(r.URL.Path, path) {
			p.options.API.ServeHTTP(w, r)
			return
		}
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	p.pages.ServeHTTP(w, r)
}

func style(w http.ResponseWriter, _ *http.Request) {
	text, err := pages.ReadFile("pages/style.css")
	if err != nil {
		http.Error(w, "no style", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(text)
}

// handler is a page or an action; its error becomes a page.
type handler func(http.ResponseWriter, *http.Request) error

// page is the one adapter from handlers to HTTP.
func (p *Portal) page(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			p.fail(w, r, err)
		}
	})
}

// signedIn adds the caller of the session to the request.
func (p *Portal) signedIn(h handler) http.Handler {
	return p.page(func(w http.ResponseWriter, r *http.Request) error {
		cookie, err := r.Cookie(cookieName)
		if err != nil {
			return pai.Errorf(pai.UnauthorizedUserError, "Sign in first.")
		}
		caller, err := p.services.Tokens.Authenticate(r.Context(), cookie.Value)
		if err != nil {
			return err
		}
		return h(w, r.WithContext(pai.WithCaller(r.Context(), caller)))
	})
}

// statuses of the errors that people can do something about.
var statuses = map[pai.Code]int{
	pai.ForbiddenUserError: http.StatusForbidden, pai.NoApiError: http.StatusNotFound, pai.InvalidParametersError: http.StatusBadRequest,
	pai.UnavailableError: http.StatusServiceUnavailable,
}

func (p *Portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	var known *pai.Error
	if !errors.As(err, &known) || known.Code == pai.UnknownError {
		p.options.Log.Error("portal", "path", r.URL.Path, "cause", err.Error())
		known = pai.Errorf(pai.UnknownError, "Something went wrong here. The server's log says what.")
	}
	if known.Code == pai.UnauthorizedUserError {
		forget(w)
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	status, ok := statuses[known.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	if p.render(w, status, "error.html", known.Message) != nil {
		http.Error(w, known.Message, status)
	}
}

// render fills a template and sends it, if it could be filled.
func (p *Portal) render(w http.ResponseWriter, status int, name string, data any) error {
	var text bytes.Buffer
	if err := p.templates.ExecuteTemplate(&text, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := text.WriteTo(w)
	if err != nil {
		p.options.Log.Debug("portal", "page", name, "cause", err.Error()) // the browser went away
	}
	return nil
}

// loginData is what the form shows again after a refusal; never the password.
type loginData struct{ User, Fault string }

func (p *Portal) loginForm(w http.ResponseWriter, _ *http.Request) error {
	return p.render(w, http.StatusOK, "login.html", loginData{})
}

func (p *Portal) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return pai.Errorf(pai.InvalidParametersError, "The form could not be read.")
	}
	session, err := p.session(r.Context(), r)
	var refused *pai.Error
	switch {
	case errors.As(err, &refused) && refused.Code != pai.UnknownError:
		return p.render(w, http.StatusForbidden, "login.html", loginData{User: r.PostFormValue("username"), Fault: refused.Message})
	case err != nil:
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: session.Token, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// sessionLifetime is how long a browser stays signed in.
const sessionLifetime = 12 * time.Hour

func (p *Portal) session(ctx context.Context, r *http.Request) (pai.Session, error) {
	user, err := pai.ParseUserName(r.PostFormValue("username"))
	if err != nil {
		return pai.Session{}, err
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	return p.services.Tokens.Login(ctx, pai.Credentials{User: user, Password: pai.Password(r.PostFormValue("password")), Lifetime: sessionLifetime, Address: host})
}

func (p *Portal) logout(w http.ResponseWriter, r *http.Request) error {
	if err := p.services.Tokens.Logout(r.Context()); err != nil {
		return err
	}
	forget(w)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// forget takes the session from the browser.
func forget(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// storagesData is the page of storages.
type storagesData struct {
	Caller   pai.Caller
	Storages []pai.Storage
	Usable   []pai.Storage // the ones for the example
}

func (p *Portal) storages(w http.ResponseWriter, r *http.Request) error {
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	all, err := p.services.Storages.Storages(r.Context())
	if err != nil {
		return err
	}
	data := storagesData{Caller: caller, Storages: all}
	for _, s := range all {
		if s.Bound {
			data.Usable = append(data.Usable, s)
		}
	}
	return p.render(w, http.StatusOK, "storages.html", data)
}
