package rest_test

import (
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

func TestMetrics(t *testing.T) {
	s := servertest.Start(t, nil)
	alice := "Bearer " + s.Token(t, "alice")
	do(t, s, "GET", "/api/v2/storages/personal", "", "", alice)
	do(t, s, "GET", "/rest-server/api/v2/storages/nfs-storage", "", "", alice)
	do(t, s, "GET", "/api/v2/storages/personal", "", "", "")
	do(t, s, "GET", "/api/v2/secret-path", "", "", alice)
	do(t, s, "NONSENSE", "/api/v2/storages", "", "", alice)
	resp, text := do(t, s, "GET", "/metrics", "", "", "")
	if resp.StatusCode != 200 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	for _, want := range []string{
		`pai_http_requests_total{code="200",method="GET",route="/api/v2/storages/{storage}"} 1`,
		`pai_http_requests_total{code="403",method="GET",route="/api/v2/storages/{storage}"} 1`,
		`pai_http_requests_total{code="401",method="GET",route="/api/v2/storages/{storage}"} 1`,
		`pai_http_requests_total{code="404",method="any",route="none"} 1`,
		`pai_http_requests_total{code="405",method="any",route="none"} 1`,
		`pai_http_request_duration_seconds_count{method="GET",route="/api/v2/storages/{storage}"} 3`,
		"pai_ready 1\n", "pai_http_requests_in_flight 1\n", "go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
	for _, name := range []string{"alice", "nfs-storage", "secret-path", "NONSENSE"} {
		if strings.Contains(text, name) {
			t.Errorf("%s is in the metrics", name)
		}
	}
}
