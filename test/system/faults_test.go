package system

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
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
			f.showAll(t, group.faults)
		})
	}
	f.report(t)
	if soak() {
		t.Run("start times", func(t *testing.T) { f.startTimes(t, 8) })
	}
	t.Run("server dies under running jobs", func(t *testing.T) { f.deadServer(t) })
	t.Run("many jobs of many users", func(t *testing.T) { f.manyJobs(t) })
	t.Run("submitted before its storage is bound", func(t *testing.T) { f.submittedEarly(t) })
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
	object string // the thing at fault, as the user is told it, or several, with " or " between them
	slow   string // why it may take 45 seconds; "" for 15
	alone  bool   // what it breaks is what others need
	idle   bool   // its task gets to no worker, so that it needs no place there
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
	stopSamba func()

	mu   sync.Mutex
	rows []string
	jobs int
}

// showAll shows the faults of a group, at once as far as they are not in each other's way: each of the two workers has room for one task. Those that
// break what others need come last.
func (f *faultLab) showAll(t *testing.T, faults []fault) {
	var idle, placed, alone []fault
	for _, x := range faults {
		switch {
		case x.alone:
			alone = append(alone, x)
		case x.idle:
			idle = append(idle, x)
		default:
			placed = append(placed, x)
		}
	}
	f.showTogether(t, idle)
	for pair := range slices.Chunk(placed, 2) {
		f.showTogether(t, pair)
	}
	for _, x := range alone {
		f.showTogether(t, []fault{x})
	}
}

func (f *faultLab) showTogether(t *testing.T, faults []fault) {
	var all sync.WaitGroup
	for _, x := range faults {
		all.Go(func() { t.Run(x.name, func(t *testing.T) { f.show(t, x) }) })
	}
	all.Wait()
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
	f.mu.Lock()
	f.jobs++
	job := fmt.Sprintf("fault-%d", f.jobs)
	f.mu.Unlock()
	began := time.Now()
	f.paictl(t, "job", "submit", writeFile(t, job+".yaml", x.job.document(job))).mustSucceed(t, "submit")
	t.Cleanup(func() { f.paictl(t, "job", "delete", "--yes", job) })
	if x.after != nil {
		x.after(t, f, job)
	}
	var last explanation
	defer func() {
		if t.Failed() {
			t.Logf("want %s about %s first; the user is told: %+v", x.code, x.object, last)
		}
	}()
	await.Until(t, "the user is told "+x.code+" about "+x.object, func() bool {
		last = f.explain(t, job)
		return len(last.Findings) > 0 && last.Findings[0].Code == x.code && slices.Contains(strings.Split(x.object, " or "), last.Findings[0].Object)
	})
	took := time.Since(began)
	await.Until(t, "the list says "+x.code, func() bool { return strings.Contains(f.paictl(t, "job", "list", "--keyword", job).out, x.code) })
	promised := 15 * time.Second
	if x.slow != "" {
		promised = 45 * time.Second
	}
	f.promised(t, "until "+x.name+" is explained", took, promised)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, fmt.Sprintf("%-8s %5.1f s  %-46s %s", x.code, took.Seconds(), x.name, last.Findings[0].Line))
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

// occupy has a task on each of the two workers, which have room for one.
func (f *faultLab) occupy(t *testing.T, prefix string, x task) (jobs []string) {
	t.Helper()
	for i := range 2 {
		name := fmt.Sprintf("%s-%d", prefix, i)
		t.Cleanup(func() { f.paictl(t, "job", "delete", "--yes", name) })
		f.paictl(t, "job", "submit", writeFile(t, name, x.document(name))).mustSucceed(t, "submit")
		jobs = append(jobs, name)
	}
	return jobs
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
