package rest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/session"
)

// Limits of one request.
const (
	maxBody      = 1 << 20
	readTimeout  = 15 * time.Second
	writeTimeout = time.Minute // streams set their own
)

// request is what is known about a request, for its log line.
type request struct {
	id        string
	operation string
	route     string // the pattern that the operation is at
	user      pai.UserName
	address   string
	secure    bool // the browser speaks TLS
	writer    *statusWriter
}

type requestKey struct{}

// requestFrom returns what is known about the request; never nil.
func requestFrom(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// bodyRead lifts the limit on reading the body. It would end the whole request when it passes while the request is worked on.
func (r *request) bodyRead() {
	if r.writer != nil {
		http.NewResponseController(r.writer).SetReadDeadline(time.Time{})
	}
}

// statusWriter remembers what was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader remembers the status.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// middleware wraps the routes: id, log line, recovery, limits, alias, and who is calling.
func (s *Server) middleware(next http.Handler) http.Handler {
	next = alias(withoutSlash(s.whenReady(s.authenticate(next))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.observe(next, w, r) })
}

// alias serves the API under its second path, too.
func alias(next http.Handler) http.Handler {
	stripped := http.StripPrefix(aliasPrefix, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, aliasPrefix+prefix+"/") {
			stripped.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// withoutSlash serves an API path with a slash at its end as the path without: clients of the original use both.
func withoutSlash(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, cut := strings.CutSuffix(r.URL.Path, "/"); cut && strings.HasPrefix(path, prefix+"/") {
			shorter := *r.URL
			shorter.Path, shorter.RawPath = path, strings.TrimSuffix(r.URL.RawPath, "/")
			clone := *r
			clone.URL = &shorter
			r = &clone
		}
		next.ServeHTTP(w, r)
	})
}

// whenReady refuses what the caches cannot answer yet.
func (s *Server) whenReady(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix+"/") && !s.options.Ready() {
			w.Header().Set("Retry-After", "1")
			(&errorBody{status: http.StatusServiceUnavailable, Code: pai.UnavailableError, Message: "The server is starting: try again in a moment."}).write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// observe gives a request its id, its limits and its log line, and answers when it panics.
func (s *Server) observe(next http.Handler, w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	sw := &statusWriter{ResponseWriter: w}
	req := &request{id: requestID(r), address: s.options.Proxies.Address(r), secure: session.OverTLS(r), writer: sw}
	w.Header().Set("X-Request-Id", req.id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if s.options.Draining() {
		w.Header().Set("Connection", "close") // so that nobody sends the next request to a server that is gone
	}
	s.metrics.inFlight.Inc()
	control := http.NewResponseController(w)
	control.SetReadDeadline(start.Add(readTimeout)) // also for what no operation reads: the library drains it
	control.SetWriteDeadline(start.Add(writeTimeout))
	r.Body = http.MaxBytesReader(sw, r.Body, maxBody)
	defer func() {
		p := recover()
		s.metrics.inFlight.Dec()
		if p != nil && p != http.ErrAbortHandler {
			s.options.Log.Error("panic", "request", req.id, "operation", req.operation, "cause", p, "stack", string(debug.Stack()))
			if sw.status == 0 {
				internal(req.id).write(sw)
			}
		}
		took := time.Since(start)
		s.metrics.count(r, req, sw.status, took)
		s.options.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("request", req.id), slog.String("method", r.Method),
			slog.String("operation", req.operation), slog.Int("status", sw.status), slog.Int64("bytes", sw.bytes),
			slog.Duration("duration", took.Round(time.Microsecond)), slog.String("user", string(req.user)), slog.String("address", req.address))
		if p == http.ErrAbortHandler {
			panic(p)
		}
	}()
	if r.URL.Path != cleanPath(r.URL.Path) { // before the mux redirects, which helps no API client
		s.noRoute(sw, r)
		return
	}
	ctx := pai.WithOrigin(context.WithValue(r.Context(), requestKey{}, req), pai.Origin{Address: req.address, Request: req.id})
	next.ServeHTTP(sw, r.WithContext(ctx))
}

func cleanPath(p string) string {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// requestIDPattern is what we take over from a proxy.
var requestIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); requestIDPattern.MatchString(id) {
		return id
	}
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// authenticate finds out who is calling. A bad token does not end the request here: some operations need none.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get("Authorization")
		if header == "" {
			next.ServeHTTP(w, r)
			return
		}
		caller, err := s.caller(r, header)
		if err != nil {
			next.ServeHTTP(w, r.WithContext(pai.WithoutCaller(r.Context(), err)))
			return
		}
		requestFrom(r.Context()).user = caller.User
		next.ServeHTTP(w, r.WithContext(pai.WithCaller(r.Context(), caller)))
	})
}

func (s *Server) caller(r *http.Request, header string) (pai.Caller, error) {
	scheme, value, _ := strings.Cut(header, " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return s.services.Tokens.Authenticate(r.Context(), value)
	case strings.EqualFold(scheme, "Basic"):
		return s.applicationCaller(r.Context(), value)
	}
	return pai.Caller{}, pai.Errorf(pai.UnauthorizedUserError, "Authorization must be \"Bearer <token>\", or \"Basic\" with an application token.")
}

// applicationCaller reads Basic credentials, user name and application token.
func (s *Server) applicationCaller(ctx context.Context, value string) (pai.Caller, error) {
	refused := pai.Errorf(pai.UnauthorizedUserError, "Basic takes a user name and one of the user's application tokens.")
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return pai.Caller{}, refused
	}
	user, token, _ := strings.Cut(string(raw), ":")
	caller, err := s.services.Tokens.Authenticate(ctx, token)
	if err != nil {
		return pai.Caller{}, err
	}
	if !caller.Application || string(caller.User) != user {
		return pai.Caller{}, refused
	}
	return caller, nil
}

// nameOperation tells the log line and the metrics which operation it was.
func nameOperation(ctx huma.Context, next func(huma.Context)) {
	r := requestFrom(ctx.Context())
	r.operation, r.route = ctx.Operation().OperationID, ctx.Operation().Path
	next(ctx)
}

// meantPath is a path that exists and looks as what was asked for; "" when none does.
func (s *Server) meantPath(r *http.Request) string {
	path := cleanPath(r.URL.Path)
	alias := ""
	for strings.HasPrefix(path, aliasPrefix+"/") {
		alias, path = aliasPrefix, strings.TrimPrefix(path, aliasPrefix)
	}
	path = strings.Replace(path, "/api/v1/", "/api/v2/", 1)
	if !strings.Contains(path, "/api/") {
		path = "/api/v2" + path
	}
	for _, meant := range []string{path, path + "s"} {
		other := r.Clone(r.Context())
		other.URL.Path, other.URL.RawPath = meant, ""
		if _, pattern := s.mux.Handler(other); strings.Contains(pattern, "/api/") && alias+meant != r.URL.Path {
			return alias + meant
		}
	}
	return ""
}

// noRoute answers for paths and methods that do not exist.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 || r.URL.Path != cleanPath(r.URL.Path) {
		message := "There is no such API."
		if path := s.meantPath(r); path != "" {
			message += " Did you mean " + r.Method + " " + path + "?"
		}
		(&errorBody{status: http.StatusNotFound, Code: pai.NoApiError, Message: message}).write(w)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	(&errorBody{status: http.StatusMethodNotAllowed, Code: pai.MethodNotAllowedError,
		Message: "This path takes " + strings.Join(allowed, ", ") + " only."}).write(w)
}
