package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// AnswerWithin bounds what is asked of the API server from now on, each question by itself: one that takes connections and stays silent is an error
// then. Logs and watches may last, and so may what is applied, which has a limit of its own.
func (s *Services) AnswerWithin(limit time.Duration) error {
	config := rest.CopyConfig(s.rest)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return bounded{next, limit} })
	client, err := kubernetes.NewForConfig(config)
	if err == nil {
		s.client = client
	}
	return err
}

// bounded ends requests that are not answered within a limit.
type bounded struct {
	next  http.RoundTripper
	limit time.Duration
}

// RoundTrip answers a request, or says that nobody does.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Has("watch") || strings.HasSuffix(r.URL.Path, "/log") {
		return b.next.RoundTrip(r)
	}
	silent := fmt.Errorf("the API server does not answer: it was given %s", b.limit)
	ctx, cancel := context.WithTimeoutCause(r.Context(), b.limit, silent)
	response, err := b.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		err = silence(ctx, err, silent)
		cancel()
		return nil, err
	}
	response.Body = &boundedBody{response.Body, ctx, cancel, silent}
	return response, nil
}

// silence is the error that says that nobody answers, where that is why another one came.
func silence(ctx context.Context, err, silent error) error {
	if errors.Is(context.Cause(ctx), silent) {
		return silent
	}
	return err
}

// boundedBody is an answer whose end is awaited within the limit, too.
type boundedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
	silent error
}

// Read reads on.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = silence(b.ctx, err, b.silent)
	}
	return n, err
}

// Close ends the request.
func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
