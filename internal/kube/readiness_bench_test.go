package kube

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// The size of the matrix that the benchmarks measure.
const (
	manyNodes    = 1000
	manyStorages = 200
)

// bigMatrix is a cluster whose views hold a matrix with one failed cell in so many; 0 for none. They are filled by hand, as informers do.
func bigMatrix(b *testing.B, failedOneIn int) *Cluster {
	b.Helper()
	c, err := New(kubefake.New(), Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for i := range manyStorages {
		name := fmt.Sprintf("storage-%03d", i)
		c.volumes.put(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name + "-pv"},
			Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/" + name}},
				ClaimRef: &corev1.ObjectReference{Namespace: "default", Name: name}}})
		c.claims.put(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
			Spec: corev1.PersistentVolumeClaimSpec{VolumeName: name + "-pv"}, Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}})
		text, err := json.Marshal(storagecheck.Order{Storage: name})
		if err != nil {
			b.Fatal(err)
		}
		order, err := slimOrder(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "7"}, Data: map[string][]byte{storagecheck.OrderKey: text}})
		if err != nil {
			b.Fatal(err)
		}
		c.orders.put(order)
	}
	for i := range manyNodes {
		name := fmt.Sprintf("node-%04d", i)
		c.nodes.put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pai-worker": "true"}},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}})
		c.reports.put(bigReport(b, name, i, failedOneIn))
	}
	return c
}

func bigReport(b *testing.B, node string, i, failedOneIn int) *corev1.ConfigMap {
	b.Helper()
	r := storagecheck.Report{Node: node, Time: time.Now(), Results: map[string]storagecheck.Result{},
		Facts: storagecheck.Facts{Helpers: map[string]bool{"mount.nfs": true}, Modules: map[string]string{"nfs": "loaded", "cifs": "loaded"}, FUSE: true, CSI: []string{"csi.pai.storage"}}}
	for j := range manyStorages {
		x := storagecheck.Result{OK: true, Time: r.Time, Latency: 120 * time.Millisecond, Free: 1 << 40, Size: 2 << 40, Order: "7"}
		if failedOneIn > 0 && (i*manyStorages+j)%failedOneIn == 0 {
			x.OK, x.Message = false, "mount 10.0.0.1:/x: mount.nfs: access denied by server while mounting 10.0.0.1:/x"
		}
		r.Results[fmt.Sprintf("storage-%03d", j)] = x
	}
	text, err := json.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: node, ResourceVersion: "1"}, Data: map[string]string{storagecheck.ReportKey: string(text)}}
}

// countCells walks through the matrix, as whoever writes it down does.
func countCells(b *testing.B, c *Cluster, q pai.ReadinessQuery) int {
	rows, err := c.Readiness(b.Context(), q)
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for row := range rows {
		n += row.Counts.OK + row.Counts.Failed
		if !q.Summary && len(row.Cells) != manyStorages {
			b.Fatal(len(row.Cells))
		}
	}
	return n
}

// BenchmarkReadiness measures what 1,000 workers and 200 storages cost.
func BenchmarkReadiness(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			c := bigMatrix(b, 100)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(manyNodes*manyStorages), "bytes/cell")
			runtime.KeepAlive(c)
		}
	})
	for _, failedOneIn := range []int{0, 100, 1} {
		c := bigMatrix(b, failedOneIn)
		b.Run(fmt.Sprintf("matrix/failed-one-in-%d", failedOneIn), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := countCells(b, c, pai.ReadinessQuery{}); n != manyNodes*manyStorages {
					b.Fatal(n)
				}
			}
		})
		b.Run(fmt.Sprintf("summary/failed-one-in-%d", failedOneIn), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := countCells(b, c, pai.ReadinessQuery{Summary: true}); n != manyNodes*manyStorages {
					b.Fatal(n)
				}
			}
		})
		b.Run(fmt.Sprintf("column/failed-one-in-%d", failedOneIn), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if h, err := c.StorageHealth(b.Context(), pai.StorageName("storage-007")); err != nil || len(h.Cells) != manyNodes {
					b.Fatal(len(h.Cells), err)
				}
			}
		})
		b.Run(fmt.Sprintf("failures-anew/failed-one-in-%d", failedOneIn), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.indexFailures()
			}
		})
	}
	b.Run("report", func(b *testing.B) {
		b.ReportAllocs()
		c := bigMatrix(b, 100)
		text := bigReport(b, "node-0001", 1, 100).Data[storagecheck.ReportKey]
		for b.Loop() {
			c.reports.put(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "node-0001", ResourceVersion: "2"}, Data: map[string]string{storagecheck.ReportKey: text}})
		}
	})
}
