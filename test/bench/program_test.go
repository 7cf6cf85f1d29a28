package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is a server in a process of its own.
type program struct {
	cmd   *exec.Cmd
	url   string
	token string
	ready time.Duration // from its start to its readiness
}

const adminPassword = "secret-admin"

// start runs the REST server until it is stopped or the test ends. What it logs goes to a file.
func (b *testbed) start() *program {
	b.t.Helper()
	dir := b.t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(adminPassword), 0o600); err != nil {
		b.t.Fatal(err)
	}
	p := &program{token: b.token, cmd: exec.Command(b.program, "--kubeconfig", b.kubeconfig, "--listen", "127.0.0.1:0",
		"--bootstrap-admin", "admin", "--bootstrap-admin-password-file", password)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.t.Fatal(err)
	}
	p.cmd.Stderr = log
	began := time.Now()
	p.url = run(b.t, p.cmd)
	for {
		resp := get(b.t, p.url+"/readyz", "")
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			break
		}
		if time.Since(began) > time.Minute {
			b.t.Fatal("the server is not ready after a minute")
		}
		time.Sleep(5 * time.Millisecond)
	}
	p.ready = time.Since(began)
	return p
}

// run starts a program that says where it listens.
func run(t *testing.T, cmd *exec.Cmd) (url string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s said nothing: %v", cmd.Path, err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

func (p *program) target(path string) target {
	host := strings.TrimPrefix(p.url, "http://")
	return target{address: host, request: request(path, host, p.token)}
}

// cpu is the time that the process has used.
func (p *program) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// costOf is the CPU time of a request, in microseconds.
func (p *program) costOf(t *testing.T, path string) float64 {
	t.Helper()
	before := p.cpu(t)
	f := ask(t, p.target(path), *clients, *turn)
	return (p.cpu(t) - before).Seconds() * 1e6 / float64(f.requests)
}

// peak is the most memory that the process had at a time, in bytes.
func (p *program) peak(t *testing.T) int { t.Helper(); return p.memory(t, "VmHWM") }

// memory is what the kernel says of the process's, in bytes.
func (p *program) memory(t *testing.T, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int
		if n, _ := fmt.Sscanf(line, field+": %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("the kernel does not say how much memory it was")
	return 0
}

// envBare names the file of answers, in the environment of the process that serves them.
const envBare = "PAI_BENCH_BARE"

type bareAnswer struct {
	Header http.Header
	Body   []byte
}

// startBare runs a server that does nothing but send what the real one sends.
func startBare(t *testing.T, real *program, paths []string) *program {
	t.Helper()
	answers := map[string]bareAnswer{}
	for _, path := range paths {
		resp := get(t, real.url+path, real.token)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s %v", path, resp.Status, body, err)
		}
		resp.Header.Del("Date")
		answers[path] = bareAnswer{resp.Header, body}
	}
	text, err := json.Marshal(answers)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "answers")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{token: real.token, cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), envBare+"="+file)
	p.cmd.Stderr = os.Stderr
	p.url = run(t, p.cmd)
	return p
}

// serveBare is the main function of that process.
func serveBare(file string) {
	var answers map[string]bareAnswer
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &answers)
	}
	mux := http.NewServeMux()
	for path, a := range answers {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			maps.Copy(w.Header(), a.Header)
			_, _ = w.Write(a.Body)
		})
	}
	var listener net.Listener
	if err == nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err == nil {
		fmt.Printf("listening on http://%s\n", listener.Addr())
		err = (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
