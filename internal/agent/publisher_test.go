package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// published is a publisher whose report is the test's.
type published struct {
	*publisher
	kube *fake.Clientset
	mu   sync.Mutex
	now  storagecheck.Report
}

func newPublished(t *testing.T) *published {
	t.Helper()
	p := &published{kube: kubefake.New(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1"}}), now: storagecheck.Report{Node: "worker1", Facts: full()}}
	p.publisher = newPublisher(p.kube, "worker1", slog.New(slog.DiscardHandler), func() storagecheck.Report {
		p.mu.Lock()
		defer p.mu.Unlock()
		r := p.now
		r.Time = time.Now()
		return r
	})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go p.run(ctx)
	return p
}

func (p *published) change(f func(*storagecheck.Report)) {
	p.mu.Lock()
	f(&p.now)
	p.mu.Unlock()
	p.touch()
}

// writes counts requests that change something, by verb and resource.
func (p *published) writes() map[string]int {
	n := map[string]int{}
	for _, a := range p.kube.Actions() {
		n[a.GetVerb()+" "+a.GetResource().Resource]++
	}
	return n
}

func (p *published) written(t *testing.T) storagecheck.Report {
	t.Helper()
	m, err := p.kube.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Get(t.Context(), "worker1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.OwnerReferences) != 1 || m.OwnerReferences[0].Kind != "Node" || m.OwnerReferences[0].Name != "worker1" {
		t.Errorf("it does not belong to its node: %+v", m.OwnerReferences)
	}
	var r storagecheck.Report
	if err := json.Unmarshal([]byte(m.Data[storagecheck.ReportKey]), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublished(t)
		synctest.Wait()
		if n := p.writes(); n["create configmaps"] != 1 || n["patch nodes"] != 1 {
			t.Fatalf("at the start: %v", n)
		}
		node, err := p.kube.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{})
		if err != nil || node.Labels[labelPrefix+"nfs"] != "true" || node.Labels[labelPrefix+"s3"] != "true" {
			t.Errorf("labels %v, %v", node.Labels, err)
		}
		p.kube.ClearActions()

		// Numbers alone are no news.
		time.Sleep(10 * time.Second)
		first := p.writes()["update configmaps"]
		for i := range 100 {
			p.change(func(r *storagecheck.Report) {
				r.Results = map[string]storagecheck.Result{"s": {OK: true, Order: "1", Time: time.Now(), Latency: time.Duration(i), Free: int64(i)}}
				r.Mounts = []mount.Served{{Target: "/t", Alive: true, Pending: i}}
			})
			time.Sleep(200 * time.Millisecond)
		}
		if n := p.writes()["update configmaps"] - first; n != 1 {
			t.Errorf("%d reports for numbers, want the one of the new result", n)
		}
		// A change is told within a second or two.
		time.Sleep(10 * time.Second)
		before := p.writes()["update configmaps"]
		p.change(func(r *storagecheck.Report) {
			r.Results = map[string]storagecheck.Result{"s": {Message: "Connection refused"}}
		})
		time.Sleep(1100 * time.Millisecond)
		if r := p.written(t); p.writes()["update configmaps"] != before+1 || r.Results["s"].OK || r.Results["s"].Message == "" {
			t.Errorf("after a change: %+v", r.Results)
		}
		// Many changes are told together.
		before = p.writes()["update configmaps"]
		for i := range 300 {
			p.change(func(r *storagecheck.Report) { r.Results = map[string]storagecheck.Result{"s": {OK: i%2 == 0}} })
			time.Sleep(100 * time.Millisecond)
		}
		if n := p.writes()["update configmaps"] - before; n > 8 {
			t.Errorf("%d reports in 30 s", n)
		}
		// A mount whose process is gone is news.
		time.Sleep(10 * time.Second)
		before = p.writes()["update configmaps"]
		p.change(func(r *storagecheck.Report) { r.Mounts = []mount.Served{{Target: "/t", Pending: 3}} })
		time.Sleep(2 * time.Second)
		if n := p.writes()["update configmaps"] - before; n != 1 {
			t.Errorf("%d reports of a dead mount", n)
		}
	})
}

// TestHeartbeat: without news there is a report every few minutes, however often it is asked whether there are any.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublished(t)
		synctest.Wait()
		p.kube.ClearActions()
		for range 2 * 60 * 60 / 2 {
			p.touch()
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		n := p.writes()
		if n["update configmaps"] < 20 || n["update configmaps"] > 30 || n["patch nodes"] != 0 || n["get nodes"] != n["update configmaps"] {
			t.Errorf("requests in two hours: %v", n)
		}
		t.Logf("%.4f requests/s without news", float64(n["update configmaps"]+n["get nodes"])/7200)
		// Who took a label away gets it back, by and by.
		if _, err := patch(t, p.kube, "worker1", `{"metadata":{"labels":{"pai.storage/can-mount-nfs":null}}}`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Minute)
		if node, err := p.kube.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{}); err != nil || node.Labels[labelPrefix+"nfs"] != "true" {
			t.Errorf("%v, %v", node.Labels, err)
		}
	})
}

// TestOutage: while Kubernetes does not take reports there are few attempts, and afterwards it has the newest one.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublished(t)
		synctest.Wait()
		var mu sync.Mutex
		away, tries := true, 0
		p.kube.PrependReactor("get", "nodes", func(ktesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			tries++
			return away, nil, errors.New("connection refused")
		})
		for i := range 600 {
			p.change(func(r *storagecheck.Report) { r.Results = map[string]storagecheck.Result{"s": {OK: i%2 == 0}} })
			time.Sleep(time.Second)
		}
		mu.Lock()
		away = false
		if tries > 25 {
			t.Errorf("%d attempts in ten minutes", tries)
		}
		mu.Unlock()
		if p.state().fault == nil || p.state().failed == 0 {
			t.Error("nobody knows that reports fail")
		}
		time.Sleep(80 * time.Second)
		if r := p.written(t); r.Results["s"].OK || p.state().fault != nil {
			t.Errorf("after the outage: %+v, %v", r.Results, p.state().fault)
		}
	})
}

func TestEssence(t *testing.T) {
	report := func(message string) storagecheck.Report {
		return storagecheck.Report{Results: map[string]storagecheck.Result{"s": {Message: message}}}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"open /t/.pai-storage-check-w-1a2b: EIO", "open /t/.pai-storage-check-w-77ff: EIO", true},
		{"connect 10.0.0.1:40001", "connect 10.0.0.1:40002", true},
		{"Connection refused", "Connection timed out", false},
		{"", "Connection timed out", false},
	} {
		if same := essence(report(c.a)) == essence(report(c.b)); same != c.same {
			t.Errorf("%q and %q: the same is %t", c.a, c.b, same)
		}
	}
}
