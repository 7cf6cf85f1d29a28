package adtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
)

// Machine is one machine of a lab.
type Machine struct {
	Name    string
	Address string // on the lab's network
	pid     int    // of its first process
}

// boot is what the machine's first process does: it makes the root file system, and then lives until its standard input ends, which is
// when the test's process does. A shell collects the processes that lost their parent.
const boot = `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
rm -rf var/lib/samba var/cache/samba var/log/samba etc/samba etc/krb5.conf etc/krb5.keytab
mkdir -p run/samba var/lib/samba/private var/cache/samba var/log/samba etc/samba
hostname "$1"
ip link set lo up
exec chroot . /bin/bash -c 'echo ready; while read -r _; do :; done'
`

// environment is the same on every machine.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C"}

// start makes a machine without a network.
func start(t testing.TB, name string) *Machine {
	t.Helper()
	cmd := exec.Command("/bin/bash", "-c", boot, "boot", name)
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	life, err := cmd.StdinPipe() // closed by the kernel at the latest
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("machine %s: %v: namespaces cannot be made here; in a container, run it privileged", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with the first process, all of them
		_ = cmd.Wait()
		_ = life.Close()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("machine %s does not start: %v\n%s", name, err, complaints.String())
	}
	return &Machine{Name: name, pid: cmd.Process.Pid}
}

// host runs one of the real machine's programs in this machine's network.
func (m *Machine) host(t testing.TB, argv ...string) {
	t.Helper()
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(m.pid), "-n", "--"}, argv...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// command is a program inside, as root, in a process group of its own.
func (m *Machine) command(argv []string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"-t", fmt.Sprint(m.pid), "-r", "-w", "-m", "-u", "-n", "-p", "-i", "--"}, argv...)...)
	cmd.Env = environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Result is how a program ended.
type Result struct {
	Out, Err string
	Code     int // 128+n where signal n ended it
}

// Run runs a program inside and waits for it. The error is that the context ended first.
func (m *Machine) Run(ctx context.Context, stdin string, argv ...string) (Result, error) {
	var out, complaints bytes.Buffer
	cmd := m.command(argv)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaints
	cmd.WaitDelay = time.Second // for what a daemon that it left behind holds open
	if err := cmd.Start(); err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	if !stop() {
		return Result{}, fmt.Errorf("%s on %s: %w", argv[0], m.Name, context.Cause(ctx))
	}
	result := Result{Out: out.String(), Err: complaints.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return result, err
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		result.Code = 128 + int(status.Signal())
	}
	return result, nil
}

// MustRun is Run for a program that has to succeed; it returns what it printed.
func (m *Machine) MustRun(t testing.TB, stdin string, argv ...string) string {
	t.Helper()
	r, err := m.Run(await.Context(t), stdin, argv...)
	if err != nil || r.Code != 0 {
		t.Fatalf("%s on %s: code %d, %v\n%s%s", strings.Join(argv, " "), m.Name, r.Code, err, r.Out, r.Err)
	}
	return r.Out
}

// WriteFile writes a file inside. Its directory is made; what was there is replaced.
func (m *Machine) WriteFile(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	m.MustRun(t, text, "sh", "-c", `mkdir -p "$(dirname "$1")" && cat > "$1.new" && chmod "$2" "$1.new" && mv -fT "$1.new" "$1"`, "sh", path, fmt.Sprintf("%o", mode))
}

// Dial connects from inside, to an IP address and port.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, so that nothing else runs in there
		var r result
		if r.err = m.enterNetwork(); r.err == nil {
			r.conn, r.err = new(net.Dialer).DialContext(ctx, network, address)
		}
		done <- r
	}()
	r := <-done
	return r.conn, r.err
}

func (m *Machine) enterNetwork() error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
}

// Daemon is a program that runs inside until it is stopped.
type Daemon struct {
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

// Start starts a daemon, which must stay in the foreground and in its process group. Where the test fails, the end of what it said is logged.
func (m *Machine) Start(t testing.TB, argv ...string) *Daemon {
	t.Helper()
	d := &Daemon{cmd: m.command(argv), log: new(lockedBuffer), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.WaitDelay = 100 * time.Millisecond
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(d.done); _ = d.cmd.Wait() }()
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("%s on %s said:\n%s", argv[0], m.Name, d.Log())
		}
	})
	return d
}

// Kill ends the daemon and its children as a power cut would, and waits until they are gone.
func (d *Daemon) Kill() {
	_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
	<-d.done
}

// Ended is closed when the daemon has ended.
func (d *Daemon) Ended() <-chan struct{} { return d.done }

// Log is the end of what the daemon said.
func (d *Daemon) Log() string { return d.log.tail(8 << 10) }

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) tail(size int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := b.buf.String()
	return text[max(0, len(text)-size):]
}
