package rollout

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/pai-storage/pai-storage/internal/await"
)

// TestAnswerWithin: an API server that takes a question, or half answers it, is an error after a while. A log may take its time.
func TestAnswerWithin(t *testing.T) {
	const limit = 100 * time.Millisecond
	var half atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/log") {
			time.Sleep(2 * limit)
			_, _ = w.Write([]byte("a line\n"))
			return
		}
		if half.Load() {
			_, _ = w.Write([]byte("{"))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	s, err := NewServices(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AnswerWithin(limit); err != nil {
		t.Fatal(err)
	}
	for _, is := range []bool{false, true} {
		half.Store(is)
		done := make(chan error, 1)
		go func() { _, err := s.Pull(t.Context()); done <- err }()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), "the API server does not answer: it was given 100ms") {
				t.Errorf("half an answer %v: %v", is, err)
			}
		case <-time.After(await.Limit):
			t.Fatal("it waits for ever")
		}
	}
	stream, err := s.client.CoreV1().Pods(systemNamespace).GetLogs("pod", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if text, err := io.ReadAll(stream); err != nil || string(text) != "a line\n" {
		t.Errorf("the log: %q, %v", text, err)
	}
}
