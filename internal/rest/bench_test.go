package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// BenchmarkReads measures reads through the whole server, authentication included, side by side with a bare
// handler that writes the same bytes: what counts is the ratio.
func BenchmarkReads(b *testing.B) {
	s := servertest.Start(b, io.Discard)
	token := "Bearer " + s.Token(b, "alice")
	for _, path := range []string{"/api/v2/storages", "/api/v2/storages/personal", "/api/v2/groups/default"} {
		answer := serveOnce(s.REST, path, token)
		if answer.Code != http.StatusOK {
			b.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
		}
		bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(answer.Body.Bytes()) })
		b.Run(path+"/server", func(b *testing.B) { serveMany(b, s.REST, path, token) })
		b.Run(path+"/bare", func(b *testing.B) { serveMany(b, bare, path, token) })
	}
}

func serveMany(b *testing.B, h http.Handler, path, token string) {
	b.ReportAllocs()
	for b.Loop() {
		if code := serveOnce(h, path, token).Code; code != http.StatusOK {
			b.Fatalf("%s: %d", path, code)
		}
	}
}

func serveOnce(h http.Handler, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Authorization", token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
