package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	k8srest "k8s.io/client-go/rest"
)

// TestPatience: reads of the caches wait for Kubernetes, everything else is told at once, and an end is an end.
func TestPatience(t *testing.T) {
	var asked atomic.Int64
	var down atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 3 {
			down.Store(false)
		}
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"SecretList","apiVersion":"v1","items":[]}`))
	}))
	defer web.Close()
	client, err := kubernetes.NewForConfig(patient(&k8srest.Config{Host: web.URL}, slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	secrets := client.CoreV1().Secrets("default")
	down.Store(true)
	if _, err := secrets.List(t.Context(), metav1.ListOptions{}); err != nil || asked.Load() != 3 {
		t.Errorf("a read: %v after %d tries", err, asked.Load())
	}
	down.Store(true)
	if err := secrets.Delete(t.Context(), "x", metav1.DeleteOptions{}); err == nil || asked.Load() != 4 {
		t.Errorf("a write: %v after %d tries", err, asked.Load())
	}
	web.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := secrets.List(ctx, metav1.ListOptions{}); err == nil || ctx.Err() == nil {
		t.Errorf("a read that ends before Kubernetes is back: %v", err)
	}
}
