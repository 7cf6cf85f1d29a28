package doctor_test

import (
	"strings"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
)

// equipped is a worker that lacks nothing.
func equipped() doctor.Equipment {
	return doctor.Equipment{Helpers: map[string]bool{"mount.nfs": true}, Modules: map[string]string{"nfs": "loaded", "cifs": "loadable"}, FUSE: true,
		Flex: []string{"microsoft.com/smb", "azure/blobfuse"}, CSI: []string{"csi.pai.storage", "file.csi.azure.com"}}
}

func TestLacks(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*doctor.Equipment)
		codes  string
		says   string
	}{
		{"nothing", func(*doctor.Equipment) {}, "", ""},
		{"mount.nfs", func(e *doctor.Equipment) { e.Helpers = nil }, "STO-201", "node worker1 cannot mount nfs storages: mount.nfs is missing"},
		{"mount.nfs, which a driver brings", func(e *doctor.Equipment) { e.Helpers, e.CSI = nil, []string{"nfs.csi.k8s.io"} }, "STO-201", "nfs storages but those of nfs.csi.k8s.io"},
		{"nfs", func(e *doctor.Equipment) { e.Modules["nfs"] = "absent" }, "STO-207", "its kernel has no nfs"},
		{"cifs", func(e *doctor.Equipment) { e.Modules["cifs"] = "absent" }, "STO-207", "samba and azureFile"},
		{"FUSE", func(e *doctor.Equipment) { e.FUSE = false }, "STO-210", "azureBlob and s3"},
		{"everything", func(e *doctor.Equipment) {
			*e = doctor.Equipment{Modules: map[string]string{"nfs": "absent", "cifs": "absent"}}
		}, "STO-201 STO-207 STO-207 STO-210", ""},
	} {
		has := equipped()
		c.change(&has)
		var codes, lines []string
		for _, f := range doctor.Lacks("worker1", has) {
			codes, lines = append(codes, f.Code), append(lines, f.Line())
			if f.Object != "node worker1" || f.Fix == "" {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if strings.Join(codes, " ") != c.codes || !strings.Contains(strings.Join(lines, "\n"), c.says) {
			t.Errorf("%s: got %q", c.name, lines)
		}
	}
}

// TestNobodyMounts: where no worker can mount a storage, the job says what each of them lacks, and what brings it.
func TestNobodyMounts(t *testing.T) {
	s3 := doctor.Storage{Name: "models", Type: pai.StorageS3}
	file := doctor.Storage{Name: "shares", Type: pai.StorageAzureFile}
	for _, c := range []struct {
		name     string
		storages []doctor.Storage
		change   func(*doctor.Equipment)
		says     string
	}{
		{"nfs", []doctor.Storage{nfs}, func(e *doctor.Equipment) { e.Helpers = nil }, `worker1 cannot mount nfs storage "data" (mount.nfs is missing); worker2`},
		{"nfs, kernel", []doctor.Storage{nfs}, func(e *doctor.Equipment) { e.Modules["nfs"] = "absent" }, "(its kernel has no nfs)"},
		{"smb and file", []doctor.Storage{smb, file}, func(e *doctor.Equipment) { e.Modules["cifs"] = "absent" }, "(its kernel has no cifs);"},
		{"smb, driver", []doctor.Storage{smb}, func(e *doctor.Equipment) { e.Flex, e.CSI = nil, nil }, "(the CSI driver csi.pai.storage is not registered)"},
		{"file, driver", []doctor.Storage{file}, func(e *doctor.Equipment) { e.CSI = e.CSI[:1] }, "(the CSI driver file.csi.azure.com is not registered)"},
		{"blob and s3", []doctor.Storage{blob, s3}, func(e *doctor.Equipment) { e.FUSE = false }, "(it has no FUSE);"},
		{"nothing that its agent knows", []doctor.Storage{nfs}, func(*doctor.Equipment) {}, `worker1 cannot mount nfs storage "data"; worker2`},
	} {
		f := waiting(1, c.storages...)
		f.Tasks[0].Node = ""
		for i := range f.Nodes {
			has := equipped()
			c.change(&has)
			f.Nodes[i].Has, f.Nodes[i].CannotMount = &has, map[pai.StorageType]bool{}
			for _, s := range c.storages {
				f.Nodes[i].CannotMount[s.Type] = true
			}
		}
		found := doctor.Diagnose(f)
		if len(found) != 1 || found[0].Code != "STO-206" || !strings.Contains(found[0].Message, c.says) || !strings.HasSuffix(found[0].Fix, "paictl node prepare worker1") {
			t.Errorf("%s: got %+v", c.name, found)
		}
	}
}

// TestChecksOfWorkers: what a worker's agent found says something about tasks there, after what the kubelet itself says.
func TestChecksOfWorkers(t *testing.T) {
	yes := true
	denied := doctor.Check{Message: "mount.nfs: access denied by server while mounting", At: now.Add(-time.Minute)}
	dead := doctor.Check{Dead: true, Pending: 2, Files: []string{"a", "b"}, At: now}
	with := func(node string, x doctor.Check, change func(*doctor.Facts)) doctor.Facts {
		s := nfs
		if x.Dead {
			s = blob
			s.CSI = false
		}
		s.Checks = map[string]doctor.Check{node: x}
		f := waiting(3, s)
		change(&f)
		return f
	}
	waits := func(*doctor.Facts) {}
	busy := func(f *doctor.Facts) {
		f.Tasks[0].Node, f.Tasks[0].Sandbox, f.Tasks[0].Unschedulable = "", nil, "0/2 nodes are available: 2 Insufficient cpu."
	}
	runs := func(f *doctor.Facts) { f.Job.State, f.Tasks[0].State = pai.JobRunning, pai.JobRunning }
	for _, c := range []struct {
		name         string
		facts        doctor.Facts
		code, object string
	}{
		{"another worker's", with("worker1", denied, waits), "JOB-403", ""},
		{"waits", with("worker2", denied, waits), "STO-306", "storage data"},
		{"everything is mounted", with("worker2", denied, func(f *doctor.Facts) { f.Tasks[0].Sandbox = &yes }), "JOB-403", ""},
		{"the kubelet knows better", with("worker2", denied, func(f *doctor.Facts) {
			f.Tasks[0].Events = []doctor.Event{{Reason: "FailedMount", Message: `MountVolume.SetUp failed for volume "data-pv" : mount.nfs: Stale file handle`, Last: now}}
		}), "STO-309", ""},
		{"runs with what was mounted before", with("worker2", denied, runs), "", ""},
		{"its mount is broken", with("worker2", dead, runs), "STO-314", "node worker2"},
		{"a mount is broken elsewhere", with("worker1", dead, runs), "", ""},
		{"no worker is free, and one cannot", with("worker1", denied, busy), "JOB-201", "task role w"},
		{"no worker is free, and none could", with("worker1", denied, func(f *doctor.Facts) {
			busy(f)
			f.Storages[0].Checks["worker2"] = denied
		}), "STO-306", "storage data"},
		{"no worker is free, and the only one that is there could not", with("worker1", denied, func(f *doctor.Facts) {
			busy(f)
			f.Nodes[1].Ready = false
		}), "STO-306", "storage data"},
	} {
		t.Run(c.name, func(t *testing.T) { wantFirst(t, c.facts, c.code, c.object) })
	}
	found := doctor.Diagnose(with("worker2", denied, waits))
	if found[0].Evidence != denied.Message || !found[0].Since.Equal(denied.At) || len(found[0].Tasks) != 1 {
		t.Errorf("got %+v", found[0])
	}
	for pending, want := range map[int]string{0: "is gone", 1: "; 1 file was not uploaded", 2: "; 2 files were not uploaded"} {
		dead.Pending = pending
		if found := doctor.Diagnose(with("worker2", dead, runs)); len(found) != 1 || !strings.HasSuffix(found[0].Message, want) {
			t.Errorf("%d: got %+v", pending, found)
		}
	}
}

func TestSilentAgents(t *testing.T) {
	never, late := doctor.Silent("worker1", time.Time{}), doctor.Silent("worker1", now)
	if never.Code != "STO-211" || !strings.HasSuffix(never.Message, "never said anything") || !strings.Contains(late.Message, "2026-01-01T12:00:00Z") || !late.Since.Equal(now) {
		t.Errorf("got %+v, %+v", never, late)
	}
}

// TestCells: what is said about a cell quotes no credential.
func TestCells(t *testing.T) {
	f := doctor.Cell(smb, "worker2", " mount -o password=CANARY: Permission denied\n", now)
	if f.Code != "STO-308" || strings.Contains(f.Evidence, "CANARY") || !f.Since.Equal(now) {
		t.Errorf("got %+v", f)
	}
}

// TestVolumesWithoutSecret: what a volume names no Secret for cannot be put into one.
func TestVolumesWithoutSecret(t *testing.T) {
	without := smb
	without.Secret = ""
	if f := doctor.Cell(without, "worker2", "the Secret lacks the key username", now); f.Code != "STO-501" || f.Object != "volume "+smb.Volume {
		t.Errorf("got %+v", f)
	}
}
