package localcluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/pai-storage/pai-storage/internal/proc"
)

// watchdog switches a virtual machine off that stands still, so that it is started anew, as the watchdog timer of a real one does.
type watchdog struct {
	machine *proc.Child
	guest   *guest
	monitor string // QEMU's monitor socket
	report  string // the file for what the machine did when it was found standing still

	silence time.Duration // of a machine that has been ready
	boot    time.Duration // of one that has not
	every   time.Duration // between two questions
	answer  time.Duration // for the answer to one
	grace   time.Duration // for the machine's kernel to say where it is
}

// The limits are for what hangs: an emulated machine on a busy host may need a minute for one answer.
const (
	silenceLimit = 4 * time.Minute
	bootLimit    = 10 * time.Minute
)

func (cfg Config) watchdog(w Worker, machine *proc.Child, g *guest) *watchdog {
	dir := cfg.path("workers", w.Name)
	return &watchdog{machine: machine, guest: g, monitor: filepath.Join(dir, monitorSocket), report: filepath.Join(dir, "stood-still.log"),
		silence: silenceLimit, boot: bootLimit, every: 15 * time.Second, answer: 10 * time.Second, grace: 10 * time.Second}
}

// run asks the machine's agent until ctx ends.
func (d *watchdog) run(ctx context.Context) {
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		state := d.machine.State()
		if state.PID == 0 {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, d.answer)
		_ = d.guest.ping(asking) // an answer is noted by the guest itself
		cancel()
		limit, last := d.silence, d.guest.heardAt()
		if last.Before(state.Since) {
			limit, last = d.boot, state.Since
		}
		silent := time.Since(last)
		if silent < limit || ctx.Err() != nil || d.machine.State().PID != state.PID {
			continue
		}
		slog.Error("the virtual machine stands still and is started anew", "worker", d.machine.String(), "silent", silent.Round(time.Second), "see", d.report)
		if err := d.look(ctx); err != nil {
			slog.Warn("what the virtual machine did is not known", "worker", d.machine.String(), "error", err)
		}
		if d.machine.State().PID == state.PID {
			_ = d.machine.Signal(syscall.SIGKILL)
		}
		for d.machine.State().PID == state.PID && ctx.Err() == nil { // its end takes a moment
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// look writes down where the machine's processors are, and has its kernel tell the same on the console, by an interrupt that it cannot mask.
func (d *watchdog) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.grace)
	defer cancel()
	m, err := openMonitor(ctx, d.monitor)
	if err != nil {
		return err
	}
	defer m.conn.Close()
	var report []byte
	for range 5 { // a processor that goes round is seen in several places
		var registers string
		if err := m.call("human-monitor-command", map[string]any{"command-line": "info registers -a"}, &registers); err != nil {
			return err
		}
		report = append(report, registers...)
	}
	if err := renameio.WriteFile(d.report, report, 0o600); err != nil {
		return err
	}
	if err := m.call("inject-nmi", nil, nil); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// monitor is a session with QEMU's machine protocol.
type monitor struct {
	conn   net.Conn
	reader *bufio.Reader
}

func openMonitor(ctx context.Context, socket string) (*monitor, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("QEMU's monitor: %w", err)
	}
	end, _ := ctx.Deadline()
	_ = conn.SetDeadline(end)
	m := &monitor{conn: conn, reader: bufio.NewReader(conn)}
	if err := m.call("qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return m, nil
}

// call asks, and passes over greetings and events until the answer comes.
func (m *monitor) call(command string, arguments, result any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	if _, err := m.conn.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("QEMU's monitor: %w", err)
	}
	for {
		line, err := m.reader.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("QEMU's monitor: %s: %w", command, err)
		}
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			return fmt.Errorf("QEMU's monitor: %w", err)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("QEMU's monitor: %s: %s", command, answer.Error.Desc)
		case answer.Return == nil:
			continue
		case result == nil:
			return nil
		}
		return json.Unmarshal(answer.Return, result)
	}
}
