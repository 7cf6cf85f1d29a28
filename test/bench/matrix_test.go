package bench

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/agent"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kubetest"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

var (
	matrixNodes    = flag.Int("matrix-nodes", 20, "how many workers the matrix has")
	matrixStorages = flag.Int("matrix-storages", 10, "how many storages the matrix has")
	matrixSteady   = flag.Duration("matrix-steady", 2*time.Second, "how long the agents' requests are counted when all is well; their period is five minutes")
	matrixKwok     = flag.Bool("matrix-kwok", false, "let kwok keep the workers alive, as their kubelets would")
)

// matrixResult is what was measured with simulated workers: agents as they are but for the machine, a real API server, a real REST server.
type matrixResult struct {
	Nodes    int                `json:"nodes"`
	Storages int                `json:"storages"`
	Full     float64            `json:"fullSeconds"`            // from the last agent's start until every cell is well
	Filling  map[string]float64 `json:"requestsUntilFull"`      // of the agents to Kubernetes, by verb and kind
	Steady   map[string]float64 `json:"requestsPerSecondAfter"` // afterwards
	Resident int                `json:"residentMiB"`            // of the REST server when the matrix is full
	Peak     int                `json:"residentAtMostMiB"`      // after the reads
	Reads    []matrixRead       `json:"reads"`
}

// matrixRead is one question, asked by one connection and by four at once.
type matrixRead struct {
	Path   string  `json:"path"`
	Bytes  int     `json:"bytes"`
	One    figures `json:"one"`
	ByFour figures `json:"byFour"`
}

// TestMatrix measures the matrix of a large cluster.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	api := kubetest.Run(t)
	bed := &testbed{t: t, config: api.Config, program: build(t), kubeconfig: writeKubeconfig(t, api.Config)}
	bed.seed(0, 0, *matrixStorages)
	bed.workers(*matrixNodes)
	server := bed.start()
	admin := connect(t, server, signIn(t, server, "admin", adminPassword))
	server.token = signIn(t, server, "admin", adminPassword)
	bed.grantAll(admin)

	asked := &counter{count: map[string]int{}}
	bed.agents(*matrixNodes, asked)
	began := time.Now()
	r := matrixResult{Nodes: *matrixNodes, Storages: *matrixStorages, Filling: map[string]float64{}, Steady: map[string]float64{}}
	bed.full(admin, *matrixNodes**matrixStorages)
	r.Full = time.Since(began).Seconds()
	for what, n := range asked.take() {
		r.Filling[what] = float64(n)
	}
	r.Resident = server.memory(t, "VmRSS") >> 20
	time.Sleep(*matrixSteady)
	for what, n := range asked.take() {
		r.Steady[what] = float64(n) / matrixSteady.Seconds()
	}
	for _, path := range []string{"/api/v2/nodes/readiness", "/api/v2/nodes/readiness?summary=true", "/api/v2/nodes/readiness?state=failed", "/api/v2/nodes/readiness?node=" + workerName(0),
		"/api/v2/storages/" + storageName(0) + "/health", "/api/v2/storages"} {
		one := ask(t, server.target(path), 1, *turn*2)
		r.Reads = append(r.Reads, matrixRead{path, one.bytes, one, ask(t, server.target(path), 4, *turn*2)})
	}
	r.Peak = server.peak(t) >> 20
	if err := bed.played(); err != nil {
		t.Fatal(err)
	}
	r.print(t)
}

func workerName(i int) string { return fmt.Sprintf("worker%04d", i) }

// workers makes nodes, which kwok keeps alive if it is wanted.
func (b *testbed) workers(n int) {
	b.t.Helper()
	k := b.kubernetes()
	for _, namespace := range []string{storagecheck.OrderNamespace, storagecheck.ReportNamespace} {
		if _, err := k.CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
			b.t.Fatal(err)
		}
	}
	b.played = func() error { return nil }
	if *matrixKwok {
		b.kwok()
	}
	b.each(0, n, func(ctx context.Context, i int) error {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: workerName(i), Labels: map[string]string{"pai-worker": "true"}, Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"}}}
		node, err := k.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if err != nil || *matrixKwok {
			return err
		}
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}}
		node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("8")}
		_, err = k.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
}

// kwok runs the program that plays kubelets, until the test ends.
func (b *testbed) kwok() {
	b.t.Helper()
	program := filepath.Join(b.t.TempDir(), "kwok")
	build := exec.Command("go", "build", "-o", program, "sigs.k8s.io/kwok/cmd/kwok")
	build.Dir = filepath.Join("..", "..", "hack", "tools")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("build kwok: %v\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(b.t.TempDir(), "kwok.log"))
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(program, "--kubeconfig", b.kubeconfig, "--manage-all-nodes", "--node-lease-duration-seconds", "40", "--config", filepath.Join("testdata", "kwok.yaml"))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	b.played = func() error {
		select {
		case err := <-ended:
			return fmt.Errorf("kwok ended: %v", err)
		default:
			return nil
		}
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if text, err := os.ReadFile(log.Name()); b.t.Failed() && err == nil {
			b.t.Logf("kwok: %s", text[max(0, len(text)-4000):])
		}
	})
}

