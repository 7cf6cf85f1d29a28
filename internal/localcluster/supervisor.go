package localcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pai-storage/pai-storage/internal/controlplane"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// The files that a supervisor gets from the process that starts it, in this order from number 3 on:
// the starting gun, and the listeners in the machine's own network.
const (
	fdGo = 3 + iota
	fdREST
	fdKube
)

// supervisor keeps a cluster running.
type supervisor struct {
	cfg      Config
	plane    *controlplane.Plane // nil with an existing cluster
	kube     kubernetes.Interface
	rest     *rest.Config
	board    board
	guests   map[string]*guest
	machines []*proc.Child
	running  sync.WaitGroup

	mu       sync.Mutex
	children []*proc.Child
}

// Supervise runs the cluster of a state directory until ctx ends. It is the main function of the process
// that Up starts.
func Supervise(ctx context.Context, stateDir string) error {
	cfg, err := Load(stateDir)
	if err != nil {
		return err
	}
	// Whoever starts us writes one byte as soon as it has noted our number. Its death means that
	// nobody knows about us.
	if _, err := io.ReadFull(os.NewFile(fdGo, "go"), make([]byte, 1)); err != nil {
		return fmt.Errorf("the process that started the supervisor is gone: %w", err)
	}
	release, err := cfg.use()
	if err != nil {
		return err
	}
	defer release()
	s := &supervisor{cfg: cfg, guests: map[string]*guest{}}
	if cfg.Kubeconfig == "" {
		if err := isolateMounts(); err != nil {
			return err
		}
	}
	socket, err := listenControl(cfg.path("control.sock"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.controlHandler(), ReadHeaderTimeout: 5 * time.Second}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ignoreClosed(server.Serve(socket)) })
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	group.Go(func() error {
		// A failed step does not end the supervisor: the other half reads the reason and decides.
		if err := runSteps(ctx, s.steps(ctx), &s.board); err != nil {
			slog.Error("boot", "error", err)
		}
		return nil
	})
	err = group.Wait()
	s.running.Wait()
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// isolateMounts makes /proc show this PID namespace, without the machine seeing the mount.
func isolateMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}

// keep runs a child as long as the cluster.
func (s *supervisor) keep(ctx context.Context, c *proc.Child) {
	s.mu.Lock()
	s.children = append(s.children, c)
	s.mu.Unlock()
	s.running.Go(func() {
		if err := proc.Keep(ctx, c); err != nil && ctx.Err() == nil {
			slog.Error("supervise", "process", c.String(), "error", err)
		}
	})
}

// steps to boot; life is the context of everything that stays. The limits are for what hangs: a slow machine with other things to do takes many times as
// long as a fast one.
func (s *supervisor) steps(life context.Context) []step {
	if s.cfg.Kubeconfig != "" {
		return []step{
			{name: "cluster", limit: 2 * time.Minute, run: s.useExisting},
			{name: "REST server", limit: 5 * time.Minute, run: s.restServerStep(life)},
		}
	}
	return []step{
		{name: "network", limit: 2 * time.Minute, run: s.network},
		{name: "virtual machines", limit: 5 * time.Minute, run: s.powerOn(life)},
		{name: "control plane", limit: 10 * time.Minute, run: s.controlPlane(life)},
		{name: "REST server", limit: 5 * time.Minute, run: s.restServerStep(life)},
		{name: "workers", limit: 20 * time.Minute, run: s.workersReady},
		{name: "cluster configuration", limit: 5 * time.Minute, run: s.configuration},
		{name: "storage servers", limit: storageLimit + time.Minute, run: s.storageServers},
		{name: "node agents", limit: agentLimit + time.Minute, run: s.nodeAgents},
	}
}

