package daemon

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	k8srest "k8s.io/client-go/rest"

	"github.com/pai-storage/pai-storage/internal/kube"
)

// requestCounter counts what a server asks of the Kubernetes API.
type requestCounter struct{ total *prometheus.CounterVec }

func newRequestCounter() *requestCounter {
	return &requestCounter{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pai_kubernetes_requests_total", Help: "Requests to the Kubernetes API by method and status; a watch counts once, when it begins.",
	}, []string{"method", "code"})}
}

// watch returns a configuration whose requests are counted.
func (c *requestCounter) watch(config *k8srest.Config) *k8srest.Config {
	config = k8srest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			code := "none"
			if err == nil {
				code = strconv.Itoa(resp.StatusCode)
			}
			c.total.WithLabelValues(r.Method, code).Inc()
			return resp, err
		})
	})
	return config
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip makes a function an http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// collectors is what the wiring knows beside the API.
func collectors(cluster *kube.Cluster, requests *requestCounter) []prometheus.Collector {
	all := []prometheus.Collector{objectCollector{cluster}}
	if requests != nil {
		all = append(all, requests.total)
	}
	return all
}

// objectCollector tells how much the caches hold.
type objectCollector struct{ cluster *kube.Cluster }

var objectsDesc = prometheus.NewDesc("pai_objects", "Objects in the caches by kind.", []string{"kind"}, nil)

// Describe is for the registry.
func (c objectCollector) Describe(to chan<- *prometheus.Desc) { to <- objectsDesc }

// Collect is for the registry.
func (c objectCollector) Collect(to chan<- prometheus.Metric) {
	for kind, n := range c.cluster.Counts() {
		to <- prometheus.MustNewConstMetric(objectsDesc, prometheus.GaugeValue, float64(n), kind)
	}
}
