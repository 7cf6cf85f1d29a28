package daemon

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	k8srest "k8s.io/client-go/rest"
)

// Pauses of whoever waits for the Kubernetes API to come back, from the first to the longest; each is up to as long again, so that the
// caches of many servers do not all ask at once.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 500 * time.Millisecond
)

// patient returns a configuration whose reads wait while the Kubernetes API is out of reach, instead of failing. It is for the caches: they
// pause up to a minute after failures, and do not let anybody set that, so that for a minute after an outage a server would answer what
// was true before.
func patient(config *k8srest.Config, log *slog.Logger) *k8srest.Config {
	config = k8srest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				return next.RoundTrip(r)
			}
			for pause := firstPause; ; pause = min(2*pause, longestPause) {
				resp, err := next.RoundTrip(r)
				if err == nil && resp.StatusCode < http.StatusInternalServerError || r.Context().Err() != nil {
					return resp, err
				}
				if pause == firstPause {
					log.Warn("a cache waits for Kubernetes", "path", r.URL.Path, "cause", failure(resp, err))
				}
				select {
				case <-r.Context().Done():
					return resp, err
				case <-time.After(pause + rand.N(pause)):
				}
				if err == nil { // so that its connection can be used again
					_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
					resp.Body.Close()
				}
			}
		})
	})
	return config
}

// failure is what went wrong with a request.
func failure(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	return resp.Status
}
