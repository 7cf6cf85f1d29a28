package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// TestShutdownDropsNothing stops a server under load, and in the middle of a write. Its clients do what a load balancer does: they go
// away when the server is not ready any more. None of them may see anything but an answer. The drain lasts until they have gone.
func TestShutdownDropsNothing(t *testing.T) {
	kubernetes := kubefake.New()
	reached, goOn := make(chan struct{}), make(chan struct{})
	kubernetes.PrependReactor("create", "secrets", func(a ktesting.Action) (bool, runtime.Object, error) {
		if a.GetNamespace() == "pai-user-v2" && a.(ktesting.CreateAction).GetObject().(interface{ GetName() string }).GetName() == "736c6f77" {
			close(reached)
			<-goOn
		}
		return false, nil, nil
	})
	const drain = 7 * time.Second
	drained := make(chan time.Time)
	url, stop, ended := startServer(t, kubernetes, func(s *restServer) {
		s.drain = drain
		s.after = func(d time.Duration) <-chan time.Time {
			if d != drain {
				t.Errorf("it drains for %s, want %s", d, drain)
			}
			return drained
		}
	})
	c, err := client.New(url, signIn(t, url))
	if err != nil {
		t.Fatal(err)
	}
	var answered atomic.Int64
	var leaving atomic.Bool
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() { readUntil(t, url, &leaving, &answered) })
	}
	await.Until(t, "a hundred answers", func() bool { return answered.Load() >= 100 || t.Failed() })
	var write sync.WaitGroup
	write.Go(func() {
		if _, err := c.CreateUser(context.Background(), client.NewUser{Username: "slow", Password: "secret-slow"}); err != nil {
			t.Errorf("the write under way: %v", err)
		}
	})
	<-reached
	stop()
	began := time.Now()
	waitReadiness(t, url, http.StatusServiceUnavailable)
	await.Kept(t, "the drain is told", time.Since(began), 500*time.Millisecond)
	leaving.Store(true)
	readers.Wait()
	close(drained)
	close(goOn)
	write.Wait()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	if text := auditText(t, kubernetes); !strings.Contains(text, `"name":"slow"`) {
		t.Error("the last write is not in the audit trail")
	}
}

// readUntil asks over one connection after the other until it is told to leave.
func readUntil(t *testing.T, url string, leaving *atomic.Bool, answered *atomic.Int64) {
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	for !leaving.Load() && !t.Failed() {
		resp, err := web.Get(url + "/api/v2/info")
		if err != nil {
			t.Errorf("after %d answers: %v", answered.Load(), err)
			return
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("got %d, %v", resp.StatusCode, err)
		}
		resp.Body.Close()
		answered.Add(1)
	}
}

// waitReadiness asks until /readyz answers with the status.
func waitReadiness(t *testing.T, url string, status int) {
	t.Helper()
	await.Until(t, fmt.Sprintf("/readyz answers %d", status), func() bool {
		resp, err := http.Get(url + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == status
	})
}

// startServer runs a server with an administrator until stop is called. It does not drain, unless it is configured so.
func startServer(t *testing.T, kubernetes *fake.Clientset, configure func(*restServer)) (url string, stop func(), ended <-chan error) {
	t.Helper()
	out, in := io.Pipe()
	s := &restServer{listen: "127.0.0.1:0", jobsNamespace: "default", systemNamespace: "pai-system", bootstrapAdmin: "admin",
		bootstrapPassword: passwordFile(t, "secret-admin"), stdout: in, log: slog.New(slog.DiscardHandler)}
	configure(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, kubernetes) }()
	t.Cleanup(cancel)
	line := make([]byte, 200)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "listening on ")), cancel, done
}

// auditText is the audit trail as it is kept.
func auditText(t *testing.T, kubernetes *fake.Clientset) string {
	t.Helper()
	list, err := kubernetes.CoreV1().ConfigMaps(kube.SystemNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, m := range list.Items {
		for _, value := range m.Data {
			text.WriteString(value)
		}
	}
	return text.String()
}
