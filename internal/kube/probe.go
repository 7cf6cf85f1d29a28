package kube

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
)

// Ask asks a file server whether it is there. Its error says why not; [ErrVersion] that it is there and speaks another version.
type Ask func(ctx context.Context, s Server) error

// ErrVersion is for implementations of [Ask].
var ErrVersion = errors.New("the server speaks another version of the protocol")

// Server is a file server that jobs wait for.
type Server struct {
	Kind    pai.StorageType
	Address string // host:port
	Version int    // of the protocol, as the volume asks for it; 0 when it does not
}

// How the REST server asks file servers.
const (
	askTimeout = 4500 * time.Millisecond // for an answer; the kernel needs 3 s to find out that nobody has an address
	askAgain   = 5 * time.Second         // not more often
	askHolds   = 20 * time.Second        // an answer counts so long
	askAtOnce  = 16                      // servers
)

// prober asks file servers, each at most once at a time, and remembers for a while what they said. A server that hangs costs nothing but
// its own question.
type prober struct {
	ask     Ask
	now     func() time.Time
	changed func() // called when a server says something else than before

	slots chan struct{}
	mu    sync.Mutex
	said  map[Server]*doctor.Probe
	wait  map[Server]chan struct{} // questions under way
}

func newProber(ask Ask, now func() time.Time, changed func()) *prober {
	return &prober{ask: ask, now: now, changed: changed, slots: make(chan struct{}, askAtOnce), said: map[Server]*doctor.Probe{}, wait: map[Server]chan struct{}{}}
}

// known is what a server said lately; nil when it was not asked.
func (p *prober) known(s Server) *doctor.Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if said := p.said[s]; said != nil && p.now().Sub(said.At) < askHolds {
		return said
	}
	return nil
}

// start asks a server unless that was done a moment ago. It returns a channel that is closed with the answer; nil when there is nothing to
// wait for.
func (p *prober) start(s Server) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if under := p.wait[s]; under != nil {
		return under
	}
	if said := p.said[s]; said != nil && p.now().Sub(said.At) < askAgain {
		return nil
	}
	done := make(chan struct{})
	p.wait[s] = done
	go p.question(s, done)
	return done
}

func (p *prober) question(s Server, done chan struct{}) {
	p.slots <- struct{}{}
	defer func() { <-p.slots }()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	answer := probeResult(p.ask(ctx, s))
	answer.At = p.now()
	p.mu.Lock()
	before := p.said[s]
	p.said[s] = &answer
	delete(p.wait, s)
	for other, said := range p.said { // of storages that nobody waits for any more
		if answer.At.Sub(said.At) > 10*askHolds {
			delete(p.said, other)
		}
	}
	p.mu.Unlock()
	close(done)
	if before == nil || before.Result != answer.Result {
		p.changed()
	}
}

// askAll asks Servers side by side, and waits for their answers as long as one may take.
func (p *prober) askAll(ctx context.Context, servers []Server) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout+500*time.Millisecond)
	defer cancel()
	var under []<-chan struct{}
	for _, s := range servers {
		if done := p.start(s); done != nil {
			under = append(under, done)
		}
	}
	for _, done := range under {
		select {
		case <-done:
		case <-ctx.Done():
			return
		}
	}
}

// probeResult reads what the network says.
func probeResult(err error) doctor.Probe {
	var dns *net.DNSError
	var network net.Error
	p := doctor.Probe{Result: doctor.ProbeSilent}
	switch {
	case err == nil:
		return doctor.Probe{Result: doctor.ProbeOK}
	case errors.Is(err, ErrVersion):
		p.Result = doctor.ProbeVersion
	case errors.As(err, &dns) && !dns.IsTimeout:
		p.Result = doctor.ProbeNoName
	case errors.Is(err, syscall.ECONNREFUSED):
		p.Result = doctor.ProbeRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		p.Result = doctor.ProbeUnreachable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		p.Result = doctor.ProbeTimeout
	}
	p.Detail = err.Error()
	return p
}