func (b *testbed) kubernetes() kubernetes.Interface {
	b.t.Helper()
	config := rest.CopyConfig(b.config)
	config.QPS, config.Burst = 5000, 5000
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.t.Fatal(err)
	}
	return k
}

// grantAll gives the default group every storage, so that workers check them.
func (b *testbed) grantAll(admin *client.Client) {
	b.t.Helper()
	var names []pai.StorageName
	for i := range *matrixStorages {
		names = append(names, pai.StorageName(storageName(i)))
	}
	change := client.GroupChange{Groupname: string(pai.DefaultGroup), Extension: map[string]any{"acls": map[string]any{"storageConfigs": names}}}
	if err := admin.PatchGroup(b.t.Context(), change, ""); err != nil {
		b.t.Fatal(err)
	}
}

// agents runs an agent for each worker until the test ends, each with a connection of its own, a few a second apart as workers start.
func (b *testbed) agents(n int, asked *counter) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	var all sync.WaitGroup
	b.t.Cleanup(func() { stop(); all.Wait() })
	facts := storagecheck.Facts{Helpers: map[string]bool{"mount.nfs": true, "mount.cifs": true, "fusermount3": true}, FUSE: true, CSI: []string{"csi.pai.storage", "file.csi.azure.com"},
		Flex: []string{"microsoft.com/smb", "azure/blobfuse"}, Modules: map[string]string{"nfs": "loaded", "nfsv4": "loaded", "cifs": "loaded", "fuse": "loaded"}, Kernel: "6.1.0"}
	look := func(ctx context.Context, o storagecheck.Order) storagecheck.Result {
		took := 200 * time.Millisecond
		select {
		case <-time.After(took):
		case <-ctx.Done():
		}
		return storagecheck.Result{OK: true, Latency: took, Free: 1 << 40, Size: 1 << 41}
	}
	for i := range n {
		config := rest.CopyConfig(b.config)
		config.UserAgent = "node-agent"
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return asked.wrap(next) })
		config.Dial = new(net.Dialer).DialContext // its own connection: clients of the same settings would share one
		k, err := kubernetes.NewForConfig(config)
		if err != nil {
			b.t.Fatal(err)
		}
		all.Go(func() {
			if err := agent.Simulate(ctx, k, workerName(i), facts, look); err != nil && ctx.Err() == nil {
				b.t.Error(err)
			}
		})
		time.Sleep(5 * time.Millisecond)
	}
}

// full waits until every cell is well.
func (b *testbed) full(admin *client.Client, cells int) {
	b.t.Helper()
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		nodes, err := admin.Readiness(b.t.Context(), client.ReadinessQuery{Summary: true})
		if err != nil {
			b.t.Fatal(err)
		}
		counts := map[pai.CellState]int{}
		for _, n := range nodes {
			for state, count := range n.Counts {
				counts[state] += count
			}
		}
		if counts[pai.CellOK] == cells {
			return
		}
		if err := b.played(); err != nil || time.Since(began) > 5*time.Minute {
			b.t.Fatalf("of %d cells: %v; %v", cells, counts, err)
		}
	}
}

// counter counts requests by verb and kind of object.
type counter struct {
	mu    sync.Mutex
	count map[string]int
}

type counting struct {
	next http.RoundTripper
	to   *counter
}

func (c *counter) wrap(next http.RoundTripper) http.RoundTripper { return counting{next, c} }

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	what := r.Method
	if r.URL.Query().Get("watch") != "" {
		what = "WATCH"
	}
	for part := range strings.SplitSeq(r.URL.Path, "/") {
		if slices.Contains([]string{"nodes", "secrets", "configmaps"}, part) {
			what += " " + part
		}
	}
	c.to.mu.Lock()
	c.to.count[what]++
	c.to.mu.Unlock()
	return c.next.RoundTrip(r)
}

// take is what was counted since the last time.
func (c *counter) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.count
	c.count = map[string]int{}
	return was
}

func (r matrixResult) print(t *testing.T) {
	t.Helper()
	if printedJSON(t, r) {
		return
	}
	fmt.Printf("\nmatrix of %d workers and %d storages: full %.1f s after the last agent's start; the REST server has %d MiB then, %d MiB at most\n", r.Nodes, r.Storages, r.Full, r.Resident, r.Peak)
	fmt.Printf("\n%-20s %14s %14s\n", "REQUESTS OF AGENTS", "UNTIL FULL", "A SECOND THEN")
	sum := 0.0
	for _, what := range slices.Sorted(maps.Keys(merge(r.Filling, r.Steady))) {
		fmt.Printf("%-20s %14.0f %14.2f\n", what, r.Filling[what], r.Steady[what])
		sum += r.Steady[what]
	}
	fmt.Printf("%-20s %14s %14.2f\n", "in all", "", sum)
	fmt.Printf("\n%-44s %10s %12s %12s %16s\n", "ANSWERS", "BYTES", "MEDIAN", "P99", "P99 OF FOUR")
	for _, x := range r.Reads {
		fmt.Printf("%-44s %10d %9.1f ms %9.1f ms %13.1f ms\n", x.Path, x.Bytes, x.One.P50*1e3, x.One.P99*1e3, x.ByFour.P99*1e3)
	}
}

func merge(a, b map[string]float64) map[string]float64 {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