func (s *supervisor) network(context.Context, func(string)) (string, error) {
	if err := makeNetwork(s.cfg.workers()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, this machine is %s in it", network, gateway), nil
}

// powerOn starts the virtual machines first of all: they boot while the control plane does.
func (s *supervisor) powerOn(life context.Context) func(context.Context, func(string)) (string, error) {
	return func(ctx context.Context, note func(string)) (string, error) {
		accelerator := s.cfg.accelerator(ctx, note)
		var err error
		s.plane, err = controlplane.New(controlplane.Config{BinDir: s.cfg.BinDir, Dir: s.cfg.path("controlplane"),
			Address: gateway, Ports: controlplane.DefaultPorts})
		if err != nil {
			return "", err
		}
		for _, w := range s.cfg.workers() {
			if err := prepareWorker(ctx, s.cfg, w, s.plane); err != nil {
				return "", err
			}
			g := &guest{socket: s.cfg.path("workers", w.Name, "guest.sock")}
			s.guests[w.Name] = g
			machine := s.cfg.worker(w, accelerator, g.ping)
			s.machines = append(s.machines, machine)
			s.keep(life, machine)
			s.running.Go(func() { s.cfg.watchdog(w, machine, g).run(life) })
		}
		how := "emulated"
		if accelerator == hardware {
			how = "on the processor itself"
		}
		return fmt.Sprintf("%d with %d MiB each, %s", s.cfg.Workers, s.cfg.Memory, how), nil
	}
}

func (s *supervisor) controlPlane(life context.Context) func(context.Context, func(string)) (string, error) {
	return func(ctx context.Context, note func(string)) (string, error) {
		for _, c := range []*proc.Child{s.plane.Etcd, s.plane.APIServer, s.plane.Controllers, s.plane.Scheduler} {
			note("starting " + c.String())
			s.keep(life, c)
			if err := c.WaitReady(ctx); err != nil {
				return "", err
			}
		}
		s.rest = s.plane.RESTConfig()
		var err error
		if s.kube, err = kubernetes.NewForConfig(s.rest); err != nil {
			return "", err
		}
		if err := s.forward(life, fdKube, fmt.Sprintf("%s:%d", gateway, controlplane.DefaultPorts.API)); err != nil {
			return "", err
		}
		err = s.plane.WriteKubeconfig(s.cfg.KubeconfigFile(), fmt.Sprintf("https://127.0.0.1:%d", s.cfg.KubePort), s.plane.Admin)
		return "kubeconfig " + s.cfg.KubeconfigFile(), err
	}
}

// forward serves a listener of the machine's own network for as long as the cluster lives.
func (s *supervisor) forward(life context.Context, fd uintptr, to string) error {
	file := os.NewFile(fd, "listener")
	listener, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("listener for %s: %w", to, err)
	}
	file.Close()
	s.running.Go(func() {
		if err := forward(life, listener, to); life.Err() == nil {
			slog.Error("forward", "to", to, "error", err)
		}
	})
	return nil
}

func (s *supervisor) useExisting(ctx context.Context, note func(string)) (string, error) {
	var err error
	if s.rest, err = clientcmd.BuildConfigFromFlags("", s.cfg.Kubeconfig); err != nil {
		return "", err
	}
	if s.kube, err = kubernetes.NewForConfig(s.rest); err != nil {
		return "", err
	}
	return s.rest.Host, nil
}

func (s *supervisor) workersReady(ctx context.Context, note func(string)) (string, error) {
	for i, machine := range s.machines {
		note(machine.String() + " boots")
		if err := machine.WaitReady(ctx); err != nil {
			console := s.cfg.path("workers", s.cfg.workers()[i].Name, "console.log")
			return "", fmt.Errorf("%w%s", err, proc.Tail(console, 5))
		}
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		workers := s.workers(ctx)
		var waiting string
		for _, w := range workers {
			if !w.Ready && waiting == "" {
				waiting = w.Name + ": " + w.Reason
			}
		}
		if waiting == "" {
			return fmt.Sprintf("%d Ready", len(workers)), nil
		}
		note(waiting)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %s%s", context.Cause(ctx), waiting, proc.Tail(s.cfg.path("workers", "worker1", "console.log"), 5))
		}
	}
}

// workers asks the API server, and the virtual machines where that knows nothing.
func (s *supervisor) workers(ctx context.Context) []WorkerStatus {
	nodes := map[string]*corev1.Node{}
	if s.kube != nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if list, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"}); err == nil {
			for i := range list.Items {
				nodes[list.Items[i].Name] = &list.Items[i]
			}
		}
	}
	var result []WorkerStatus
	for _, w := range s.cfg.workers() {
		status := WorkerStatus{Worker: w}
		if node := nodes[w.Name]; node != nil {
			status.Storage = node.Labels["pai-storage"] == "true"
		}
		status.Ready, status.Reason = s.workerReady(w.Name, nodes[w.Name])
		result = append(result, status)
	}
	return result
}

// workerReady believes a node only what it has said since its machine was switched on: the API server
// keeps the last words of a dead kubelet.
func (s *supervisor) workerReady(name string, node *corev1.Node) (bool, string) {
	var machine proc.State
	for _, state := range s.states() {
		if state.Name == name {
			machine = state
		}
	}
	switch {
	case machine.PID == 0:
		return false, "the virtual machine is off: " + machine.LastExit
	case !machine.Ready:
		return false, "the virtual machine boots"
	case node == nil:
		return false, "the kubelet starts"
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && !c.LastHeartbeatTime.Time.Before(machine.Since.Truncate(time.Second)) {
			return c.Status == corev1.ConditionTrue, c.Message
		}
	}
	return false, "the kubelet has not reported yet"
}

func (s *supervisor) states() []proc.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]proc.State, 0, len(s.children))
	for _, c := range s.children {
		states = append(states, c.State())
	}
	return states
}

func (s *supervisor) report(ctx context.Context) report {
	r := report{Steps: s.board.list(), Processes: s.states(), Workers: s.workers(ctx)}
	r.Booted = len(r.Steps) == len(s.steps(ctx))
	for _, step := range r.Steps {
		r.Booted = r.Booted && step.State == stepDone
	}
	return r
}
