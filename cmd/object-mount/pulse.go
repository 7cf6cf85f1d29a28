package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// The library tries again and again to reach a store, for many minutes, and holds what it works on meanwhile. Nobody should wait for that, and
// nobody who waits for something big should be cut off. So whoever has waited long has the store asked whether it lives at all.
const (
	longTime  = 15 * time.Second // how long an operation goes on before the store is asked
	deadTime  = time.Second      // the same, of a store that did not answer the last time
	pulseTime = 5 * time.Second  // how long the store has to answer; twice, until it is taken for dead
)

// pulse asks whether a store answers.
type pulse struct {
	url    string
	client http.Client

	dead atomic.Bool

	mu    sync.Mutex
	asked time.Time
}

func pulseOf(v mount.Volume, account string) *pulse {
	p := &pulse{url: v.Endpoint}
	switch {
	case v.Endpoint != "":
	case v.Kind == mount.AzureBlob:
		p.url = account + ".blob.core.windows.net"
	case v.Region != "":
		p.url = "s3." + v.Region + ".amazonaws.com"
		if strings.HasPrefix(v.Region, "cn-") { // a partition of its own
			p.url += ".cn"
		}
	default:
		p.url = "s3.amazonaws.com"
	}
	if !strings.Contains(p.url, "://") {
		p.url = "https://" + p.url
	}
	p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	p.client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	return p
}

// alive tells whether the store answers. Those who ask at the same time share the answer.
func (p *pulse) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) > pulseTime {
		p.dead.Store(!p.ask() && (p.dead.Load() || !p.ask()))
		p.asked = time.Now()
	}
	return !p.dead.Load()
}

// patience is how long an operation goes on before the store is asked.
func (p *pulse) patience() time.Duration {
	if p.dead.Load() {
		return deadTime
	}
	return longTime
}

// ask sends a request without a signature. Whatever is answered, it is an answer.
func (p *pulse) ask() bool {
	ctx, cancel := context.WithTimeout(context.Background(), pulseTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, p.url, nil)
	if err != nil {
		return true // nothing is known of it
	}
	answer, err := p.client.Do(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	var certificate *tls.CertificateVerificationError
	return err == nil || errors.As(err, &certificate)
}
