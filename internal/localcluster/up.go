package localcluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/kubebuild"
	"github.com/pai-storage/pai-storage/internal/nodeimage"
	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/pai-storage/pai-storage/internal/proc"
	"github.com/pai-storage/pai-storage/internal/qemu"
)

// Up brings the cluster of a configuration up and returns when it is ready. It is idempotent: what runs is
// left alone, what has died is started. When a step fails, the steps before it are undone.
func Up(ctx context.Context, cfg Config, r Reporter) (Status, error) {
	if err := cfg.Validate(); err != nil {
		return Status{}, err
	}
	if cfg.Kubeconfig == "" {
		// Before anything is written, so that a machine that cannot do it stays as it was.
		if _, running := cfg.supervisorProcess(); !running {
			if err := checkMachine(cfg); err != nil {
				return Status{}, err
			}
		}
	}
	fresh := false
	if _, err := os.Stat(cfg.StateDir); errors.Is(err, os.ErrNotExist) {
		fresh = true
	}
	unlock, err := cfg.lock()
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	u := &upper{cfg: cfg, reporter: r, release: func() {}}
	if err := u.up(ctx); err != nil {
		if fresh && u.nothingStarted {
			_ = os.RemoveAll(cfg.StateDir)
		}
		return Status{}, err
	}
	return GetStatus(ctx, u.cfg)
}

// Prepare does the part of Up that takes minutes the first time (packages, Kubernetes, the workers' image)
// and starts nothing.
func Prepare(ctx context.Context, cfg Config, r Reporter) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	unlock, err := cfg.lock()
	if err != nil {
		return err
	}
	defer unlock()
	u := &upper{cfg: cfg, reporter: r, release: func() {}}
	defer func() { u.release() }()
	steps := u.steps()
	return runSteps(ctx, steps[:len(steps)-1], r)
}

type upper struct {
	cfg      Config
	reporter Reporter
	// nothingStarted: the failure came before there was a log worth reading.
	nothingStarted bool
	listeners      []*os.File
	release        func() // what is built may be deleted again; by then the supervisor uses it
}

func (u *upper) up(ctx context.Context) error {
	if _, running := u.cfg.supervisorProcess(); running {
		reuse, err := u.running(ctx)
		if err != nil || reuse {
			return err
		}
	}
	// What a killed "up" or supervisor left of itself.
	if err := u.cfg.stopSupervisor(ctx); err != nil {
		return err
	}
	u.nothingStarted = true
	if err := u.reservePorts(); err != nil {
		return err
	}
	defer u.closeListeners()
	defer func() { u.release() }()
	if err := runSteps(ctx, u.steps(), u.reporter); err != nil {
		return err
	}
	return u.follow(ctx)
}

// running looks at a cluster that is there: it is the wished one, or a clear refusal, or one that failed
// to boot and is started again.
func (u *upper) running(ctx context.Context) (reuse bool, err error) {
	was, err := Load(u.cfg.StateDir)
	if err != nil {
		return false, err
	}
	if difference := was.differs(u.cfg); difference != "" {
		return false, fmt.Errorf("cluster %q runs already, %s: \"paictl down --name %s\" first, or choose another --name", was.Name, difference, was.Name)
	}
	u.cfg = was
	report, err := u.cfg.report(ctx)
	if err != nil {
		return false, nil // it hangs: start anew
	}
	for _, step := range report.Steps {
		if step.State == stepFailed {
			return false, nil
		}
	}
	if report.Booted { // what the steps said then is not how things are now
		const name = "cluster"
		u.reporter.Begin(name)
		u.reporter.Done(name, "runs already")
		return true, u.repaired(ctx, report)
	}
	return true, u.follow(ctx)
}

// differs names the first thing in which a running cluster is not the wished one.
func (c Config) differs(wish Config) string {
	switch {
	case c.Kubeconfig != wish.Kubeconfig:
		return fmt.Sprintf("with the kubeconfig %q", c.Kubeconfig)
	case c.Kubeconfig == "" && c.Workers != wish.Workers:
		return fmt.Sprintf("with %s, not %d", plural.Of(c.Workers, "worker"), wish.Workers)
	case c.Kubeconfig == "" && c.Memory != wish.Memory:
		return fmt.Sprintf("with %d MiB for a worker, not %d", c.Memory, wish.Memory)
	case wish.Port != 0 && c.Port != wish.Port:
		return fmt.Sprintf("at port %d, not %d", c.Port, wish.Port)
	case wish.KubePort != 0 && c.KubePort != wish.KubePort:
		return fmt.Sprintf("with its Kubernetes at port %d, not %d", c.KubePort, wish.KubePort)
	}
	return ""
}

