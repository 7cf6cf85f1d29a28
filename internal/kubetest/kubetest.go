// Package kubetest runs a real etcd and kube-apiserver for a test, as processes on loopback and without
// root: the ring of tests between fakes and the whole cluster.
//
// The binaries are the local cluster's own. Where they were never built the test is skipped and says so;
// with PAI_TEST_ALL=1, which "make test" sets, that is a failure.
//
// Example:
//
//	cfg := kubetest.Start(t)
//	client := kubernetes.NewForConfigOrDie(cfg)
package kubetest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/controlplane"
	"github.com/pai-storage/pai-storage/internal/freeport"
	"github.com/pai-storage/pai-storage/internal/kubebuild"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// EnvAll names the variable that turns a skipped ring into a failure.
const EnvAll = "PAI_TEST_ALL"

// Skip leaves a test out for a reason that people can mend, loudly; under "make test" it fails instead.
func Skip(t testing.TB, ring, reason string) {
	t.Helper()
	if os.Getenv(EnvAll) != "" {
		t.Fatalf("ring %q cannot run: %s", ring, reason)
	}
	sayOnce(ring, reason)
	t.Skipf("ring %q is skipped: %s", ring, reason)
}

var said sync.Map

// sayOnce tells the person at the terminal, if there is one: "go test" shows the reasons of skipped tests with
// -v alone, and a ring that nobody knows to be skipped is a ring that nobody runs.
func sayOnce(ring, reason string) {
	if _, told := said.LoadOrStore(ring, true); told {
		return
	}
	if tty, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0); err == nil {
		fmt.Fprintf(tty, "ring %q is skipped: %s\n", ring, reason)
		tty.Close()
	}
}

// Server is a running API server.
type Server struct {
	Config    *rest.Config // with the rights of system:masters
	Plane     *controlplane.Plane
	APIServer *proc.Child
}

// Start runs etcd and the API server until the test ends, and returns the administrator's configuration.
func Start(t testing.TB) *rest.Config { return Run(t).Config }

// Run is Start for tests that want to do something to the processes.
func Run(t testing.TB) *Server {
	t.Helper()
	plane, err := controlplane.New(controlplane.Config{
		BinDir: binaries(t), Dir: t.TempDir(), Address: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		Ports:    controlplane.Ports{API: freeport.Take(t), Etcd: freeport.Take(t), EtcdPeer: freeport.Take(t), Controllers: 1, Scheduler: 1},
		StopTime: time.Second, Forgetful: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	ready := await.Context(t)
	for _, child := range []*proc.Child{plane.Etcd, plane.APIServer} {
		running.Go(func() { _ = proc.Keep(ctx, child) })
		if err := child.WaitReady(ready); err != nil {
			t.Fatal(err)
		}
	}
	return &Server{Config: plane.RESTConfig(), Plane: plane, APIServer: plane.APIServer}
}

// Kill ends the API server as a power cut would, and returns when it is gone. It is started again by itself, with the same data, and
// APIServer.WaitReady tells when it is back.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	before := s.APIServer.State().PID
	if before == 0 {
		t.Fatal("the API server does not run")
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the killed API server is noticed", func() bool { return s.APIServer.State().PID != before })
}

func binaries(t testing.TB) string {
	t.Helper()
	cache, err := buildcache.Root()
	if err != nil {
		t.Fatal(err)
	}
	source, err := kubebuild.Source()
	if err != nil {
		t.Fatal(err)
	}
	dir, ok, err := kubebuild.Find(kubebuild.Options{Source: source, Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		Skip(t, "integration", "the API server's binaries are not built; \"make kubernetes\" builds them into "+filepath.Join(cache, "kubernetes"))
	}
	return dir
}
