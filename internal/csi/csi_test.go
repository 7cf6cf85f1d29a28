package csi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/volume"
)

// fakeMounter remembers what is mounted.
type fakeMounter struct {
	mount.Mounter
	mu      sync.Mutex
	mounted map[string]string // target -> source
	secrets []mount.Secret
	fail    error
	wait    chan struct{}
	begun   chan struct{}
}

func (f *fakeMounter) Mount(_ context.Context, target string, v mount.Volume, s mount.Secret) error {
	if f.wait != nil {
		close(f.begun)
		<-f.wait
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return f.fail
	}
	f.mounted[target] = v.Source
	f.secrets = append(f.secrets, s)
	return nil
}

func (f *fakeMounter) Unmount(_ context.Context, target string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mounted, target)
	return f.fail
}

func (f *fakeMounter) Bind(_ context.Context, source, target string, readOnly bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mounted[target] = f.mounted[source] + map[bool]string{true: " ro"}[readOnly]
	return f.fail
}

func (f *fakeMounter) Mounted(_ context.Context, target string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mounted[target] != "", nil
}

func (f *fakeMounter) Usage(context.Context, string) (mount.Usage, error) {
	return mount.Usage{Size: 100, Free: 40, Used: 60, Inodes: -1}, f.fail
}

// serve starts a driver and connects to it.
func serve(t *testing.T, name string, m mount.Mounter, log *slog.Logger) (*grpc.ClientConn, Options) {
	t.Helper()
	dir, err := os.MkdirTemp("", "csi-") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := Options{Name: name, Node: "worker1", Plugins: filepath.Join(dir, "plugins"), Registry: filepath.Join(dir, "registry"), Mounter: m, Log: log}
	stop, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	conn, err := grpc.NewClient("unix://"+o.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, o
}

func capability(flags ...string) *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{MountFlags: flags}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
	}
}

func TestVolumeFromStageToUnstage(t *testing.T) {
	m := &fakeMounter{mounted: map[string]string{}}
	var log bytes.Buffer
	conn, _ := serve(t, volume.CSIDriver, m, slog.New(slog.NewTextHandler(&log, nil)))
	node := csi.NewNodeClient(conn)
	stage := &csi.NodeStageVolumeRequest{VolumeId: "v", StagingTargetPath: "/staging", VolumeCapability: capability("dir_mode=0777"),
		VolumeContext: map[string]string{"type": "samba", "address": "//host/share"}, Secrets: map[string]string{"username": "u", "password": "hunter2-long"}}
	publish := func(target string, readOnly bool) error {
		_, err := node.NodePublishVolume(t.Context(), &csi.NodePublishVolumeRequest{VolumeId: "v", StagingTargetPath: "/staging", TargetPath: target, VolumeCapability: capability(), Readonly: readOnly})
		return err
	}
	if err := publish("/pod-0", false); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("publish before stage: %v", err)
	}
	for range 2 {
		if _, err := node.NodeStageVolume(t.Context(), stage); err != nil {
			t.Fatal(err)
		}
	}
	for target, readOnly := range map[string]bool{"/pod-1": false, "/pod-2": true} {
		if err := publish(target, readOnly); err != nil {
			t.Fatal(err)
		}
	}
	if m.mounted["/pod-1"] != "//host/share" || m.mounted["/pod-2"] != "//host/share ro" || m.secrets[0]["password"] != "hunter2-long" {
		t.Errorf("mounted: %v", m.mounted)
	}
	stats, err := node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: "v", VolumePath: "/pod-1"})
	if err != nil || len(stats.Usage) != 1 || stats.Usage[0].Total != 100 || stats.Usage[0].Available != 40 || stats.Usage[0].Used != 60 {
		t.Errorf("stats: %v, %v", stats, err)
	}
	if _, err := node.NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{VolumeId: "v", VolumePath: "/nowhere"}); status.Code(err) != codes.NotFound {
		t.Errorf("stats of nothing: %v", err)
	}
	for _, target := range []string{"/pod-1", "/pod-2", "/pod-2"} {
		if _, err := node.NodeUnpublishVolume(t.Context(), &csi.NodeUnpublishVolumeRequest{VolumeId: "v", TargetPath: target}); err != nil {
			t.Error(err)
		}
	}
	if _, err := node.NodeUnstageVolume(t.Context(), &csi.NodeUnstageVolumeRequest{VolumeId: "v", StagingTargetPath: "/staging"}); err != nil || len(m.mounted) > 0 {
		t.Errorf("%v; still there: %v", err, m.mounted)
	}
	m.fail = &mount.Error{Op: "mount //host/share", Output: "mount error(13): Permission denied"}
	if _, err := node.NodeStageVolume(t.Context(), stage); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), "mount error(13)") {
		t.Errorf("a refused mount: %v", err)
	}
	if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "mount error(13)") {
		t.Errorf("the log: %s", log.String())
	}
}

