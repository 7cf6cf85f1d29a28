package system

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWaitingJobsExplainThemselves causes every fault of the catalogue that can be caused here, and looks at what the user is told.
func TestWaitingJobsExplainThemselves(t *testing.T) {
	need(t)
	c := laboratory(t)
	f := &faultLab{cluster: c}
	c.paictl(t, "user", "create", "alice", "--password-file", writeFile(t, "alice.password", alicePassword+"\n"))
	c.signIn(t, "alice", alicePassword)
	t.Run("storage manager", func(t *testing.T) { f.storageManager(t) })
	for _, group := range []struct {
		name   string
		setup  func(*testing.T, *faultLab)
		faults []fault
	}{
		{"claims", nil, claimFaults()}, {"workers", nil, workerFaults()}, {"exports", nil, exportFaults()}, {"folders", folderExports, folderFaults()},
		{"samba", func(t *testing.T, f *faultLab) { f.sambaWorks(t) }, sambaFaults()}, {"tasks", nil, taskFaults()}, {"servers", nil, serverFaults()},
	} {
		t.Run(group.name, func(t *testing.T) {
			if group.setup != nil {
				group.setup(t, f)
			}
			if group.name == "folders" {
				t.Run("personal folders", func(t *testing.T) { f.personalFolders(t) })
			}
			for _, fault := range group.faults {
				t.Run(fault.name, func(t *testing.T) { f.show(t, fault) })
			}
		})
	}
	f.report(t)
	t.Run("start times", func(t *testing.T) { f.startTimes(t, map[bool]int{false: 1, true: 8}[soak()]) })
	t.Run("server dies under running jobs", func(t *testing.T) { f.deadServer(t) })
	t.Run("many jobs of many users", func(t *testing.T) { f.manyJobs(t) })
	t.Run("grants that change later", func(t *testing.T) { f.revocation(t) })
}

const alicePassword = "alice-in-wonderland"

// fault is something that keeps a job from running.
type fault struct {
	name   string
	cause  func(t *testing.T, f *faultLab) // undone by t.Cleanup
	job    task
	after  func(t *testing.T, f *faultLab, job string) // once the job is submitted
	code   string
	object string // the thing at fault, as the user is told it
	slow   string // why it may take 45 seconds; "" for 15
}

// task is a job of one task.
type task struct {
	storages []string
	image    string
	cpu, gpu int
	memory   int
	command  string
	retries  int
}

// faultLab makes faults, and keeps how long it took until they were explained.
type faultLab struct {
	*cluster
	rows      []string
	jobs      int
	stopSamba func()
}

type explanation struct {
	State    string
	Findings []struct{ Code, Object, Message, Fix, Line, Evidence string }
}

// show causes a fault, submits a job, and asks until the expected code, with the right thing at fault, comes first.
func (f *faultLab) show(t *testing.T, x fault) {
	if x.cause != nil {
		x.cause(t, f)
	}
	f.jobs++
	job := fmt.Sprintf("fault-%d", f.jobs)
	began := time.Now()
	f.paictl(t, "job", "submit", writeFile(t, job+".yaml", x.job.document(job))).mustSucceed(t, "submit")
	t.Cleanup(func() { f.paictl(t, "job", "delete", "--yes", job) })
	if x.after != nil {
		x.after(t, f, job)
	}
	limit := 15 * time.Second
	if x.slow != "" {
		limit = 45 * time.Second
	}
	var last explanation
	for {
		last = f.explain(t, job)
		if len(last.Findings) > 0 && last.Findings[0].Code == x.code && last.Findings[0].Object == x.object {
			break
		}
		if time.Since(began) > 3*limit {
			break
		}
		time.Sleep(300 * time.Millisecond)
	}
	took := time.Since(began)
	if len(last.Findings) == 0 {
		t.Fatalf("nothing is said about a job that is %s, want %s about %s", last.State, x.code, x.object)
	}
	first := last.Findings[0]
	if first.Code != x.code || first.Object != x.object {
		t.Fatalf("the user is told %q about %s, want %s about %s; evidence: %s", first.Line, first.Object, x.code, x.object, first.Evidence)
	}
	eventually(t, limit, "the list says "+x.code, func() bool { return strings.Contains(f.paictl(t, "job", "list", "--keyword", job).out, x.code) })
	late := ""
	if took > limit {
		late = fmt.Sprintf("  LATER THAN %s", limit)
	}
	f.rows = append(f.rows, fmt.Sprintf("%-8s %5.1f s  %-46s %s%s", x.code, took.Seconds(), x.name, first.Line, late))
}

func (f *faultLab) explain(t *testing.T, job string) explanation {
	t.Helper()
	var e explanation
	r := f.paictl(t, "job", "explain", job, "--output", "json")
	r.mustSucceed(t, "explain")
	if err := json.Unmarshal([]byte(r.out), &e); err != nil {
		t.Fatalf("%v: %s", err, r.out)
	}
	return e
}

// report shows what users were told, and after how long.
func (f *faultLab) report(t *testing.T) {
	slices.Sort(f.rows)
	t.Logf("%d faults:\n%s", len(f.rows), strings.Join(f.rows, "\n"))
}

func (x task) document(name string) string {
	image, command := x.image, x.command
	if image == "" {
		image = "pai.local/busybox:1"
	}
	if command == "" {
		command = "sleep 600"
	}
	var storages []string
	for _, s := range x.storages {
		storages = append(storages, "{name: "+s+"}")
	}
	extras := ""
	if len(storages) > 0 {
		extras = "extras: {storages: [" + strings.Join(storages, ", ") + "]}\n"
	}
	return fmt.Sprintf(`protocolVersion: 2
name: %s
type: job
prerequisites: [{name: image, type: dockerimage, uri: %q}]
taskRoles:
  w:
    dockerImage: image
    taskRetryCount: %d
    resourcePerInstance: {cpu: %d, memoryMB: %d, gpu: %d}
    commands: [%q]
%s`, name, image, x.retries, max(x.cpu, 1), max(x.memory, 32), x.gpu, command, extras)
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
