package rest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what /metrics shows. There is no name of a user, a group or a storage in it.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// noRouteLabel is the route of requests that no operation answers: their paths are whatever people send, and would fill the memory.
const noRouteLabel = "none"

func newMetrics(o Options) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pai_http_requests_total", Help: "Answered requests by route pattern, method and status.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pai_http_request_duration_seconds", Help: "Time from the request's head to the answer's end.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "pai_http_requests_in_flight", Help: "Requests that are worked on."}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.inFlight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pai_ready", Help: "1 when every cache is synced, else 0."}, func() float64 {
			if o.Ready() {
				return 1
			}
			return 0
		}))
	m.registry.MustRegister(o.Collectors...)
	return m
}

// count notes an answered request.
func (m *metrics) count(r *http.Request, req *request, status int, took time.Duration) {
	route, method := req.route, r.Method
	if route == "" {
		route, method = noRouteLabel, "any" // a method may be anything, too
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(route, method).Observe(took.Seconds())
}

// handler serves the metrics.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