func TestRefusedCalls(t *testing.T) {
	m := &fakeMounter{mounted: map[string]string{}}
	conn, _ := serve(t, volume.CSIDriver, m, slog.New(slog.DiscardHandler))
	node := csi.NewNodeClient(conn)
	good := map[string]string{"type": "samba", "address": "//host/share"}
	secret := map[string]string{"username": "u", "password": "hunter2"}
	block := capability()
	block.AccessType = &csi.VolumeCapability_Block{Block: &csi.VolumeCapability_BlockVolume{}}
	for name, r := range map[string]*csi.NodeStageVolumeRequest{
		"no volume":        {StagingTargetPath: "/s", VolumeCapability: capability(), VolumeContext: good, Secrets: secret},
		"no path":          {VolumeId: "v", VolumeCapability: capability(), VolumeContext: good, Secrets: secret},
		"relative path":    {VolumeId: "v", StagingTargetPath: "s", VolumeCapability: capability(), VolumeContext: good, Secrets: secret},
		"path that climbs": {VolumeId: "v", StagingTargetPath: "/s/../../etc", VolumeCapability: capability(), VolumeContext: good, Secrets: secret},
		"no capability":    {VolumeId: "v", StagingTargetPath: "/s", VolumeContext: good, Secrets: secret},
		"block device":     {VolumeId: "v", StagingTargetPath: "/s", VolumeCapability: block, VolumeContext: good, Secrets: secret},
		"no type":          {VolumeId: "v", StagingTargetPath: "/s", VolumeCapability: capability(), Secrets: secret},
		"no password":      {VolumeId: "v", StagingTargetPath: "/s", VolumeCapability: capability(), VolumeContext: good, Secrets: map[string]string{"username": "u"}},
		"password option":  {VolumeId: "v", StagingTargetPath: "/s", VolumeCapability: capability("password=hunter2"), VolumeContext: good, Secrets: secret},
		"two options":      {VolumeId: "v", StagingTargetPath: "/s", VolumeCapability: capability("uid=0\nx"), VolumeContext: good, Secrets: secret},
	} {
		if _, err := node.NodeStageVolume(t.Context(), r); status.Code(err) != codes.InvalidArgument || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(m.mounted) > 0 {
		t.Errorf("mounted: %v", m.mounted)
	}
}

func TestOneCallForAVolumeAtOnce(t *testing.T) {
	m := &fakeMounter{mounted: map[string]string{}, wait: make(chan struct{}), begun: make(chan struct{})}
	conn, _ := serve(t, volume.CSIDriver, m, slog.New(slog.DiscardHandler))
	node := csi.NewNodeClient(conn)
	request := &csi.NodeStageVolumeRequest{VolumeId: "v", StagingTargetPath: "/s", VolumeCapability: capability(), VolumeContext: map[string]string{"type": "nfs", "server": "h", "path": "/data"}}
	first := make(chan error, 1)
	go func() {
		_, err := node.NodeStageVolume(context.Background(), request)
		first <- err
	}()
	<-m.begun
	if _, err := node.NodeStageVolume(t.Context(), request); status.Code(err) != codes.Aborted {
		t.Errorf("the second call: %v", err)
	}
	close(m.wait)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestRegistration(t *testing.T) {
	m := &fakeMounter{mounted: map[string]string{}}
	_, o := serve(t, volume.AzureFileDriver, m, slog.New(slog.DiscardHandler))
	if name := ask(t.Context(), o.registrySocket()); name != volume.AzureFileDriver {
		t.Errorf("the kubelet is told %q", name)
	}
	if others, err := Others(t.Context(), o.Registry); err != nil || len(others) > 0 {
		t.Errorf("our own driver counts as another's: %v, %v", others, err)
	}
	// Somebody else's: the same, at a name of its own.
	if err := os.Rename(o.registrySocket(), filepath.Join(o.Registry, "official-reg.sock")); err != nil {
		t.Fatal(err)
	}
	if others, err := Others(t.Context(), o.Registry); err != nil || len(others) != 1 || others[0] != volume.AzureFileDriver {
		t.Errorf("another's driver: %v, %v", others, err)
	}
	if others, err := Others(t.Context(), filepath.Join(o.Registry, "nowhere")); err != nil || others != nil {
		t.Errorf("no registry: %v, %v", others, err)
	}
	if coded(errors.New("x")) == nil {
		t.Error("an error went away")
	}
}

// TestAnnounce: another's socket is put into the registry once more, and goes on answering.
func TestAnnounce(t *testing.T) {
	o := Options{Name: "file.csi.azure.com", Plugins: t.TempDir(), Registry: t.TempDir()}
	stop, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	// Somebody else's sockets have other names.
	if err := os.Rename(o.registrySocket(), filepath.Join(o.Registry, "file.csi.azure.com-reg.sock")); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(o.Registry, "file.csi.azure.com-reg.sock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file.csi.azure.com", "nobody.csi"} {
		if err := Announce(t.Context(), o.Registry, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	after, err := os.Stat(filepath.Join(o.Registry, "file.csi.azure.com-reg.sock"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("%v, %v", after, err)
	}
	if names, err := Others(t.Context(), o.Registry); err != nil || !slices.Contains(names, "file.csi.azure.com") {
		t.Errorf("it answers no more: %v, %v", names, err)
	}
}
