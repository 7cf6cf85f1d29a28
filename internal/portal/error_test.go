package portal_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/portal"
)

// broken are services that know every token and nothing else.
type broken struct {
	pai.TokenService
	pai.StorageService
}

func (broken) Authenticate(context.Context, string) (pai.Caller, error) {
	return pai.Caller{User: "alice"}, nil
}

func (broken) Storages(context.Context) ([]pai.Storage, error) {
	return nil, errors.New("dial CANARY")
}

// TestInternalErrors: people see the request's id, the log has the cause under it.
func TestInternalErrors(t *testing.T) {
	for path, cause := range map[string]string{"/": "dial CANARY", "/jobs/alice~x": "nil pointer"} { // no job service: a panic
		var log strings.Builder
		p := portal.New(pai.Services{Tokens: broken{}, Storages: broken{}}, portal.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
		answer := ask(p, path)
		id := answer.Header().Get("X-Request-Id")
		text := answer.Body.String()
		if answer.Code != http.StatusInternalServerError || id == "" || !strings.Contains(text, id) || strings.Contains(text, cause) {
			t.Errorf("%s: %d %s", path, answer.Code, text)
		}
		if !strings.Contains(log.String(), id) || !strings.Contains(log.String(), cause) {
			t.Errorf("%s: the log is %s", path, log.String())
		}
	}
}

// away are services whose Kubernetes does not answer.
type away struct{ broken }

func (away) Storages(context.Context) ([]pai.Storage, error) {
	return nil, fmt.Errorf("list: %w", &net.OpError{Op: "dial", Err: errors.New("CANARY")})
}

// TestOutOfReach: what the server needs is away, so trying again can help.
func TestOutOfReach(t *testing.T) {
	p := portal.New(pai.Services{Tokens: away{}, Storages: away{}}, portal.Options{Log: slog.New(slog.DiscardHandler)})
	if answer := ask(p, "/"); answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "try again") || strings.Contains(answer.Body.String(), "CANARY") {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

// TestStarting: while the caches are empty nobody loses a session.
func TestStarting(t *testing.T) {
	p := portal.New(pai.Services{Tokens: broken{}}, portal.Options{Ready: func() bool { return false }, Log: slog.New(slog.DiscardHandler)})
	answer := ask(p, "/")
	if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Set-Cookie") != "" {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
	if answer := ask(p, "/style.css"); answer.Code != http.StatusOK {
		t.Errorf("the page that says so has no style: %d", answer.Code)
	}
}

func ask(h http.Handler, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Cookie", "pai-session=x")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
