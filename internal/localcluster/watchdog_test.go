package localcluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// listen serves each connection to a socket.
func listen(t *testing.T, socket string, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

// TestStandingMachineIsStartedAnew: a machine whose agent answers is left alone; one whose agent has become silent is asked where it stands, and
// started anew.
func TestStandingMachineIsStartedAnew(t *testing.T) {
	dir := t.TempDir()
	g := &guest{socket: filepath.Join(dir, "guest.sock")}
	var silent atomic.Bool
	var asked atomic.Int64
	listen(t, g.socket, func(conn net.Conn) {
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			var call struct{ Arguments map[string]any }
			_ = json.Unmarshal(lines.Bytes(), &call)
			asked.Add(1)
			if !silent.Load() {
				fmt.Fprintf(conn, "{\"return\": %.0f}\n", call.Arguments["id"])
			}
		}
	})
	var interrupted atomic.Int64
	monitor := filepath.Join(dir, monitorSocket)
	listen(t, monitor, func(conn net.Conn) {
		fmt.Fprintln(conn, `{"QMP": {"version": {}}}`)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			switch {
			case strings.Contains(lines.Text(), "info registers"):
				fmt.Fprintln(conn, `{"return": "RIP=ffffffff81000000\n"}`)
			case strings.Contains(lines.Text(), "inject-nmi"):
				interrupted.Add(1)
				fmt.Fprintln(conn, `{"event": "RTC_CHANGE"}`)
				fmt.Fprintln(conn, `{"return": {}}`)
			default:
				fmt.Fprintln(conn, `{"return": {}}`)
			}
		}
	})
	machine := proc.New(proc.Spec{Name: "worker1", Path: "/bin/sleep", Args: []string{"3600"}, Log: filepath.Join(dir, "log"), Backoff: time.Millisecond})
	go func() { _ = proc.Keep(t.Context(), machine) }()
	if err := machine.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := &watchdog{machine: machine, guest: g, monitor: monitor, report: filepath.Join(dir, "stood-still.log"),
		silence: time.Hour, boot: time.Hour, every: time.Millisecond, answer: time.Minute, grace: 100 * time.Millisecond}
	done := make(chan struct{})
	watch := func(d watchdog, until func() bool) {
		t.Helper()
		ctx := await.Expiring(t, until)
		go func() {
			d.run(ctx)
			done <- struct{}{}
		}()
		<-done
	}
	watch(*d, func() bool { return asked.Load() >= 5 })
	if s := machine.State(); s.Restarts != 0 || g.heardAt().IsZero() {
		t.Fatalf("a machine that answers was started anew: %+v", s)
	}

	silent.Store(true)
	d.silence = time.Millisecond
	// A monitor that does not answer holds nobody up.
	d.answer = 10 * time.Millisecond
	deaf := *d
	deaf.monitor = filepath.Join(dir, "nobody.sock")
	for _, d := range []watchdog{*d, deaf} {
		before := machine.State().Restarts
		g.heard.Store(time.Now().UnixNano())
		watch(d, func() bool { return machine.State().Restarts > before })
	}
	if interrupted.Load() == 0 {
		t.Error("its kernel was not asked where it stands")
	}
	if text, err := os.ReadFile(d.report); err != nil || !strings.Contains(string(text), "RIP=") {
		t.Errorf("report %q, %v", text, err)
	}
}
