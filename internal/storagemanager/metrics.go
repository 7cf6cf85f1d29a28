package storagemanager

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Descriptions of the numbers.
var (
	describe = func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("pai_storage_server_"+name, help, labels, nil)
	}
	upDesc       = describe("up", "1 while the server answers its protocol.", "server")
	restartsDesc = describe("restarts_total", "Starts of a server's process after the first one.", "server")
	opsDesc      = describe("nfs_operations_total", "Reads and writes by NFS since the server's start.", "export", "operation")
	errorsDesc   = describe("nfs_failed_operations_total", "Reads and writes by NFS that failed, since the server's start.", "export", "operation")
	bytesDesc    = describe("nfs_bytes_total", "Bytes by NFS since the server's start.", "export", "operation")
	clientsDesc  = describe("clients", "Clients that are connected.", "protocol")
	totalDesc    = describe("capacity_bytes", "Size of the file system.")
	freeDesc     = describe("free_bytes", "Free for the shares.")
	filesDesc    = describe("share_files", "Files in a share when it was last counted.", "share")
	usedDesc     = describe("share_bytes", "Bytes on the disk of a share when it was last counted.", "share")
	ageDesc      = describe("share_counted_seconds", "Age of a share's count.", "share")
	joinedDesc   = describe("domain_joined", "1 while this server is a member of its domain.", "realm")
)

// collector turns the status into numbers when it is asked for them.
type collector struct{ m *manager }

// Describe tells of no numbers: which there are depends on the configuration.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect tells the numbers of now.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s := c.m.status(ctx)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	for _, server := range s.Servers {
		gauge(upDesc, one(server.Healthy), server.Name)
		counter(restartsDesc, uint64(server.Restarts), server.Name)
	}
	for _, e := range s.Exports {
		counter(opsDesc, e.Reads, e.Path, "read")
		counter(opsDesc, e.Writes, e.Path, "write")
		counter(errorsDesc, e.FailedReads, e.Path, "read")
		counter(errorsDesc, e.FailedWrites, e.Path, "write")
		counter(bytesDesc, e.BytesRead, e.Path, "read")
		counter(bytesDesc, e.BytesWritten, e.Path, "write")
	}
	clients := map[string]int{}
	for _, client := range s.Clients {
		clients[client.Protocol]++
	}
	for protocol, n := range clients {
		gauge(clientsDesc, float64(n), protocol)
	}
	gauge(totalDesc, float64(s.Capacity.Total))
	gauge(freeDesc, float64(s.Capacity.Free))
	for _, f := range s.Folders {
		if f.Counted.IsZero() {
			continue
		}
		gauge(filesDesc, float64(f.Files), f.Share)
		gauge(usedDesc, float64(f.Bytes), f.Share)
		gauge(ageDesc, time.Since(f.Counted).Seconds(), f.Share)
	}
	if s.Domain != nil {
		gauge(joinedDesc, one(s.Domain.Joined), s.Domain.Realm)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// metricsHandler serves the numbers and nothing else.
func (m *manager) metricsHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{m})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}