// lock keeps a second "up" or "down" of the same cluster away.
func (c Config) lock() (unlock func(), err error) {
	if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w; choose another with --state-dir", err)
	}
	f, err := os.OpenFile(c.path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(c.path("lock"))
		f.Close()
		return nil, fmt.Errorf("cluster %q is being started or stopped by process %s: wait for it, or choose another --name", c.Name, strings.TrimSpace(string(holder)))
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return func() { f.Close() }, nil
}

// reservePorts listens before anything is built: a taken port is known within the first second. An
// existing cluster needs no listener of ours; there the port is only tried.
func (u *upper) reservePorts() error {
	kept, err := Load(u.cfg.StateDir)
	if err == nil && u.cfg.KubePort == 0 {
		u.cfg.KubePort = kept.KubePort // so that kubeconfigs stay good
	}
	if err == nil && u.cfg.Port == 0 {
		u.cfg.Port = kept.Port
	}
	if err := u.listen(&u.cfg.Port, "--port"); err != nil {
		return err
	}
	if u.cfg.Kubeconfig != "" {
		u.closeListeners()
		return nil
	}
	return u.listen(&u.cfg.KubePort, "--kube-port")
}

func (u *upper) listen(port *int, flag string) error {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		u.closeListeners()
		return portError(err, *port, flag)
	}
	defer listener.Close()
	*port = listener.Addr().(*net.TCPAddr).Port
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	u.listeners = append(u.listeners, file)
	return nil
}

func (u *upper) closeListeners() {
	for _, f := range u.listeners {
		f.Close()
	}
	u.listeners = nil
}

// steps on this side; the rest of them is the supervisor's.
func (u *upper) steps() []step {
	start := step{name: "supervisor", limit: 5 * time.Minute, run: u.start, undo: u.stop}
	if u.cfg.Kubeconfig != "" {
		return []step{{name: "existing cluster", limit: 5 * time.Minute, run: u.examine}, start}
	}
	return []step{
		{name: "Debian packages", limit: 20 * time.Minute, run: u.packages},
		// Compiling is bound by the processors, Debian by the network: together they take little more
		// than the first alone.
		{name: "Kubernetes and the workers' image", limit: 90 * time.Minute, run: u.build},
		start,
	}
}

func (u *upper) packages(ctx context.Context, note func(string)) (string, error) {
	missing := missingPackages()
	if len(missing) == 0 {
		return "all there", nil
	}
	names := strings.Join(missing, " ")
	note("installing " + names)
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	for _, args := range [][]string{{"update"}, append([]string{"install", "--yes", "--no-install-recommends"}, missing...)} {
		if err := proc.Run(ctx, proc.Command{Path: "apt-get", Args: args, Env: env, Log: u.cfg.path("packages.log")}); err != nil {
			return "", fmt.Errorf("the packages %s could not be installed; install them by hand: apt-get install %s: %w", names, names, err)
		}
	}
	return "installed " + names, nil
}

func (u *upper) build(ctx context.Context, note func(string)) (string, error) {
	cache, err := buildcache.Root()
	if err != nil {
		return "", err
	}
	notes := newParts(note)
	image := nodeimage.Options{Cache: cache, Log: u.cfg.path("image.log"), Note: notes.part("worker image")}
	for name, path := range map[string]*string{"task-init": &image.TaskInit, "storage-manager": &image.StorageManager} {
		if *path, err = siblingProgram(name); err != nil {
			return "", err
		}
	}
	for _, name := range agentPrograms {
		program, err := siblingProgram(name)
		switch {
		case err != nil && name == objectMount:
			continue
		case err != nil:
			return "", err
		}
		image.Agent = append(image.Agent, program)
	}
	kube := kubebuild.Options{Cache: cache, Log: u.cfg.path("kubernetes.log"), Note: notes.part("Kubernetes")}
	if os.Getenv(kubebuild.EnvBinDir) == "" {
		if kube.Source, err = kubebuild.Source(); err != nil {
			return "", err
		}
	}
	if u.cfg.RESTServer, err = siblingProgram("rest-server"); err != nil {
		return "", err
	}
	group, building := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := nodeimage.Debian(building, image)
		notes.part("worker image")("Debian is there")
		return err
	})
	group.Go(func() error {
		var err error
		u.cfg.BinDir, err = kubebuild.Ensure(building, kube)
		notes.part("Kubernetes")("built")
		return err
	})
	group.Go(func() error {
		var err error
		u.cfg.Emulator, err = qemu.Find(building, qemu.Options{Cache: cache, Log: u.cfg.path("packages.log"), Note: notes.part("QEMU")})
		return err
	})
	if err := group.Wait(); err != nil {
		return "", err
	}
	built, err := nodeimage.Ensure(ctx, image, u.cfg.BinDir)
	if err != nil {
		return "", err
	}
	u.cfg.Image = Image{Kernel: built.Kernel, Initrd: built.Initrd, Disk: built.Disk}
	release, err := u.cfg.use()
	if err != nil {
		return "", err
	}
	u.release = release
	return "in " + filepath.Dir(filepath.Dir(built.Disk)), err
}

