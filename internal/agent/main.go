package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pai-storage/pai-storage/internal/csi"
	"github.com/pai-storage/pai-storage/internal/flexvolume"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// Main is the program: it works until ctx ends.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 3 && args[0] == lookForPath {
		return lookFor(args[1], args[2], stderr)
	}
	if len(args) == 4 && args[0] == lookAtMachine {
		return lookAt(args[1], args[2], args[3], stdout, stderr)
	}
	o := options{log: slog.New(slog.NewJSONHandler(stderr, nil)), pace: defaultPace(), state: mount.DefaultDir}
	f := flag.NewFlagSet("node-agent", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.node, "node", os.Getenv("NODE_NAME"), "`name` of this node")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig `file`; none when running in a pod")
	f.StringVar(&o.machine, "machine", "/proc/1", "`directory` in /proc of a process of the machine itself")
	f.StringVar(&o.flex, "flexvolume-dir", "/usr/libexec/kubernetes/kubelet-plugins/volume/exec", "the kubelet's `directory` of FlexVolume drivers, the same on the machine and here")
	f.BoolVar(&o.replace, "replace-flexvolume-drivers", false, "put this project's FlexVolume drivers in the place of others of the same names")
	f.StringVar(&o.kubelet, "kubelet-dir", "/var/lib/kubelet", "the kubelet's `directory`")
	f.StringVar(&o.local, "local", "127.0.0.1:9189", "`address` for probes and metrics")
	f.DurationVar(&o.pace.period, "period", o.pace.period, "`time` between two checks of a storage that is well, and between two reports when nothing changes")
	f.DurationVar(&o.pace.spread, "spread", o.pace.spread, "`time` within which a new storage is checked; with a thousand nodes, give their file servers 30s")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if f.NArg() > 0 {
		fmt.Fprintf(stderr, "node-agent: unknown argument %q\n", f.Arg(0))
		return 2
	}
	if o.node == "" {
		fmt.Fprintln(stderr, "node-agent: which node is this? Give --node, or set NODE_NAME")
		return 2
	}
	if err := o.serve(ctx); err != nil && !errors.Is(err, context.Canceled) {
		o.log.Error("node-agent ends", "cause", err.Error())
		return 1
	}
	return 0
}

type options struct {
	node, kubeconfig, machine, flex, kubelet, local string
	state                                           string // for programs and mounts, the same on the machine and here; what mounts knows no other
	replace                                         bool
	pace                                            pace
	log                                             *slog.Logger
}

func (o options) serve(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.local)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	a := o.wire(client, filepath.Dir(self))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.run(ctx) })
	group.Go(func() error { return serveHTTP(ctx, listener, a.vitals.handler(a.publisher)) })
	return group.Wait()
}

// wire puts the agent together; from is where the programs are that it installs.
func (o options) wire(client kubernetes.Interface, from string) *agent {
	root := filepath.Join(o.machine, "root")
	mounter := &mount.Host{Program: filepath.Join(from, mountProgram), Root: o.machine, There: filepath.Join(o.state, "bin", mountProgram)}
	registry := filepath.Join(o.kubelet, "plugins_registry")
	m := &machine{root: root, proc: "/proc", flex: o.flex}
	a := &agent{
		node: o.node, client: client, log: o.log, every: 10 * time.Second, vitals: newVitals(),
		machine: m, lookout: &lookout{machine: m, deadline: factsDeadline},
		csi:     &csiNode{client: client, node: o.node, dir: registry, every: o.pace.period},
		install: func() map[string]error { return o.install(from) },
		drivers: &drivers{
			start: func(name string) (func(), error) {
				return csi.Start(csi.Options{Name: name, Node: o.node, Plugins: filepath.Join(o.kubelet, "plugins"), Registry: registry, Mounter: mounter, Log: o.log})
			},
			others: func(ctx context.Context) ([]string, error) { return csi.Others(ctx, registry) },
			announce: func(ctx context.Context, name string) error {
				select { // the kubelet looks every second, and has to forget ours first
				case <-time.After(3 * time.Second):
				case <-ctx.Done():
					return ctx.Err()
				}
				return csi.Announce(ctx, registry, name)
			},
			settle: 2 * time.Minute,
		},
		served: &servedMounts{mounter: mounter, dir: o.state, proc: "/proc", every: time.Minute},
	}
	l := looker{mounter: mounter, facts: a.board.getFacts, path: pathOn(root)}
	a.checker = newChecker(o.pace, l.look)
	a.publisher = newPublisher(client, o.node, o.log, a.report)
	a.publisher.every = o.pace.period
	a.checker.log, a.checker.changed, a.checker.ended = o.log, a.publisher.touch, a.vitals.ended
	a.checker.random, a.publisher.random = rand.Float64, rand.Float64
	a.vitals.follow(a.checker, a.publisher, &a.board)
	return a
}

// install puts programs and drivers on the machine, and says by what it was what went wrong.
func (o options) install(from string) map[string]error {
	bin := filepath.Join(o.state, "bin")
	return map[string]error{
		"install programs": installPrograms(from, bin),
		"install drivers":  flexvolume.Install(o.flex, filepath.Join(bin, mountProgram), o.replace),
	}
}
