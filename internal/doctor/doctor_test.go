package doctor_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/taskinit"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

// TestPage: the page of the documentation is that of the catalogue.
func TestPage(t *testing.T) {
	const file = "../../docs/errors.md"
	if *update {
		if err := os.WriteFile(file, []byte(doctor.Page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != doctor.Page() {
		t.Errorf("%s is not what the catalogue says: go test ./internal/doctor -update", file)
	}
}

func TestCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range doctor.Catalogue() {
		if seen[e.Code] || !regexp.MustCompile(`^(STO|JOB)-[0-9]{3}$`).MatchString(e.Code) {
			t.Errorf("code %q", e.Code)
		}
		seen[e.Code] = true
		if e.Title == "" || e.Cause == "" || e.Fix == "" || e.Who == "" {
			t.Errorf("%s lacks something: %+v", e.Code, e)
		}
		if !strings.Contains(doctor.Page(), "| "+e.Code+" |") {
			t.Errorf("%s is on no part of the page", e.Code)
		}
	}
	if len(seen) < 60 {
		t.Errorf("%d entries", len(seen))
	}
}

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// waiting is a job of one task that mounts the given storages on worker2, and that was bound so many seconds ago.
func waiting(seconds int, storages ...doctor.Storage) doctor.Facts {
	bound := now.Add(-time.Duration(seconds) * time.Second)
	no := false
	return doctor.Facts{
		Now:      now,
		Job:      doctor.Job{ID: pai.JobID{User: "alice", Name: "train"}, State: pai.JobWaiting, Submitted: bound},
		Roles:    []doctor.Role{{Name: "w", Resources: pai.Quantity{CPU: 1, MemoryMB: 64}}},
		Tasks:    []doctor.Task{{Name: "w[0]", Role: "w", State: pai.JobWaiting, Image: "busybox", Node: "worker2", Created: bound, Bound: bound, Sandbox: &no}},
		Storages: storages,
		Nodes: []doctor.Node{{Name: "worker1", Ready: true, Capacity: pai.Quantity{CPU: 2, MemoryMB: 2000}},
			{Name: "worker2", Ready: true, Capacity: pai.Quantity{CPU: 2, MemoryMB: 2000}, DriversSaid: true, Drivers: []string{"there.csi"}}},
	}
}

var (
	nfs  = doctor.Storage{Name: "data", Type: pai.StorageNFS, Volume: "data-pv", Server: "10.0.0.1", Export: "/data", Address: "10.0.0.1:2049"}
	blob = doctor.Storage{Name: "blob", Type: pai.StorageAzureBlob, Volume: "blob-pv", Server: "acme", Export: "images", Driver: "azure/blobfuse", Secret: "default/blob"}
	smb  = doctor.Storage{Name: "media", Type: pai.StorageSamba, Volume: "media-pv", Server: "10.0.0.1", Export: "media", Driver: "microsoft.com/smb", Secret: "default/smb"}
)

// TestWorkersWords: what workers say about mounting, word for word as kubelets, mount.nfs and mount.cifs say it.
func TestWorkersWords(t *testing.T) {
	const setUp = `MountVolume.SetUp failed for volume "VOLUME" : mount failed: exit status 32` + "\nMounting command: mount\nOutput: "
	const flex = `MountVolume.SetUp failed for volume "VOLUME" : mount command failed, status: Failure, reason: `
	for _, c := range []struct {
		name    string
		storage doctor.Storage
		message string
		code    string
		object  string
	}{
		{"export", nfs, setUp + "mount.nfs: mounting 10.0.0.1:/data failed, reason given by server: No such file or directory", "STO-305", "storage data"},
		{"option", nfs, setUp + "mount.nfs: an incorrect mount option was specified", "STO-311", "volume data-pv"},
		{"version", nfs, setUp + "mount.nfs: requested NFS version or transport protocol is not supported", "STO-310", "volume data-pv"},
		{"statd", nfs, setUp + "mount.nfs: rpc.statd is not running but is required for remote locking.\nmount.nfs: Either use '-o nolock' to keep locks local, or start statd.", "STO-310", "volume data-pv"},
		{"helper", nfs, setUp + "mount: /x: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.", "STO-201", "node worker2"},
		{"denied", nfs, setUp + "mount.nfs: access denied by server while mounting 10.0.0.1:/data", "STO-306", "storage data"},
		{"not permitted", nfs, setUp + "mount.nfs: Operation not permitted", "STO-306", "storage data"},
		{"refused", nfs, setUp + "mount.nfs: Connection refused", "STO-302", "server 10.0.0.1"},
		{"timed out", nfs, setUp + "mount.nfs: Connection timed out", "STO-301", "server 10.0.0.1"},
		{"no route", nfs, setUp + "mount.nfs: No route to host", "STO-303", "server 10.0.0.1"},
		{"no name", nfs, setUp + "mount.nfs: Failed to resolve server nas: Name or service not known", "STO-304", "server 10.0.0.1"},
		{"stale", nfs, setUp + "mount.nfs: Stale file handle", "STO-309", "node worker2"},
		{"module", nfs, setUp + "mount.nfs: No such device", "STO-207", "node worker2"},
		{"other", nfs, setUp + "mount.nfs: the moon is full", "STO-999", "storage data"},
		{"smb password", smb, flex + "mount error(13): Permission denied", "STO-308", "secret default/smb"},
		{"key of an object store", blob, flex + "mount images: authentication failed: http://10.0.0.9:10000/acme does not accept the key for container images", "STO-308", "secret default/blob"},
		{"no such container", blob, flex + "mount images: container images does not exist at http://10.0.0.9:10000/acme", "STO-307", "storage blob"},
		{"store refuses", blob, flex + "mount images: http://10.0.0.9:10000/acme: Connection refused", "STO-302", "server acme"},
		{"smb share", smb, flex + "mount error(2): No such file or directory", "STO-307", "storage media"},
		{"smb refused", smb, flex + "mount error(111): could not connect to 10.0.0.1", "STO-302", "server 10.0.0.1"},
		{"smb down", smb, flex + "mount error(112): Host is down", "STO-301", "server 10.0.0.1"},
		{"smb helper", smb, flex + "mount: /x: cannot mount //10.0.0.1/media read-only; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.", "STO-202", "node worker2"},
		{"smb key", smb, flex + "the Secret lacks the key password", "STO-502", "secret default/smb"},
		{"s3 key", doctor.Storage{Name: "m", Type: pai.StorageS3, Volume: "m-pv", Driver: "there.csi", CSI: true, Secret: "default/m"},
			`MountVolume.MountDevice failed for volume "VOLUME" : rpc error: code = InvalidArgument desc = the Secret lacks the key secretkey`, "STO-502", "secret default/m"},
		{"smb secret", smb, `MountVolume.SetUp failed for volume "VOLUME" : Couldn't get secret default/smb err: secrets "smb" not found`, "STO-501", "secret default/smb"},
		{"smb secret's type", smb, `MountVolume.SetUp failed for volume "VOLUME" : couldn't get secret default/smb err: cannot get secret of type microsoft.com/smb`, "STO-503", "secret default/smb"},
		{"flex driver", smb, `Unable to attach or mount volumes: unmounted volumes=[storage-0], unattached volumes=[], failed to process volumes=[storage-0]: failed to get Plugin from volumeSpec for volume "VOLUME" err=no volume plugin matched`, "STO-204", "node worker2"},
		{"csi driver", doctor.Storage{Name: "x", Volume: "x-pv", Driver: "there.csi", CSI: true}, `MountVolume.MountDevice failed for volume "VOLUME" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name there.csi not found in the list of registered CSI drivers`, "STO-205", "node worker2"},
		{"hostPath", doctor.Storage{Name: "h", Type: pai.StorageHostPath, Volume: "h-pv", Export: "/x", HostLocal: true}, `MountVolume.SetUp failed for volume "VOLUME" : hostPath type check failed: /x is not a directory`, "STO-407", "node worker2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := waiting(1, c.storage)
			message := strings.ReplaceAll(c.message, "VOLUME", c.storage.Volume)
			f.Tasks[0].Events = []doctor.Event{{Reason: "Scheduled", Last: now.Add(-time.Second)}, {Reason: "FailedMount", Message: message, Last: now}}
			wantFirst(t, f, c.code, c.object)
			if found := doctor.Diagnose(f); found[0].Evidence != message || len(found[0].Tasks) != 1 {
				t.Errorf("evidence %q, tasks %v", found[0].Evidence, found[0].Tasks)
			}
		})
	}
}

// TestMissingDrivers: the fix says who serves the driver, or how to do without it.
func TestMissingDrivers(t *testing.T) {
	for driver, want := range map[string]string{
		"csi.pai.storage":    "the node agent brings it: paictl service start -n node-agent; where that runs, see why not on worker2: paictl service logs -n node-agent",
		"file.csi.azure.com": "the node agent serves it where Azure's own driver is not: paictl service start -n node-agent; or install the CSI driver file.csi.azure.com",
		"nfs.csi.k8s.io":     "install the CSI driver nfs.csi.k8s.io, or declare the storage anew: paictl storage remove c; paictl storage add c nfs://SERVER/PATH, which needs no driver",
		"smb.csi.k8s.io":     "install the CSI driver smb.csi.k8s.io, or declare the storage anew: paictl storage remove c; paictl storage add c smb://HOST/SHARE, which the node agent's driver mounts",
		"blob.csi.azure.com": "install the CSI driver blob.csi.azure.com, or declare the storage anew: paictl storage remove c; paictl storage add c azblob://ACCOUNT/CONTAINER, which the node agent's driver mounts",
		"nowhere.csi":        "install the driver nowhere.csi, or see why it does not run there: kubectl get csinode worker2",
	} {
		found := doctor.Diagnose(waiting(1, doctor.Storage{Name: "c", Driver: driver, CSI: true}))
		if len(found) == 0 || found[0].Code != "STO-205" || found[0].Fix != want || !strings.Contains(found[0].Message, driver) {
			t.Errorf("%s: got %+v", driver, found)
		}
	}
	known := doctor.Storage{Name: "c", Driver: "nfs.csi.k8s.io", CSI: true, Server: "10.0.0.1", Export: "/data"}
	if found := doctor.Diagnose(waiting(1, known)); len(found) == 0 || !strings.Contains(found[0].Fix, "paictl storage add c nfs://10.0.0.1/data,") {
		t.Errorf("a known server: got %+v", found)
	}
	for driver, want := range map[string]string{
		"microsoft.com/smb": "the node agent brings it: paictl service start -n node-agent",
		"azure/blobfuse":    "the node agent brings it: paictl service start -n node-agent",
		"x/y":               "install the driver on worker2 in the kubelet's plugin directory",
	} {
		f := waiting(1, doctor.Storage{Name: "c", Volume: "c-pv", Driver: driver})
		f.Tasks[0].Events = []doctor.Event{{Reason: "FailedMount", Message: `failed to get Plugin from volumeSpec for volume "c-pv" err=no volume plugin matched`, Last: now}}
		found := doctor.Diagnose(f)
		if len(found) == 0 || found[0].Code != "STO-204" || !strings.HasPrefix(found[0].Fix, want) || !strings.Contains(found[0].Message, driver) {
			t.Errorf("%s: got %+v", driver, found)
		}
	}
}

func wantFirst(t *testing.T, f doctor.Facts, code, object string) {
	t.Helper()
	found := doctor.Diagnose(f)
	switch {
	case len(found) == 0 && code != "":
		t.Fatalf("nothing is found, want %s", code)
	case len(found) > 0 && (found[0].Code != code || (object != "" && found[0].Object != object)):
		t.Errorf("got %s about %s: %s, want %s about %s", found[0].Code, found[0].Object, found[0].Message, code, object)
	}
}

func TestOnItsWay(t *testing.T) {
	probe := func(r doctor.ProbeResult) doctor.Storage {
		s := nfs
		s.Probe = &doctor.Probe{Result: r, Detail: "said so", At: now}
		return s
	}
	bare := func(change func(*doctor.Facts)) doctor.Facts {
		f := waiting(1, nfs)
		change(&f)
		return f
	}
	unplaced := func(says string, change func(*doctor.Facts)) doctor.Facts {
		return bare(func(f *doctor.Facts) {
			f.Tasks[0].Node, f.Tasks[0].Unschedulable = "", says
			if change != nil {
				change(f)
			}
		})
	}
	ended := func(name, reason, message string, code int) doctor.Container {
		return doctor.Container{Name: name, Ended: &doctor.Ended{Reason: reason, Message: message, Code: code, At: now}}
	}
	folder := func(reason string) doctor.Facts {
		return bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].State = pai.JobFailed, pai.JobFailed
			f.Tasks[0].Init = []doctor.Container{{Name: "identity"}, ended("folders", "Error", taskinit.Failure{Storage: "data", User: "alice", Reason: reason, Detail: "d"}.Message(), 1)}
		})
	}
	waits := func(reason, message string) doctor.Facts {
		return bare(func(f *doctor.Facts) {
			f.Tasks[0].Main = doctor.Container{Name: "task", Waiting: doctor.Waiting{Reason: reason, Message: message}}
		})
	}
	cannot := func(f *doctor.Facts) {
		for i := range f.Nodes {
			f.Nodes[i].CannotMount = map[pai.StorageType]bool{pai.StorageNFS: true}
		}
	}
	csi := doctor.Storage{Name: "c", Driver: "nowhere.csi", CSI: true}
	for _, c := range []struct {
		name         string
		facts        doctor.Facts
		code, object string
	}{
		{"silence, for a moment", waiting(2, nfs), "JOB-403", "node worker2"},
		{"silence, and the server refuses", waiting(20, probe(doctor.ProbeRefused)), "STO-302", "server 10.0.0.1"},
		{"silence, and the server does not answer", waiting(20, probe(doctor.ProbeTimeout)), "STO-301", "server 10.0.0.1"},
		{"silence, and the server says nothing", waiting(20, probe(doctor.ProbeSilent)), "STO-301", "server 10.0.0.1"},
		{"silence, and nobody has the address", waiting(20, probe(doctor.ProbeUnreachable)), "STO-303", "server 10.0.0.1"},
		{"silence, and nobody knows the name", waiting(20, probe(doctor.ProbeNoName)), "STO-304", "server 10.0.0.1"},
		{"silence, and the server speaks another version", waiting(20, probe(doctor.ProbeVersion)), "STO-310", "volume data-pv"},
		{"silence, and the server is well", waiting(20, probe(doctor.ProbeOK)), "JOB-403", "node worker2"},
		{"CSI driver that is not there", waiting(1, csi), "STO-205", "node worker2"},
		{"CSI driver, worker has not said", bare(func(f *doctor.Facts) { f.Storages, f.Nodes[1].DriversSaid = []doctor.Storage{csi}, false }), "JOB-403", ""},
		{"worker is not ready", bare(func(f *doctor.Facts) { f.Nodes[1].Ready = false }), "JOB-401", "node worker2"},
		{"worker is gone", bare(func(f *doctor.Facts) { f.Nodes = f.Nodes[:1] }), "JOB-401", "node worker2"},
		{"pulling", bare(func(f *doctor.Facts) { f.Tasks[0].Events = []doctor.Event{{Reason: "Pulling"}} }), "JOB-305", "image busybox"},

		{"busy", unplaced("0/2 nodes are available: 2 Insufficient cpu. preemption: none.", nil), "JOB-201", "task role w"},
		{"too large", unplaced("0/2 nodes are available: 2 Insufficient cpu.", func(f *doctor.Facts) { f.Roles[0].Resources.CPU = 64 }), "JOB-202", "task role w"},
		{"no GPU", unplaced("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.", func(f *doctor.Facts) { f.Roles[0].Resources.GPU = 1 }), "JOB-202", "task role w"},
		{"cordoned", unplaced("0/2 nodes are available: 2 node(s) were unschedulable.", func(f *doctor.Facts) { f.Nodes[0].Cordoned, f.Nodes[1].Cordoned = true, true }), "JOB-203", "nodes"},
		{"taints", unplaced("0/2 nodes are available: 2 node(s) had untolerated taint(s).", nil), "JOB-203", "nodes"},
		{"none ready", unplaced("0/2 nodes are available", func(f *doctor.Facts) { f.Nodes[0].Ready, f.Nodes[1].Ready = false, false }), "JOB-204", "nodes"},
		{"something else", unplaced("0/2 nodes are available: 2 are pink.", nil), "JOB-207", "nodes"},
		{"nobody can mount", unplaced("", cannot), "STO-206", `nfs storage "data"`},
		{"affinity", unplaced("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.", nil), "STO-206", `nfs storage "data"`},
		{"local volume", unplaced("0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.", func(f *doctor.Facts) { f.Storages[0].HostLocal = true }), "STO-208", ""},
		{"claim is gone", unplaced(`persistentvolumeclaim "data" not found`, nil), "STO-101", "storage data"},
		{"unbound", unplaced("pod has unbound immediate PersistentVolumeClaims", nil), "STO-112", "storages"},
		{"unbound for long", unplaced("pod has unbound immediate PersistentVolumeClaims", func(f *doctor.Facts) { f.Tasks[0].Created = now.Add(-2 * time.Minute) }), "STO-117", "storages"},
		{"binds with the first job", unplaced("2 Insufficient cpu", func(f *doctor.Facts) { f.Storages[0].Claim = doctor.ClaimFault{Kind: doctor.ClaimFirstJob, Text: "t"} }), "JOB-201", "task role w"},
		{"cannot be made with the first job", unplaced("2 Insufficient cpu", func(f *doctor.Facts) {
			f.Storages[0].Claim = doctor.ClaimFault{Kind: doctor.ClaimFirstJob, Text: "t"}
			f.Storages[0].Events = []doctor.Event{{Reason: "ProvisioningFailed", Message: "no disks left", Last: now}}
		}), "STO-113", "storage data"},
		{"claim fault comes first", unplaced("2 Insufficient cpu", func(f *doctor.Facts) { f.Storages[0].Claim = doctor.ClaimFault{Kind: doctor.ClaimSize, Text: "t"} }), "STO-104", "storage data"},
		{"nobody has looked", unplaced("", nil), "JOB-208", ""},
		{"no scheduler", unplaced("", func(f *doctor.Facts) { f.Tasks[0].Created = now.Add(-time.Minute) }), "JOB-209", ""},
		{"no task yet", bare(func(f *doctor.Facts) { f.Tasks = nil }), "JOB-208", "job alice~train"},
		{"nobody makes tasks", bare(func(f *doctor.Facts) { f.Tasks, f.Job.Submitted = nil, now.Add(-time.Minute) }), "JOB-209", "job alice~train"},
		{"quota", bare(func(f *doctor.Facts) {
			f.Tasks, f.Roles[0].Missing = nil, 1
			f.Roles[0].Events = []doctor.Event{{Reason: "FailedCreate", Message: `Error creating: pods "x" is forbidden: exceeded quota: tiny, requested: pods=1, used: pods=0, limited: pods=0`}}
		}), "JOB-205", "quota tiny"},
		{"refused", bare(func(f *doctor.Facts) {
			f.Tasks, f.Roles[0].Missing = nil, 1
			f.Roles[0].Events = []doctor.Event{{Reason: "FailedCreate", Message: `Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest"`}}
		}), "JOB-206", "task role w"},
		{"half made", bare(func(f *doctor.Facts) { f.Job.HalfMade = true }), "JOB-407", "job alice~train"},

		{"image not found", waits("ErrImagePull", `failed to pull and unpack image "r/x:1": r/x:1: not found`), "JOB-301", "image busybox"},
		{"registry away", waits("ErrImagePull", `failed to do request: Head "https://r.example/v2/x": dial tcp: lookup r.example: no such host`), "JOB-302", "image busybox"},
		{"image denied", waits("ErrImagePull", `pull access denied, repository needs authorization: 401 Unauthorized`), "JOB-303", "image busybox"},
		{"image name", waits("InvalidImageName", "couldn't parse image name"), "JOB-304", "image busybox"},
		{"no shell", waits("RunContainerError", `exec: "/bin/sh": stat /bin/sh: no such file or directory`), "JOB-402", "image busybox"},
		{"sub path", waits("CreateContainerConfigError", `failed to create subPath directory for volumeMount "storage-0" of container "task"`), "STO-401", "storage data"},
		{"sub path, a link", waits("CreateContainerConfigError", `failed to prepare subPath for volumeMount "storage-0" of container "task"`), "STO-408", "storage data"},
		{"job's own Secret", waits("CreateContainerConfigError", `secret "job-1" not found`), "JOB-411", "secret job-1"},

		{"folder: link", folder(taskinit.ReasonSymlink), "STO-403", "storage data"},
		{"folder: denied", folder(taskinit.ReasonDenied), "STO-402", "storage data"},
		{"folder: create", folder(taskinit.ReasonCreate), "STO-401", "storage data"},
		{"folder: case", folder(taskinit.ReasonCaseClash), "STO-404", "storage data"},
		{"folder: absent", folder(taskinit.ReasonAbsent), "STO-405", "storage data"},
		{"folder: read-only", folder(taskinit.ReasonReadOnly), "STO-406", "storage data"},
		{"folder: full", folder(taskinit.ReasonNoSpace), "STO-313", "storage data"},
		{"folder: stale", folder(taskinit.ReasonStale), "STO-309", "node worker2"},
		{"folder: io", folder(taskinit.ReasonIO), "STO-312", ""},

		{"out of memory", bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].State, f.Tasks[0].Main = pai.JobFailed, pai.JobFailed, ended("task", "OOMKilled", "", 137)
		}), "JOB-405", "task w[0]"},
		{"exit code", bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].State, f.Tasks[0].Main = pai.JobFailed, pai.JobFailed, ended("task", "Error", "", 3)
		}), "JOB-406", "task w[0]"},
		{"evicted", bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].State, f.Tasks[0].PodReason = pai.JobFailed, pai.JobFailed, "Evicted"
		}), "JOB-404", "node worker2"},
		{"running at a dead server", bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].State, f.Storages = pai.JobRunning, pai.JobRunning, []doctor.Storage{probe(doctor.ProbeTimeout)}
		}), "STO-301", "server 10.0.0.1"},
		{"running well", bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].State, f.Storages = pai.JobRunning, pai.JobRunning, []doctor.Storage{probe(doctor.ProbeOK)}
		}), "", ""},
		{"does not end", bare(func(f *doctor.Facts) { f.Job.State, f.Tasks[0].Deleting = pai.JobStopping, now.Add(-2*time.Minute) }), "JOB-408", "task w[0]"},
		{"ends", bare(func(f *doctor.Facts) { f.Job.State, f.Tasks[0].Deleting = pai.JobStopping, now.Add(-2*time.Second) }), "", ""},
		{"stops before it could start", bare(func(f *doctor.Facts) {
			f.Job.State, f.Tasks[0].Node, f.Tasks[0].Unschedulable = pai.JobStopping, "", "0/1 nodes are available: 1 Insufficient cpu."
		}), "", ""},
		{"stopped", bare(func(f *doctor.Facts) { f.Job.State = pai.JobStopped }), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) { wantFirst(t, c.facts, c.code, c.object) })
	}
}

