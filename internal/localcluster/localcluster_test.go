package localcluster

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/controlplane"
)

// recorder is a Reporter that remembers.
type recorder struct{ lines []string }

func (r *recorder) Begin(s string)           { r.lines = append(r.lines, "begin "+s) }
func (r *recorder) Note(s, text string)      { r.lines = append(r.lines, "note "+s+": "+text) }
func (r *recorder) Done(s, text string)      { r.lines = append(r.lines, "done "+s+": "+text) }
func (r *recorder) Failed(s string, _ error) { r.lines = append(r.lines, "failed "+s) }

func TestFailedStepUndoesTheOnesBefore(t *testing.T) {
	var r recorder
	broken := errors.New("broken")
	make := func(name string, err error) step {
		return step{name: name, limit: time.Minute,
			run:  func(context.Context, func(string)) (string, error) { return "well", err },
			undo: func() { r.lines = append(r.lines, "undo "+name) }}
	}
	err := runSteps(t.Context(), []step{make("one", nil), make("two", nil), make("three", broken), make("four", nil)}, &r)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "three") {
		t.Errorf("error = %v", err)
	}
	want := []string{"begin one", "done one: well", "begin two", "done two: well", "begin three", "failed three", "undo three", "undo two", "undo one"}
	if diff := cmp.Diff(want, r.lines); diff != "" {
		t.Error(diff)
	}
}

