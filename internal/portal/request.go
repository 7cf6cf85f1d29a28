package portal

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Limits of one request.
const (
	maxForm      = 16 << 10
	readTimeout  = 15 * time.Second
	writeTimeout = time.Minute
)

// policy lets a page use our style sheet and send our forms, and nothing else.
const policy = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// request is what is known about a request, for its log line.
type request struct {
	http.ResponseWriter
	id     string
	status int
	user   pai.UserName
}

// WriteHeader remembers the status.
func (q *request) WriteHeader(status int) {
	if q.status == 0 {
		q.status = status
	}
	q.ResponseWriter.WriteHeader(status)
}

// Write counts as status 200.
func (q *request) Write(text []byte) (int, error) {
	if q.status == 0 {
		q.status = http.StatusOK
	}
	return q.ResponseWriter.Write(text)
}

// Unwrap is for http.ResponseController.
func (q *request) Unwrap() http.ResponseWriter { return q.ResponseWriter }

type requestKey struct{}

// requestFrom returns what is known about the request; never nil.
func requestFrom(ctx context.Context) *request {
	if q, ok := ctx.Value(requestKey{}).(*request); ok {
		return q
	}
	return &request{}
}

// observe gives a request its id, its headers, its limits and its log line, and answers when it panics. The line names the route
// and not the path, in which anything may stand.
func (p *Portal) observe(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	q := &request{ResponseWriter: w, id: rand.Text()}
	h := w.Header()
	h.Set("X-Request-Id", q.id)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(start.Add(readTimeout)) // a writer without deadlines is a test's
	_ = control.SetWriteDeadline(start.Add(writeTimeout))
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, q))
	r.Body = http.MaxBytesReader(q, r.Body, maxForm)
	defer func() {
		if fault := recover(); fault != nil {
			p.options.Log.Error("panic", "request", q.id, "operation", r.Pattern, "cause", fault, "stack", string(debug.Stack()))
			if q.status == 0 {
				p.fail(q, r, fmt.Errorf("panic: %v", fault))
			}
		}
		p.options.Log.Info("request", "request", q.id, "method", r.Method, "operation", r.Pattern, "status", q.status,
			"duration", time.Since(start).Round(time.Microsecond), "user", q.user, "address", p.options.Proxies.Address(r))
	}()
	if !p.options.Ready() && r.URL.Path != stylePath { // a session that cannot be checked yet is not a bad one
		h.Set("Retry-After", "1")
		p.fail(q, r, pai.Errorf(pai.UnavailableError, "The server is starting: try again in a moment."))
		return
	}
	p.pages.ServeHTTP(q, r)
}

// readForm reads what a form sends, and lifts the limit on reading: it would end the request while the request is worked on.
func readForm(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return pai.Errorf(pai.InvalidParametersError, "The form could not be read.").Because(err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // as in observe
	return nil
}
