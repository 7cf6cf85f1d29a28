package csi

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/pai-storage/pai-storage/internal/kubetest"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/volume"
)

// sanityRing is csi-sanity, the test of the specification's authors, against the drivers with real mounts.
const sanityRing = "csi-sanity"

// inside marks the process that has a mount namespace of its own.
const inside = "PAI_TEST_CSI_SANITY"

// left are the tests of csi-sanity that cannot apply, by how their names begin, and why. That a test is left out and stands here not, or
// stands here and is run, are faults.
var left = map[string]string{
	"Node Service NodePublishVolume with single node multi writer": "SINGLE_NODE_MULTI_WRITER says that the driver keeps a volume to one pod of a node, by access mode; storages are for many",
	"Node Service NodeExpandVolume":                                "NFS, SMB and object stores have the size that their server gives them",
	"Node Service NodeGetVolumeHealth":                             "alpha; that a volume cannot be used is in the readiness matrix",
	"Node Service NodeGetStorageHealth":                            "alpha; that a storage cannot be used is in the readiness matrix",
}

// TestSanity: every test of the identity and node services applies or is in the list above. Volumes come from a controller that this test
// has: the driver has none, so the tests of the controller service, of snapshots and of groups have nothing to test.
func TestSanity(t *testing.T) {
	if os.Geteuid() != 0 {
		kubetest.Skip(t, sanityRing, "it mounts, and needs root for that")
	}
	if os.Getenv(inside) == "" {
		again(t)
		return
	}
	for _, name := range []string{volume.CSIDriver, volume.AzureFileDriver} {
		t.Run(name, func(t *testing.T) { sanity(t, name, os.Getenv(inside)) })
	}
}

// again runs this test in a mount namespace of its own, after it has built csi-sanity.
func again(t *testing.T) {
	program := filepath.Join(t.TempDir(), "csi-sanity")
	build := exec.Command("go", "build", "-o", program, "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity")
	build.Dir = "../../hack/tools"
	if out, err := build.CombinedOutput(); err != nil {
		kubetest.Skip(t, sanityRing, "csi-sanity cannot be built: "+strings.TrimSpace(string(out)))
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestSanity$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+program)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // nothing of it is seen outside
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
}

func sanity(t *testing.T, name, program string) {
	dir := t.TempDir()
	var m inMemory
	o := Options{Name: name, Version: "1", Node: "worker1", Mounter: &m, Log: slog.New(slog.DiscardHandler)}
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, withController{&identity{options: o}})
	csi.RegisterNodeServer(server, &node{options: o, busy: map[string]bool{}})
	csi.RegisterControllerServer(server, &controller{driver: name, made: map[string]*csi.Volume{}})
	socket := filepath.Join(dir, "csi.sock")
	if err := listen(server, socket); err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	secrets, report := filepath.Join(dir, "secrets.yaml"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(secrets, []byte("NodeStageVolumeSecret:\n  azurestorageaccountname: account\n  azurestorageaccountkey: a2V5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "-csi.endpoint", "unix://"+socket, "-csi.mountdir", filepath.Join(dir, "target"), "-csi.stagingdir", filepath.Join(dir, "staging"),
		"-csi.secrets", secrets, "-ginkgo.focus", "Identity Service|Node Service", "-ginkgo.json-report", report).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if m.mounts.Load() == 0 {
		t.Error("nothing was mounted")
	}
	judge(t, report)
	if table, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(table), dir) {
		t.Errorf("%v; still mounted:\n%s", err, table)
	}
}

// judge compares what was left out with what may be.
func judge(t *testing.T, report string) {
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(text, &suites); err != nil || len(suites) != 1 {
		t.Fatalf("%d suites, %v", len(suites), err)
	}
	ran, used := 0, map[string]bool{}
	for _, s := range suites[0].SpecReports {
		test := strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " ")
		if s.LeafNodeType != "It" || !strings.Contains(test, "Identity Service") && !strings.Contains(test, "Node Service") {
			continue
		}
		reason := ""
		for begin := range left {
			if strings.Contains(test, begin) {
				reason, used[begin] = begin, true
			}
		}
		switch {
		case s.State == "passed" && reason == "":
			ran++
		case s.State == "skipped" && reason != "":
		default:
			t.Errorf("%s: %s %s (in the list of those that cannot apply: %t)", test, s.State, s.Failure.Message, reason != "")
		}
	}
	if len(used) != len(left) {
		t.Errorf("of %d reasons for leaving tests out only %d are needed: %v", len(left), len(used), used)
	}
	t.Logf("%d tests passed", ran)
	if ran < 20 {
		t.Errorf("%d tests ran", ran)
	}
}

// inMemory mounts memory where the engine would mount what is on a server. All the rest is the engine's.
type inMemory struct {
	mount.Engine
	mounts atomic.Int64
}

func (m *inMemory) Mount(ctx context.Context, target string, _ mount.Volume, _ mount.Secret) error {
	if mounted, err := m.Mounted(ctx, target); err != nil || mounted {
		return err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return err
	}
	m.mounts.Add(1)
	return unix.Mount("memory", target, "tmpfs", 0, "size=1m")
}