func TestStepHasALimit(t *testing.T) {
	s := step{name: "endless", limit: time.Millisecond, run: func(ctx context.Context, _ func(string)) (string, error) {
		<-ctx.Done()
		return "", errors.New("no answer from 10.0.0.1")
	}}
	err := runSteps(t.Context(), []step{s}, &recorder{})
	if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), "no answer from 10.0.0.1") {
		t.Errorf("error = %v, want the limit and the last reason", err)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	bad := Config{Name: "Über cluster", Workers: 0, Memory: 64, Port: 70000, KubePort: -1, StateDir: "/" + strings.Repeat("x", 90)}
	err := bad.Validate()
	for _, want := range []string{`"Über cluster"`, "0 workers", "64 MiB", "--port 70000", "--kube-port -1", "--state-dir"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	good := Config{Name: "default", Workers: 2, Memory: DefaultMemory, Port: DefaultPort, StateDir: "/var/lib/pai"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestRunningClusterDiffers(t *testing.T) {
	runs := Config{Name: "a", Workers: 1, Memory: 2048, Port: 9186, KubePort: 6443}
	cases := map[string]Config{
		"":                {Name: "a", Workers: 1, Memory: 2048},
		"1 worker, not 2": {Name: "a", Workers: 2, Memory: 2048},
		"not 4096":        {Name: "a", Workers: 1, Memory: 4096},
		"port 9186":       {Name: "a", Workers: 1, Memory: 2048, Port: 80},
		"port 6443":       {Name: "a", Workers: 1, Memory: 2048, KubePort: 80},
		"kubeconfig":      {Name: "a", Workers: 1, Memory: 2048, Kubeconfig: "/k"},
	}
	for want, wish := range cases {
		if got := runs.differs(wish); !strings.Contains(got, want) || (want == "" && got != "") {
			t.Errorf("differs = %q, want %q", got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); !errors.Is(err, ErrAbsent) {
		t.Errorf("no file: %v", err)
	}
	c := Config{Name: "a", StateDir: dir, Workers: 3, Memory: 2048, Port: 1, KubePort: 2}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(dir); err != nil || got != c {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "--purge") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestSecondUpIsRefused(t *testing.T) {
	c := Config{Name: "a", StateDir: t.TempDir()}
	unlock, err := c.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.lock(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	unlock, err = c.lock()
	if err != nil {
		t.Errorf("after the unlock: %v", err)
	}
	unlock()
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	u := &upper{cfg: Config{StateDir: t.TempDir(), Port: port}}
	err = u.reservePorts()
	var taken errPort
	if !errors.As(err, &taken) || !strings.Contains(err.Error(), "--port") {
		t.Errorf("error = %v", err)
	}
	if len(u.listeners) != 0 {
		t.Error("listeners are left open")
	}
}

func TestFreePortsAreReserved(t *testing.T) {
	u := &upper{cfg: Config{StateDir: t.TempDir()}}
	if err := u.reservePorts(); err != nil {
		t.Fatal(err)
	}
	defer u.closeListeners()
	if u.cfg.Port == 0 || u.cfg.KubePort == 0 || u.cfg.Port == u.cfg.KubePort || len(u.listeners) != 2 {
		t.Errorf("ports %d and %d, %d listeners", u.cfg.Port, u.cfg.KubePort, len(u.listeners))
	}
}

func TestFullDisk(t *testing.T) {
	// /proc has no free space, ever, and needs no root.
	if err := checkDisk("/proc/pai-storage/deep/state"); err == nil || !strings.Contains(err.Error(), "disk full") || !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("error = %v", err)
	}
}

func TestTooLittleMemory(t *testing.T) {
	if err := checkMemory(Config{Workers: 20, Memory: 1 << 20}); err == nil || !strings.Contains(err.Error(), "--worker-memory") {
		t.Errorf("error = %v", err)
	}
}

func TestProcessIdentity(t *testing.T) {
	me, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !me.alive() {
		t.Error("this process is not alive")
	}
	later := me
	later.Start = "1"
	if later.alive() || later.ownsSession() {
		t.Error("a process with a recycled number passes for the old one")
	}
	earlier := me
	earlier.Boot = "another boot"
	if earlier.alive() || earlier.ownsSession() {
		t.Error("a process of an earlier boot passes for this one")
	}
}

func TestDownWithoutACluster(t *testing.T) {
	err := Down(t.Context(), Config{Name: "none", StateDir: filepath.Join(t.TempDir(), "none")}, false)
	if !errors.Is(err, ErrAbsent) {
		t.Errorf("error = %v", err)
	}
}

// TestForward: both directions, and an end of input that leaves the output open, as kubectl exec needs it.
func TestForward(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		text, _ := io.ReadAll(conn) // until the client has closed its half
		_, _ = conn.Write(bytes.ToUpper(text))
	}()
	entry, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- forward(ctx, entry, server.Addr().String()) }()

	client, err := net.Dial("tcp", entry.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(client)
	if err != nil || string(answer) != "HELLO" {
		t.Errorf("answer %q, %v", answer, err)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("forward ended with %v", err)
	}
}

// fakeAgent speaks the guest agent's protocol on a socket: stale bytes first, then a command that ends at the
// second question.
func fakeAgent(t *testing.T, socket string) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintln(conn, `{"return": {"stale": true}}`)
		lines := bufio.NewScanner(conn)
		asked := 0
		for lines.Scan() {
			var call struct {
				Execute   string
				Arguments map[string]any
			}
			_ = json.Unmarshal(lines.Bytes(), &call)
			switch call.Execute {
			case "guest-sync":
				fmt.Fprintf(conn, "{\"return\": %.0f}\n", call.Arguments["id"])
			case "guest-exec":
				if call.Arguments["path"] == "nonsense" {
					fmt.Fprintln(conn, `{"error": {"class": "GenericError", "desc": "no such program"}}`)
					continue
				}
				fmt.Fprintln(conn, `{"return": {"pid": 7}}`)
			default:
				asked++
				fmt.Fprintf(conn, `{"return": {"exited": %t, "exitcode": 3, "out-data": "aGVsbG8="}}`+"\n", asked > 1)
			}
		}
	}()
}

func TestGuestExec(t *testing.T) {
	dir := t.TempDir()
	g := &guest{socket: filepath.Join(dir, "guest.sock")}
	if _, err := g.Exec(t.Context(), []string{"true"}, nil); err == nil {
		t.Error("nobody listens, and it worked")
	}
	fakeAgent(t, g.socket)
	result, err := g.Exec(t.Context(), []string{"sh", "-c", "echo hello; exit 3"}, nil)
	if err != nil || result.ExitCode != 3 || string(result.Stdout) != "hello" {
		t.Errorf("result %+v, error %v", result, err)
	}
}

// limits notes the deadlines of a connection.
type limits struct {
	net.Conn
	set []time.Time
}

func (l *limits) SetDeadline(t time.Time) error {
	l.set = append(l.set, t)
	return l.Conn.SetDeadline(t)
}

// TestGuestLimit: each answer of the agent has a limit of its own, however long a command takes, and none is later than the caller's.
func TestGuestLimit(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		defer there.Close()
		for lines := bufio.NewScanner(there); lines.Scan(); {
			fmt.Fprintln(there, `{"return": {}}`)
		}
	}()
	conn := &limits{Conn: here}
	s := &guestSession{guest: &guest{}, conn: conn, reader: bufio.NewReader(conn)}
	end := time.Now().Add(time.Hour)
	for range 3 {
		if err := s.call("guest-exec-status", nil, &ExecResult{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(conn.set) != 3 || !conn.set[1].After(conn.set[0]) || !conn.set[2].After(conn.set[1]) || conn.set[2].After(end) {
		t.Errorf("deadlines %v", conn.set)
	}
	s.end = time.Now().Add(answerLimit / 2)
	if err := s.call("guest-exec-status", nil, &ExecResult{}); err != nil || !conn.set[3].Equal(s.end) {
		t.Errorf("the deadline is %s, want the caller's %s; %v", conn.set[3], s.end, err)
	}
}

func TestGuestExecRefused(t *testing.T) {
	g := &guest{socket: filepath.Join(t.TempDir(), "guest.sock")}
	fakeAgent(t, g.socket)
	if _, err := g.Exec(t.Context(), []string{"nonsense"}, nil); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("error = %v", err)
	}
}

func TestWorkerArchive(t *testing.T) {
	plane, err := controlplane.New(controlplane.Config{BinDir: "/bin", Dir: t.TempDir(), Address: gateway, Ports: controlplane.DefaultPorts})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range (Config{Workers: 2}).workers() {
		archive, err := workerArchive(w, plane)
		if err != nil {
			t.Fatal(err)
		}
		if len(archive)%512 != 0 {
			t.Errorf("%s: a disk of %d bytes", w.Name, len(archive))
		}
		files := untar(t, archive)
		if env := files["etc/pai/worker.env"]; !strings.Contains(env, "WORKER_NAME="+w.Name) || !strings.Contains(env, "WORKER_IP="+w.Address.String()) {
			t.Errorf("%s: worker.env is\n%s", w.Name, env)
		}
		if !strings.Contains(files["etc/cni/net.d/10-pai.conflist"], fmt.Sprintf("10.244.%d.0/24", w.Number)) {
			t.Errorf("%s: its pods have no network", w.Name)
		}
		for name, text := range files {
			if strings.Contains(text, string(plane.Admin.Key)) {
				t.Errorf("%s: %s holds the administrator's key", w.Name, name)
			}
		}
	}
}

func untar(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}

func TestWorkersHaveTheDocumentedAddresses(t *testing.T) {
	workers := Config{Workers: 3}.workers()
	for i, want := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		if workers[i].Address != netip.MustParseAddr(want) {
			t.Errorf("worker %d is %+v", i+1, workers[i])
		}
	}
	if len(Config{Kubeconfig: "/k", Workers: 3}.workers()) != 0 {
		t.Error("an existing cluster has workers of ours")
	}
}

func TestReportNamesWhatIsBroken(t *testing.T) {
	var r report
	if err := json.Unmarshal([]byte(`{"processes":[{"name":"etcd","ready":true},{"name":"kube-scheduler"}],"workers":[{"name":"worker1","ready":true}]}`), &r); err != nil {
		t.Fatal(err)
	}
	if got := r.broken(); got != "kube-scheduler is not ready" {
		t.Errorf("broken = %q", got)
	}
	r.Processes[1].Ready = true
	if got := r.broken(); got != "" {
		t.Errorf("broken = %q", got)
	}
	r.Workers[0].Ready, r.Workers[0].Reason = false, "the virtual machine boots"
	if got := r.broken(); got != "worker1: the virtual machine boots" {
		t.Errorf("broken = %q", got)
	}
}
