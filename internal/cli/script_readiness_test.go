package cli

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/servertest"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// report makes a worker, unless there is one of the name, and is what its agent says:
//
//	report NODE [-PROGRAM] [STORAGE=MESSAGE]...
//
// that it lacks a program, and how the check of each storage went, which is well without a message. It waits for the order to check it, and until the server knows the report.
// NODE alone makes a worker without an agent.
func report(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("server").(*servertest.Server)
	ctx := await.Context(ts.Value("test").(testing.TB))
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: args[0], Labels: map[string]string{"pai-worker": "true"}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
	if _, err := s.Kube.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		ts.Check(err)
	}
	if len(args) == 1 {
		known(ctx, ts, s, args[0], nil)
		return
	}
	r := storagecheck.Report{Node: args[0], Time: time.Now(), Results: map[string]storagecheck.Result{}, Facts: storagecheck.Facts{
		Helpers: map[string]bool{"mount.nfs": true}, Modules: map[string]string{"nfs": "loaded", "cifs": "loaded", "fuse": "loaded"}, FUSE: true}}
	for _, arg := range args[1:] {
		if program, lacks := strings.CutPrefix(arg, "-"); lacks {
			r.Facts.Helpers[program] = false
			continue
		}
		storage, message, _ := strings.Cut(arg, "=")
		r.Results[storage] = storagecheck.Result{OK: message == "", Message: message, Time: time.Now(), Latency: 120 * time.Millisecond, Free: 1 << 30, Size: 1 << 31,
			Order: orderOf(ctx, ts, s, storage)}
	}
	text, err := json.Marshal(r)
	ts.Check(err)
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: storagecheck.ReportNamespace, Name: args[0]}, Data: map[string]string{storagecheck.ReportKey: string(text)}}
	_, err = s.Kube.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Create(ctx, m, metav1.CreateOptions{})
	ts.Check(err)
	known(ctx, ts, s, args[0], r.Results)
}

// known waits until the server knows a worker, and of each storage that it reported how it is.
func known(ctx context.Context, ts *testscript.TestScript, s *servertest.Server, node string, results map[string]storagecheck.Result) {
	await.Until(ts.Value("test").(testing.TB), "the server takes note of "+node, func() bool {
		nodes, err := s.Cluster.Readiness(ctx, pai.ReadinessQuery{})
		ts.Check(err)
		return slices.ContainsFunc(slices.Collect(nodes), func(n pai.NodeReadiness) bool {
			said := 0
			for _, c := range n.Cells {
				if _, reported := results[string(c.Storage)]; reported && c.State != pai.CellPending {
					said++
				}
			}
			return n.Node == node && said == len(results)
		})
	})
}

// orderOf waits for the order to check a storage, and returns its version.
func orderOf(ctx context.Context, ts *testscript.TestScript, s *servertest.Server, storage string) string {
	secrets := s.Kube.CoreV1().Secrets(storagecheck.OrderNamespace)
	watch, err := secrets.Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", storage).String()})
	ts.Check(err)
	defer watch.Stop()
	for {
		order, err := secrets.Get(ctx, storage, metav1.GetOptions{})
		if err == nil {
			return order.ResourceVersion
		}
		select {
		case <-watch.ResultChan():
		case <-ctx.Done():
			ts.Fatalf("there is no order to check %s", storage)
		}
	}
}
