// Package portal is what people see in a browser: server-rendered pages beside the API, in the same process.
//
// It asks the same guarded services as the API, so it decides nothing about who may what. Use it from the wiring (package daemon). Its
// rules:
//
//   - A session is an API token in a cookie that scripts cannot read. There are no scripts, and nothing is loaded from elsewhere.
//   - A page is a file here and the template of the same name in pages/. It is rendered to a buffer first, so that a fault never leaves
//     half a page.
//   - A handler returns its error; one adapter makes a page of it (error.go). What is not a [*pai.Error] shows only the request's id.
//   - Redirects go to paths that are written here, never to one that a request names.
//
// Example:
//
//	handler := portal.New(services, portal.Options{API: restServer, Ready: cluster.Synced, Log: log})
package portal

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/peer"
)

//go:embed pages
var pages embed.FS

// Options of a portal.
type Options struct {
	API   http.Handler // gets the requests that are not for pages
	Ready func() bool  // whether the caches are current; nil: always
	Log   *slog.Logger // nil: slog.Default()

	Proxies peer.Proxies // whose word counts for where a request came from
}

// Portal serves the pages, and hands everything else to the API.
type Portal struct {
	services  pai.Services
	options   Options
	templates *template.Template
	pages     http.Handler
}

// apiPaths are not the portal's.
var apiPaths = []string{"/api/", "/rest-server/", "/healthz", "/readyz", "/metrics", "/openapi.", "/docs"}

// New makes the portal of guarded services.
func New(services pai.Services, o Options) *Portal {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	p := &Portal{services: services, options: o}
	p.templates = template.Must(template.New("").Funcs(template.FuncMap{
		"signOn": func() bool { return services.SignOn != nil }, "clock": clock, "fixer": fixer, "mountPath": pai.DefaultMountPath, "where": where, "yaml": yamlText,
	}).ParseFS(pages, "pages/*.html"))
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", p.signedIn(p.storages))
	mux.Handle("GET /jobs", p.signedIn(p.jobs))
	mux.Handle("GET /jobs/{job}", p.signedIn(p.job))
	mux.Handle("GET /jobs/{job}/config", p.signedIn(p.jobConfig))
	mux.Handle("POST /jobs/{job}/stop", p.signedIn(p.stopJob))
	mux.Handle("POST /jobs/{job}/delete", p.signedIn(p.deleteJob))
	mux.Handle("GET /profile", p.signedIn(p.profile))
	mux.Handle("POST /profile/token", p.signedIn(p.makeToken))
	mux.Handle("POST /profile/storage-password", p.signedIn(p.setStoragePassword))
	mux.Handle("POST /profile/storage-password/remove", p.signedIn(p.removeStoragePassword))
	mux.Handle("GET /login", p.page(p.loginForm))
	mux.Handle("POST /login", p.page(p.login))
	mux.Handle("POST /logout", p.signedIn(p.logout))
	mux.Handle("GET "+stylePath, p.page(style))
	mux.Handle("/", p.page(func(http.ResponseWriter, *http.Request) error {
		return pai.Errorf(pai.NoApiError, "There is no such page.")
	}))
	// A form of another site must not act in the name of somebody who is signed in here.
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(p.page(func(http.ResponseWriter, *http.Request) error {
		return pai.Errorf(pai.ForbiddenUserError, "This form was sent by another site.")
	}))
	p.pages = sameOrigin.Handler(mux)
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
	p.observe(w, r)
}

// stylePath is where the style sheet is. It is nobody's secret, and the page of an error needs it, too.
const stylePath = "/style.css"

func style(w http.ResponseWriter, _ *http.Request) error {
	text, err := pages.ReadFile("pages/style.css")
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(text) // the browser went away, if that fails
	return nil
}

// render fills a template and sends it, if it could be filled.
func (p *Portal) render(w http.ResponseWriter, status int, name string, data any) error {
	var text bytes.Buffer
	if err := p.templates.ExecuteTemplate(&text, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = text.WriteTo(w) // the browser went away, if that fails
	return nil
}

// clock is a time for people.
func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}
