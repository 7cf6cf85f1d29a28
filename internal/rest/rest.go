// Package rest serves the REST API, /api/v2, and the same under /rest-server/api/v2.
//
// It translates between HTTP and the guarded services, and decides nothing itself. Use it from the wiring (package daemon). Its rules:
//
//   - One file for each noun; an operation is a function from a typed input to a typed output.
//   - Every error goes through one table from codes to statuses (errors.go). What is not a [*pai.Error] is answered with "internal error"
//     and the request's id, and logged with its cause.
//   - Every request has an id (X-Request-Id) and leaves one log line, which never contains a token, a password, a body or a query.
//   - /metrics counts by route pattern, never by what a request names.
//   - The OpenAPI document, /openapi.yaml, is made from the operations, so it is what is really served; /docs is the same for people.
//
// Example:
//
//	handler := rest.New(auth.Guard(services, accounts), rest.Options{Version: "v1", Ready: cluster.Synced})
//	http.ListenAndServe(":9186", handler)
package rest

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/peer"
)

// The paths under which the API is mounted.
const (
	prefix      = "/api/v2"
	aliasPrefix = "/rest-server" // people and programs know <master>/rest-server/api/v2
)

// Options says how to serve.
type Options struct {
	Version string
	Ready   func() bool     // whether the caches are current; nil: always
	Log     *slog.Logger    // nil: slog.Default()
	Stop    context.Context // ends streams, which would otherwise outlive a shutdown; nil: never

	Proxies    peer.Proxies           // whose word counts for where a request came from
	Draining   func() bool            // whether the server is about to stop, and wants no new connections; nil: never
	Collectors []prometheus.Collector // more for /metrics
}

// Server is the REST API as an http.Handler.
type Server struct {
	services pai.Services
	options  Options
	api      huma.API
	metrics  *metrics
	mux      *http.ServeMux
	handler  http.Handler
	jobTexts jobTexts
}

// New makes the API of the services, which must be guarded.
func New(services pai.Services, o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Ready == nil {
		o.Ready = func() bool { return true }
	}
	if o.Draining == nil {
		o.Draining = func() bool { return false }
	}
	if o.Stop == nil {
		o.Stop = context.Background()
	}
	useOwnErrors()
	s := &Server{services: services, options: o, metrics: newMetrics(o), mux: http.NewServeMux()}
	s.api = humago.New(s.mux, describe(o.Version))
	s.api.UseMiddleware(nameOperation, s.admit)
	s.operations()
	s.plumbing()
	s.handler = s.middleware(s.mux)
	return s
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// OpenAPI describes what is served.
func (s *Server) OpenAPI() *huma.OpenAPI { return s.api.OpenAPI() }

// operations registers everything under /api/v2.
func (s *Server) operations() {
	s.infoOperations()
	if s.services.SignOn != nil {
		s.signOnOperations()
	} else {
		s.loginOperations()
	}
	s.logoutOperations()
	s.tokenOperations()
	s.userOperations()
	s.storageAccountOperations()
	s.groupOperations()
	s.storageOperations()
	s.jobOperations()
	s.logOperations()
	s.auditOperations()
	s.clusterOperations()
	s.readinessOperations()
}

// describe is the head of the OpenAPI document. The library's own pages load scripts from elsewhere, so they stay off.
func describe(version string) huma.Config {
	c := huma.DefaultConfig("PAI Storage", version)
	c.DocsPath, c.SchemasPath, c.OpenAPIPath = "", "", ""
	c.CreateHooks = nil
	c.Servers = []*huma.Server{{URL: "/"}, {URL: aliasPrefix}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer":      {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token from login."},
		"application": {Type: "http", Scheme: "basic", Description: "User name and application token; jobs only."},
	}
	return c
}

// security is how the OpenAPI document says who an operation is for.
var security = map[pai.Role][]map[string][]string{
	pai.Guest:         {{}},
	pai.SignedIn:      {{"bearer": {}}, {"application": {}}},
	pai.Person:        {{"bearer": {}}},
	pai.Administrator: {{"bearer": {"administrator"}}},
}

// roleKey is where an operation keeps its role.
const roleKey = "role"

// jobParameter is the part of a path that names a job.
const jobParameter = "framework"

// admit refuses callers who are less than an operation's role, or whom a job is none of their business, before anything of their request is read.
func (s *Server) admit(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	role, ok := op.Metadata[roleKey].(pai.Role)
	if !ok {
		role = pai.Administrator // nobody said: the safe side
	}
	err := role.Check(ctx.Context())
	if err == nil && strings.Contains(op.Path, "{"+jobParameter+"}") {
		if id, bad := pai.ParseJobID(ctx.Param(jobParameter)); bad == nil { // what cannot be one is not found, later
			err = pai.MayHave(ctx.Context(), id)
		}
	}
	if err == nil && op.Path == storagePasswordPath {
		err = pai.MayHaveStorageAccount(ctx.Context(), pai.UserName(ctx.Param("user")))
	}
	if err != nil {
		r, w := humago.Unwrap(ctx)
		if r.ContentLength != 0 { // else net/http waits for the body that we do not read, and answers only then
			w.Header().Set("Connection", "close")
		}
		s.fault(ctx.Context(), op.OperationID, err).write(w)
		return
	}
	next(ctx)
}

// register adds an operation whose handler returns errors as the services do.
func register[I, O any](s *Server, role pai.Role, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	op.BodyReadTimeout = readTimeout
	op.Security, op.Metadata = security[role], map[string]any{roleKey: role}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		requestFrom(ctx).bodyRead()
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.fault(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// plumbing registers what is not part of /api/v2.
func (s *Server) plumbing() {
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	s.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case s.options.Draining():
			plain(w, http.StatusServiceUnavailable, "the server is shutting down")
			return
		case !s.options.Ready():
			plain(w, http.StatusServiceUnavailable, "caches are not synced")
			return
		}
		plain(w, http.StatusOK, "ok")
	})
	s.mux.Handle("GET /metrics", s.metrics.handler())
	asYAML, err1 := s.api.OpenAPI().YAML()
	asJSON, err2 := json.Marshal(s.api.OpenAPI())
	page, err3 := renderDocs(s.api.OpenAPI())
	if err1 != nil || err2 != nil || err3 != nil {
		panic("the OpenAPI document cannot be written") // a mistake in the operations, which every test meets
	}
	s.mux.HandleFunc("GET /openapi.yaml", document("application/yaml", asYAML))
	s.mux.HandleFunc("GET /openapi.json", document("application/json", asJSON))
	s.mux.HandleFunc("GET /docs", docsHandler(page))
	s.mux.HandleFunc("/", s.noRoute)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write([]byte(text + "\n"))
}

func document(contentType string, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write(body)
	}
}

// message is the body of most answers to changes.
type message struct {
	Message string `json:"message" doc:"What was done"`
}