func TestQuoteWithholdsCredentials(t *testing.T) {
	for _, text := range []string{
		"mount -t cifs -o username=u,password=CANARY //h/s", "Mounting arguments: -o user=x,pass=CANARY,vers=3.0", "https://a:CANARY@h/x", "https://h/x?sig=CANARY&se=1",
		"--accountkey=CANARY", `PASSWD=CANARY mount`,
	} {
		if got := doctor.Quote(text); strings.Contains(got, "CANARY") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
	if got := doctor.Quote(strings.Repeat("x", 5000)); len(got) > 1000 {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add("FailedMount", "for volume \"data-pv\" Connection refused", "2 Insufficient cpu", "ErrImagePull")
	f.Add("FailedMount", "unmounted volumes=[storage-99]", "", "CreateContainerConfigError")
	f.Fuzz(func(t *testing.T, reason, message, says, waiting1 string) {
		facts := waiting(30, nfs, smb)
		facts.Tasks[0].Events = []doctor.Event{{Reason: reason, Message: message}}
		facts.Tasks[0].Main.Waiting = doctor.Waiting{Reason: waiting1, Message: message}
		for _, node := range []string{"", "worker2"} {
			facts.Tasks[0].Node, facts.Tasks[0].Unschedulable = node, says
			found := doctor.Diagnose(facts)
			if len(found) == 0 {
				t.Error("a job waits, and nothing is said")
			}
			for _, x := range found {
				if x.Code == "" || x.Object == "" || x.Message == "" || len(x.Evidence) > 1000 {
					t.Errorf("%+v", x)
				}
			}
		}
	})
}

// TestHolders: who waits for a worker is told whose tasks hold it that cannot go on, one's own by name.
func TestHolders(t *testing.T) {
	hold := func(cpu int64, by ...doctor.Holder) doctor.Hold {
		return doctor.Hold{Quantity: pai.Quantity{CPU: cpu}, By: by}
	}
	own := doctor.Holder{Job: pai.JobID{User: "alice", Name: "stuck"}, Code: "STO-305"}
	bob, carol := doctor.Holder{Job: pai.JobID{User: "bob", Name: "a"}, Code: "STO-301"}, doctor.Holder{Job: pai.JobID{User: "carol", Name: "b"}, Code: "STO-305"}
	crowd := make([]doctor.Holder, 500)
	for i := range crowd {
		crowd[i] = doctor.Holder{Job: pai.JobID{User: "carol", Name: pai.JobName(fmt.Sprintf("job%03d", i))}, Code: "STO-305"}
	}
	for _, c := range []struct {
		name string
		held map[string]doctor.Hold
		want string // code, who, message
	}{
		{"nobody", nil, "JOB-201 time no worker has 1 CPU free now"},
		{"who holds a part", map[string]doctor.Hold{"worker1": hold(1, own)},
			"JOB-201 time no worker has 1 CPU free now; held by alice~stuck, itself waiting: STO-305"},
		{"all of one worker, and others hold the other", map[string]doctor.Hold{"worker1": hold(2, own)},
			"JOB-201 time no worker has 1 CPU free now; held by alice~stuck, itself waiting: STO-305"},
		{"all", map[string]doctor.Hold{"worker1": hold(2, own), "worker2": hold(2, own)},
			"JOB-210 user no worker has 1 CPU free now; held by alice~stuck, itself waiting: STO-305"},
		{"all, by others", map[string]doctor.Hold{"worker1": hold(2, bob), "worker2": hold(2, bob, carol)},
			"JOB-210 administrator no worker has 1 CPU free now; held by 2 jobs of others, themselves waiting: STO-301, STO-305"},
		{"all, by both", map[string]doctor.Hold{"worker1": hold(2, bob), "worker2": hold(2, own)},
			"JOB-210 user no worker has 1 CPU free now; held by alice~stuck, itself waiting: STO-305; 1 job of others, itself waiting: STO-301"},
		{"its own other tasks", map[string]doctor.Hold{"worker1": hold(2, doctor.Holder{Job: pai.JobID{User: "alice", Name: "train"}, Code: "STO-305", Quantity: pai.Quantity{CPU: 2}}),
			"worker2": hold(2, bob)}, "JOB-201 time no worker has 1 CPU free now; held by 1 job of others, itself waiting: STO-301"},
		{"many", map[string]doctor.Hold{"worker1": hold(2, crowd...), "worker2": hold(2, crowd...)},
			"JOB-210 administrator no worker has 1 CPU free now; held by many jobs of others, themselves waiting: STO-305"},
	} {
		t.Run(c.name, func(t *testing.T) {
			facts := waiting(30)
			facts.Tasks[0].Node, facts.Tasks[0].Unschedulable, facts.Held = "", "0/2 nodes are available: 2 Insufficient cpu.", c.held
			f := doctor.Diagnose(facts)
			if len(f) != 1 || f[0].Code+" "+string(f[0].Who)+" "+f[0].Message != c.want {
				t.Errorf("got %+v, want %s", f, c.want)
			}
			if by := f[0].HeldBy; len(c.held) > 0 && len(by) == 0 || len(by) > 20 || slices.Contains(by, facts.Job.ID) {
				t.Errorf("for administrators there are %v", by)
			}
		})
	}
}

// TestOwnFaultBeforeHolders: a job whose own storage no worker can use is told so first, whoever else holds the workers.
func TestOwnFaultBeforeHolders(t *testing.T) {
	check := doctor.Check{Message: "mount.nfs: access denied by server while mounting 10.0.0.1:/data", At: now}
	s := nfs
	s.Checks = map[string]doctor.Check{"worker1": check, "worker2": check}
	facts := waiting(30, s)
	facts.Tasks[0].Node, facts.Tasks[0].Unschedulable = "", "0/2 nodes are available: 2 Insufficient cpu."
	hold := doctor.Hold{Quantity: pai.Quantity{CPU: 2}, By: []doctor.Holder{{Job: pai.JobID{User: "bob", Name: "a"}, Code: "STO-305"}}}
	facts.Held = map[string]doctor.Hold{"worker1": hold, "worker2": hold}
	if f := doctor.Diagnose(facts); len(f) != 2 || f[0].Code != "STO-306" || f[1].Code != "JOB-210" {
		t.Errorf("got %+v", f)
	}
}

// TestSetAside: a job that gave its workers back says why it did, since when, and when it is tried again, and nothing else.
func TestSetAside(t *testing.T) {
	facts := waiting(30)
	facts.Tasks = nil
	facts.Job.Aside = &doctor.Aside{Since: now, Until: now.Add(15 * time.Minute),
		Finding: pai.Finding{Code: "STO-305", Object: "storage data", Message: "no such export", Fix: "make it", Who: pai.FixedByAdministrator}}
	f := doctor.Diagnose(facts)
	const want = "STO-305: no such export; the job gave its workers back at 12:00:00 UTC and is tried again by 12:15:00 UTC; make it"
	if len(f) != 1 || f[0].Line() != want || f[0].Who != pai.FixedByAdministrator {
		t.Errorf("got %+v, want %s", f, want)
	}
	// A mount that hangs in the kernel keeps its task, and its worker.
	hangs := waiting(30)
	hangs.Job.Aside = facts.Job.Aside
	hangs.Tasks[0].Deleting = now.Add(-10 * time.Minute)
	f = doctor.Diagnose(hangs)
	if len(f) != 2 || !strings.Contains(f[0].Message, "has not given all of its workers back, as it should since 12:00:00 UTC and is tried again by") || f[1].Code != "JOB-408" {
		t.Errorf("a task that does not end: %+v", f)
	}
}