// agentPrograms are the node agent, and what it installs on workers. The last one is a module of its own: without it, a cluster mounts no
// object stores, and its agents say so.
var agentPrograms = []string{"node-agent", "pai-mount", objectMount}

const objectMount = "object-mount"

func (u *upper) start(ctx context.Context, _ func(string)) (string, error) {
	if err := u.cfg.ensureAdminPassword(); err != nil {
		return "", err
	}
	if err := u.cfg.save(); err != nil {
		return "", err
	}
	u.nothingStarted = false
	if err := u.cfg.startSupervisor(u.listeners); err != nil {
		return "", err
	}
	u.closeListeners() // the supervisor has them; their end must be its end
	p, _ := u.cfg.supervisorProcess()
	return fmt.Sprintf("process %d; stop it with \"paictl down\"", p.PID), nil
}

func (u *upper) stop() {
	if err := u.cfg.stopSupervisor(context.Background()); err != nil {
		u.reporter.Note("supervisor", err.Error())
	}
}

// follow shows the supervisor's steps until the last one is done.
func (u *upper) follow(ctx context.Context) error {
	shown := map[string]StepStatus{}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		report, err := u.cfg.report(ctx)
		_, alive := u.cfg.supervisorProcess()
		switch {
		case err == nil:
			if failed := u.show(report.Steps, shown); failed != nil {
				u.stop()
				return failed
			}
			if report.Booted {
				return u.repaired(ctx, report)
			}
		case !alive:
			u.stop()
			return fmt.Errorf("the supervisor has ended%s", proc.Tail(u.cfg.path("supervisor.log"), 8))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			u.stop()
			return fmt.Errorf("stopped half-way, everything is undone: %w", context.Cause(ctx))
		}
	}
}

func (u *upper) show(steps []StepStatus, shown map[string]StepStatus) error {
	for _, s := range steps {
		before, known := shown[s.Name]
		if known && before == s {
			continue
		}
		shown[s.Name] = s
		if !known {
			u.reporter.Begin(s.Name)
		}
		switch s.State {
		case stepRunning:
			if s.Text != "" {
				u.reporter.Note(s.Name, s.Text)
			}
		case stepDone:
			u.reporter.Done(s.Name, s.Text)
		case stepFailed:
			err := errors.New(s.Text)
			u.reporter.Failed(s.Name, err)
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// repairLimit is how long a process of a booted cluster may take to come back.
const repairLimit = 10 * time.Minute

// repaired waits until every process of a booted cluster is ready again.
func (u *upper) repaired(ctx context.Context, r report) error {
	if r.broken() == "" {
		return nil
	}
	const name = "repair"
	u.reporter.Begin(name)
	ctx, cancel := context.WithTimeout(ctx, repairLimit)
	defer cancel()
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for broken := r.broken(); broken != ""; broken = r.broken() {
		u.reporter.Note(name, broken)
		select {
		case <-tick.C:
		case <-ctx.Done():
			err := fmt.Errorf("%s after %s", broken, repairLimit)
			u.reporter.Failed(name, err)
			return err
		}
		if fresh, err := u.cfg.report(ctx); err == nil {
			r = fresh
		}
	}
	u.reporter.Done(name, "everything is back")
	return nil
}

// broken names the first thing of a booted cluster that does not work.
func (r report) broken() string {
	for _, p := range r.Processes {
		if !p.Ready {
			return p.Name + " is not ready"
		}
	}
	for _, w := range r.Workers {
		if !w.Ready {
			return w.Name + ": " + w.Reason
		}
	}
	return ""
}

func (c Config) ensureAdminPassword() error {
	if _, err := os.Stat(c.AdminPasswordFile()); err == nil {
		return nil
	}
	return renameio.WriteFile(c.AdminPasswordFile(), []byte(rand.Text()+"\n"), 0o600)
}

// Down stops the cluster and everything of it; what it stored stays for the next Up. With purge its
// state directory goes as well. It works on whatever a crashed Up left.
func Down(ctx context.Context, cfg Config, purge bool) error {
	if _, err := os.Stat(cfg.StateDir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %q has no state in %s", ErrAbsent, cfg.Name, cfg.StateDir)
	}
	unlock, err := cfg.lock()
	if err != nil {
		return err
	}
	defer unlock()
	cfg.syncDisks(ctx)
	if err := cfg.stopSupervisor(ctx); err != nil {
		return err
	}
	if purge {
		return os.RemoveAll(cfg.StateDir)
	}
	return nil
}

// syncDisks has the workers write their data out; a virtual machine is then switched off like a
// lamp. One that does not answer loses what was not yet acknowledged to its clients, as at a power cut.
func (c Config) syncDisks(ctx context.Context) {
	kept, err := Load(c.StateDir)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, w := range kept.workers() {
		_, _ = Exec(ctx, kept, w.Name, []string{"sync"}, nil)
	}
}
