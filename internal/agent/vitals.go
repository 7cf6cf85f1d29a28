package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// vitals are how the agent itself is: for probes and for /metrics.
type vitals struct {
	registry *prometheus.Registry
	checks   *prometheus.CounterVec
	seconds  prometheus.Histogram

	mu   sync.Mutex
	last time.Time // when the machine was looked at
}

// stuckAfter is how long a look at the machine may take, which opens a few files and asks Kubernetes once or twice.
const stuckAfter = 2 * time.Minute

func newVitals() *vitals {
	v := &vitals{
		registry: prometheus.NewRegistry(),
		checks:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pai_node_agent_checks_total", Help: "Checks of storages that ended, by how: ok, failed, hung, unchecked."}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pai_node_agent_check_seconds", Help: "Time that checks took: mounting, reading or writing, unmounting.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20}}),
		last: time.Now(),
	}
	v.registry.MustRegister(v.checks, v.seconds)
	return v
}

// ended counts a check.
func (v *vitals) ended(result string, took time.Duration) {
	v.checks.WithLabelValues(result).Inc()
	v.seconds.Observe(took.Seconds())
}

// follow has the numbers of a checker and a publisher among the metrics.
func (v *vitals) follow(c *checker, p *publisher, b *board) {
	gauge := func(name, help string, value func() float64) {
		v.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pai_node_agent_" + name, Help: help}, value))
	}
	gauge("checks_running", "Checks that run now.", func() float64 { running, _ := c.count(); return float64(running) })
	gauge("checks_left_behind", "Checks that hang, and that nobody waits for.", func() float64 { _, left := c.count(); return float64(left) })
	gauge("last_report_seconds", "When the last report was written, in seconds since 1970.", func() float64 { return float64(p.state().last.Unix()) })
	gauge("faults", "What the agent could not do, see its report.", func() float64 { return float64(len(b.getFaults())) })
	gauge("dead_mounts", "Object store mounts whose process is gone.", func() float64 {
		dead := 0
		for _, m := range b.getMounts() {
			if !m.Alive && !m.Lost {
				dead++
			}
		}
		return float64(dead)
	})
	gauge("lost_mounts", "Object store mounts that ended, and whose files were not all uploaded.", func() float64 {
		lost := 0
		for _, m := range b.getMounts() {
			if m.Lost {
				lost++
			}
		}
		return float64(lost)
	})
	counter := func(name, help string, value func() float64) {
		v.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "pai_node_agent_" + name, Help: help}, value))
	}
	counter("reports_total", "Reports that were written.", func() float64 { return float64(p.state().written) })
	counter("report_failures_total", "Reports that could not be written.", func() float64 { return float64(p.state().failed) })
}

// beat says that the machine was looked at.
func (v *vitals) beat(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = now
}

// stuck says why the agent should be started anew; nil when it should not.
func (v *vitals) stuck(now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if since := now.Sub(v.last); since > stuckAfter {
		return fmt.Errorf("looking at the machine takes %s already", since.Round(time.Second))
	}
	return nil
}

// handler serves probes and numbers. Ready is who has told Kubernetes what the machine can mount.
func (v *vitals) handler(p *publisher) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(v.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, v.stuck(time.Now())) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		var err error
		if s := p.state(); s.last.IsZero() {
			err = errors.New("no report was written yet")
			if s.fault != nil {
				err = fmt.Errorf("no report was written yet: %w", s.fault)
			}
		}
		answer(w, err)
	})
	return mux
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

func serveHTTP(ctx context.Context, listener net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}
