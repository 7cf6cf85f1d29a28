package rest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/servertest"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// The matrix of the benchmark.
const (
	manyWorkers  = 1000
	manyStorages = 200
)

// matrixServer has a matrix in which one cell in a hundred has failed. Everything is there from the start, because the in-memory Kubernetes
// cannot take so many writes at once.
func matrixServer(b *testing.B) *servertest.Server {
	b.Helper()
	var objects []runtime.Object
	var names []string
	versions := map[string]string{}
	first := len(servertest.Objects()) + 1 // the versions count the objects
	for i := range manyStorages {
		name := fmt.Sprintf("storage-%03d", i)
		names = append(names, fmt.Sprintf("%q", name))
		versions[name] = strconv.Itoa(first + i)
		text := asJSON(b, storagecheck.Order{Storage: name, Type: "nfs", Mount: &mount.Volume{Kind: mount.NFS, Source: "10.0.0.1:/" + name}})
		objects = append(objects, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.OrderNamespace, Name: name}, Data: map[string][]byte{storagecheck.OrderKey: text}})
	}
	for i := range manyStorages {
		objects = append(objects, boundStorage(fmt.Sprintf("storage-%03d", i))...)
	}
	for i := range manyWorkers {
		node := fmt.Sprintf("node-%04d", i)
		objects = append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node, Labels: map[string]string{"pai-worker": "true"}},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}})
		r := storagecheck.Report{Time: time.Now(), Results: map[string]storagecheck.Result{}, Facts: storagecheck.Facts{Helpers: map[string]bool{"mount.nfs": true}, FUSE: true}}
		for name, version := range versions {
			r.Results[name] = storagecheck.Result{OK: true, Time: r.Time, Latency: 120 * time.Millisecond, Free: 1 << 40, Size: 2 << 40, Order: version}
		}
		for j := 0; j < manyStorages; j += 100 {
			name := fmt.Sprintf("storage-%03d", (i+j)%manyStorages)
			x := r.Results[name]
			x.OK, x.Message = false, "mount.nfs: access denied by server while mounting 10.0.0.1:/"+name
			r.Results[name] = x
		}
		objects = append(objects, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: node}, Data: map[string]string{storagecheck.ReportKey: string(asJSON(b, r))}})
	}
	objects = append(objects, secret(kube.GroupNamespace, "all", "groupname", map[string]string{"extension": `{"acls":{"storageConfigs":[` + strings.Join(names, ",") + `]}}`}))
	return servertest.Start(b, io.Discard, objects...)
}

func asJSON(b *testing.B, value any) []byte {
	b.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkMatrix asks for the matrix of 1,000 workers and 200 storages through the whole server.
func BenchmarkMatrix(b *testing.B) {
	s := matrixServer(b)
	token := "Bearer " + s.Token(b, "admin")
	counted := fmt.Sprintf(`"counts":{"ok":%d,"failed":%d,`, manyWorkers*99/100, manyWorkers/100)
	if text := serveOnce(s.REST, "/api/v2/storages/storage-007/health", token).Body.String(); !strings.Contains(text, counted) {
		b.Fatalf("got %.300s", text)
	}
	for _, path := range []string{"/api/v2/nodes/readiness?summary=true", "/api/v2/nodes/readiness?state=failed", "/api/v2/nodes/readiness?node=node-0007",
		"/api/v2/storages/storage-007/health", "/api/v2/nodes/readiness"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			var times []time.Duration
			size := 0
			for b.Loop() {
				began := time.Now()
				answer := serveOnce(s.REST, path, token)
				times = append(times, time.Since(began))
				if size = answer.Body.Len(); answer.Code != http.StatusOK {
					b.Fatalf("%d", answer.Code)
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(size)/1e6, "MB")
		})
	}
}
