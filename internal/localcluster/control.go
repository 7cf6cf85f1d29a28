package localcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/pai-storage/pai-storage/internal/proc"
)

// The states of a step.
const (
	stepRunning = "running"
	stepDone    = "done"
	stepFailed  = "failed"
)

// StepStatus is how far a step of the supervisor is.
type StepStatus struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Text  string `json:"text,omitempty"` // a note, the result or the error
}

// WorkerStatus is a worker as people see it.
type WorkerStatus struct {
	Worker
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // why it is not
}

// report is what the supervisor says of itself.
type report struct {
	Steps     []StepStatus   `json:"steps"`
	Processes []proc.State   `json:"processes"`
	Workers   []WorkerStatus `json:"workers"`
	Booted    bool           `json:"booted"` // every step is done
}

// board collects the supervisor's steps; it is the Reporter of the list.
type board struct {
	mu    sync.Mutex
	steps []StepStatus
}

func (b *board) Begin(name string)             { b.set(name, stepRunning, "") }
func (b *board) Note(name, text string)        { b.set(name, stepRunning, text) }
func (b *board) Done(name, text string)        { b.set(name, stepDone, text) }
func (b *board) Failed(name string, err error) { b.set(name, stepFailed, err.Error()) }

func (b *board) set(name, state, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.steps {
		if b.steps[i].Name == name {
			b.steps[i] = StepStatus{name, state, text}
			return
		}
	}
	b.steps = append(b.steps, StepStatus{name, state, text})
}

func (b *board) list() []StepStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]StepStatus(nil), b.steps...)
}

// execRequest asks for a command in a worker.
type execRequest struct {
	Argv  []string `json:"argv"`
	Stdin []byte   `json:"stdin,omitempty"`
}

// controlHandler serves the other half of the package. Only the owner of the state directory reaches it.
func (s *supervisor) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, s.report(r.Context()))
	})
	mux.HandleFunc("POST /workers/{worker}/exec", func(w http.ResponseWriter, r *http.Request) {
		guest, ok := s.guests[r.PathValue("worker")]
		if !ok {
			writeJSON(w, http.StatusNotFound, fmt.Sprintf("no worker %q", r.PathValue("worker")))
			return
		}
		var request execRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil || len(request.Argv) == 0 {
			writeJSON(w, http.StatusBadRequest, "a command is missing")
			return
		}
		result, err := guest.Exec(r.Context(), request.Argv, request.Stdin)
		if err != nil {
			writeJSON(w, http.StatusBadGateway, err.Error())
			return
		}
		writeJSON(w, http.StatusOK, result)
	})
	return mux
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// listenControl opens the socket; a stale one of a supervisor that was killed is replaced.
func listenControl(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return listener, os.Chmod(path, 0o600)
}

// errNotRunning is the answer when nobody listens on the control socket.
var errNotRunning = errors.New("the cluster is not running")

// control asks a running supervisor.
func (c Config) control(ctx context.Context, method, path string, in, out any) error {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", c.path("control.sock"))
	}}
	text, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	var refused *net.OpError
	switch {
	case errors.As(err, &refused) && refused.Op == "dial":
		return errNotRunning
	case err != nil:
		return fmt.Errorf("supervisor: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("supervisor: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		var message string
		_ = json.Unmarshal(body, &message)
		return errors.New(message)
	}
	return json.Unmarshal(body, out)
}

func (c Config) report(ctx context.Context) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var r report
	return r, c.control(ctx, http.MethodGet, "/report", nil, &r)
}

// Exec runs a command as root in a worker, through the virtual machine's serial port.
func Exec(ctx context.Context, c Config, worker string, argv []string, stdin []byte) (ExecResult, error) {
	var result ExecResult
	err := c.control(ctx, http.MethodPost, "/workers/"+worker+"/exec", execRequest{argv, stdin}, &result)
	return result, err
}
