// Package csi is the CSI node drivers of the node agent: csi.pai.storage for storages that are declared today, and file.csi.azure.com, which
// Kubernetes wants for azureFile volumes, where no official driver is that. Both put volumes on the engine of package mount.
//
// Use [Start] to serve a driver and to register it with the kubelet, and [Others] to see whether somebody else serves one. Its rules:
//
//   - A volume is mounted once on a node, at its staging path, and bound to each pod; two volumes of one place are two mounts.
//   - Every call may come again, and two calls about one volume at once are refused (Aborted), as the specification wants it.
//   - Secrets come in a call and go on to the engine; they are in no log and no answer.
//   - There is no controller: volumes are not made, they are there.
//
// Example:
//
//	stop, err := csi.Start(csi.Options{Name: volume.CSIDriver, Node: "worker1", Plugins: "/var/lib/kubelet/plugins", Registry: "/var/lib/kubelet/plugins_registry", Mounter: host})
package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// Options say what to serve, and where.
type Options struct {
	Name     string // of the driver
	Version  string // that it tells; "" for 1
	Node     string // that it runs on
	Plugins  string // directory for its socket, which the kubelet sees at the same path
	Registry string // directory in which the kubelet looks for drivers; "" for no registration
	Mounter  mount.Mounter
	Log      *slog.Logger // nil: slog.Default()
}

// Socket is where a driver listens.
func (o Options) Socket() string { return filepath.Join(o.Plugins, o.Name, "csi.sock") }

func (o Options) registrySocket() string {
	return filepath.Join(o.Registry, o.Name+registrySuffix)
}

// registrySuffix ends the names of our sockets in the kubelet's registry.
const registrySuffix = "-pai-reg.sock"

// Start serves a driver until stop is called. What is mounted stays.
func Start(o Options) (stop func(), err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Version == "" {
		o.Version = "1"
	}
	driver := grpc.NewServer(grpc.UnaryInterceptor(logged(o.Log.With("driver", o.Name))))
	n := &node{options: o, busy: map[string]bool{}}
	csi.RegisterIdentityServer(driver, &identity{options: o})
	csi.RegisterNodeServer(driver, n)
	if err := listen(driver, o.Socket()); err != nil {
		return nil, err
	}
	if o.Registry == "" {
		return driver.Stop, nil
	}
	r := &registrar{options: o, ended: make(chan struct{})}
	if err := r.start(); err != nil {
		driver.Stop()
		return nil, err
	}
	return func() { r.stop(); driver.Stop() }, nil
}

// listen serves a Unix socket; one that an earlier process left is replaced.
func listen(s *grpc.Server, socket string) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return err
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("socket of a CSI driver: %w", err)
	}
	go func() { _ = s.Serve(l) }() // it ends with Stop, and not before
	return nil
}

// logged writes down what failed: the call and its error, never the request, which may have secrets.
func logged(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		answer, err := handler(ctx, request)
		if err != nil {
			log.Warn("call", "method", info.FullMethod, "error", err.Error())
		}
		return answer, err
	}
}

// identity says who this is.
type identity struct {
	csi.UnimplementedIdentityServer
	options Options
}

// GetPluginInfo implements the identity service.
func (i *identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: i.options.Name, VendorVersion: i.options.Version}, nil
}

// GetPluginCapabilities implements the identity service: there is a node service alone.
func (i *identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{}, nil
}

// Probe implements the identity service.
func (i *identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

// registrar makes the driver known to the kubelet, again whenever the kubelet has removed its socket.
type registrar struct {
	registration.UnimplementedRegistrationServer
	options Options
	ended   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	server *grpc.Server
}

// lookEvery is how often the registrar looks for its socket: a kubelet that starts may have emptied its directory.
const lookEvery = 5 * time.Second

func (r *registrar) start() error {
	if err := r.serve(); err != nil {
		return err
	}
	r.running.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-r.ended:
				return
			case <-tick.C:
			}
			if _, err := os.Stat(r.options.registrySocket()); errors.Is(err, fs.ErrNotExist) {
				if err := r.serve(); err != nil {
					r.options.Log.Warn("register CSI driver", "driver", r.options.Name, "error", err.Error())
				}
			}
		}
	})
	return nil
}

func (r *registrar) serve() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server != nil {
		r.server.Stop()
	}
	r.server = grpc.NewServer()
	registration.RegisterRegistrationServer(r.server, r)
	return listen(r.server, r.options.registrySocket())
}

func (r *registrar) stop() {
	close(r.ended)
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server.Stop()
	_ = os.Remove(r.options.registrySocket())
}

// GetInfo tells the kubelet which driver is where.
func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: registration.CSIPlugin, Name: r.options.Name, Endpoint: r.options.Socket(), SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus is the kubelet's answer.
func (r *registrar) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if s.PluginRegistered {
		r.options.Log.Info("registered with the kubelet", "driver", r.options.Name)
	} else {
		r.options.Log.Error("the kubelet does not take the driver", "driver", r.options.Name, "error", s.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}

// Others lists the drivers that somebody else has registered with the kubelet: whose sockets in its registry are not ours and answer.
func Others(ctx context.Context, registry string) ([]string, error) {
	sockets, err := others(ctx, registry)
	return slices.Sorted(maps.Keys(sockets)), err
}

// Announce has the kubelet register another's driver anew. It is for after our driver of the same name was stopped: the kubelet forgets a
// driver by its name, and so would have none, although the other's socket is there.
func Announce(ctx context.Context, registry, name string) error {
	sockets, err := others(ctx, registry)
	if err != nil || sockets[name] == "" {
		return err
	}
	// A socket that is put there is one to be registered. Its server does not notice, and the kubelet passes over names with a dot.
	place := filepath.Join(registry, sockets[name])
	aside := filepath.Join(registry, "."+sockets[name])
	if err := os.Rename(place, aside); err != nil {
		return err
	}
	return os.Rename(aside, place)
}

// others are the sockets of the registry that are not ours and answer, by driver.
func others(ctx context.Context, registry string) (map[string]string, error) {
	entries, err := os.ReadDir(registry)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), registrySuffix) || e.Type() != fs.ModeSocket {
			continue
		}
		if name := ask(ctx, filepath.Join(registry, e.Name())); name != "" {
			found[name] = e.Name()
		}
	}
	return found, nil
}

// ask asks a socket of the registry which driver it is; "" when nobody answers.
func ask(ctx context.Context, socket string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return ""
	}
	defer conn.Close()
	info, err := registration.NewRegistrationClient(conn).GetInfo(ctx, &registration.InfoRequest{})
	if err != nil || info.Type != registration.CSIPlugin {
		return ""
	}
	return info.Name
}
