package daemon

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// asServer in the environment makes the test's program a REST server, so that there is a process to kill. Its value is how far the server's clock
// is ahead.
const asServer = "PAI_TEST_AS_REST_SERVER"

// later is when no half of a storage that is there now can be one of a declaration under way.
const later = time.Hour

func TestMain(m *testing.M) {
	ahead, err := time.ParseDuration(os.Getenv(asServer))
	if err != nil {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := &restServer{stdout: os.Stdout, log: slog.New(slog.NewJSONHandler(os.Stderr, nil)), now: func() time.Time { return time.Now().Add(ahead) }}
	os.Exit(s.start(ctx, os.Args[1:], os.Stderr))
}

// process is a REST server in a process of its own.
type process struct {
	cmd *exec.Cmd
	url string
	log string // file
}

// startProcess returns when the server is ready. Its clock is ahead.
func startProcess(t *testing.T, kubeconfig string, ahead time.Duration) *process {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--kubeconfig", kubeconfig, "--listen", "127.0.0.1:0", "--bootstrap-admin", "admin",
		"--bootstrap-admin-password-file", passwordFile(t, "secret-admin"))
	cmd.Env, cmd.Stderr = append(os.Environ(), asServer+"="+ahead.String()), log
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, log: log.Name()}
	t.Cleanup(func() {
		p.kill(t)
		if t.Failed() {
			t.Logf("log of the server:\n%s", p.logText(t))
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server does not listen: %v", err)
	}
	p.url = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	p.waitReady(t)
	return p
}

func (p *process) waitReady(t *testing.T) {
	t.Helper()
	await.Promised(t, "the server gets ready", time.Minute, func() bool {
		resp, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// kill ends the process at once, wherever it is; twice is as good as once.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = p.cmd.Wait() // says that it was killed
}

func (p *process) logText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// repetitions is how often something is killed.
func repetitions() int {
	if os.Getenv("PAI_SOAK") != "" {
		return 20
	}
	return 2
}

// TestServerIsKilled kills the server while fifty clients write, again and again. Nothing half-written stays, and nothing that was
// acknowledged is lost.
func TestServerIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	server := kubetest.Run(t)
	server.Config.QPS, server.Config.Burst = 500, 1000
	root, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := server.Plane.WriteKubeconfig(kubeconfig, server.Plane.URL(), server.Plane.Admin); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, kubeconfig, 0)
	c := newCrowd(t, root, p.url, 50)
	stop := c.start(t)
	for range repetitions() {
		c.awaitWrites(t, 100+rand.IntN(100))
		p.kill(t)
		p = startProcess(t, kubeconfig, 0)
		c.moveTo(p.url)
	}
	c.awaitWrites(t, 50)
	stop()
	makeHalf(t, root) // so that there is one for certain
	p.kill(t)
	p = startProcess(t, kubeconfig, later) // sweeps as soon as it is ready
	c.moveTo(p.url)
	awaitNoHalves(t, root)
	c.check(t)
	if text := p.logText(t); strings.Contains(text, "is not usable") {
		t.Errorf("something is half-written: %s", text)
	}
	c.report(t, repetitions())
}

// TestKubernetesIsKilled kills the API server. The REST server goes on: it answers what it knows, refuses writes as what can be tried again,
// and works on when the API server is back.
func TestKubernetesIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	server := kubetest.Run(t)
	server.Config.QPS, server.Config.Burst = 500, 1000
	root, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	var ahead atomic.Int64
	url := replicaOf(t, server.Config, func(s *restServer) {
		s.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c := newCrowd(t, root, url, 20)
	c.alive = true
	stop := c.start(t)
	refused, kills := 0, 0
	const most = 20 // however slow the machine is: the API server is not back each time before the write comes
	for i := 0; i < repetitions() || refused == 0 && i < most; i++ {
		c.awaitWrites(t, 50+rand.IntN(50))
		server.Kill(t)
		switch err := c.client(t).CreateGroup(t.Context(), client.GroupChange{Groupname: fmt.Sprintf("meanwhile-%d", i)}); {
		case pai.CodeOf(err) == pai.UnavailableError:
			refused++
		case err != nil: // none: on a slow machine it was back in time
			t.Errorf("a write without Kubernetes: got %v", err)
		}
		c.readWhile(t, func() bool { return !server.APIServer.State().Ready })
		if err := server.APIServer.WaitReady(await.Context(t)); err != nil {
			t.Fatal(err)
		}
		c.awaitWrites(t, 20)
		kills++
	}
	stop()
	if refused == 0 {
		t.Error("no write was without Kubernetes")
	}
	ahead.Store(int64(later))
	awaitNoHalves(t, root)
	c.check(t)
	c.report(t, kills)
}
