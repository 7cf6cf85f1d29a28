package system

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
)

// cell is one storage on one worker, as the matrix has it.
type cell struct {
	Node    string
	Storage string
	State   string
	Finding *struct{ Code, Message, Fix, Object string }
	At      time.Time
}

// column is what the matrix says of a storage, by worker.
func (f *typeLab) column(t *testing.T, storage string) map[string]cell {
	t.Helper()
	r := f.asAdmin(t, "storage", "check", storage, "--output", "json")
	var health struct{ Cells []cell }
	if err := json.Unmarshal([]byte(r.out), &health); err != nil {
		t.Fatalf("storage check %s: %v: %s%s", storage, err, r.out, r.err)
	}
	out := map[string]cell{}
	for _, c := range health.Cells {
		out[c.Node] = c
	}
	return out
}

func (f *typeLab) cellBecomes(t *testing.T, storage, worker, state string) (cell, time.Duration) {
	t.Helper()
	began := time.Now()
	var last cell
	await.Until(t, fmt.Sprintf("%s on %s is %s", storage, worker, state), func() bool {
		last = f.column(t, storage)[worker]
		return last.State == state
	})
	return last, time.Since(began)
}

// matrixIsGreen: every storage that a group holds was really mounted by every worker that it is for, before any job needed it.
func (f *typeLab) matrixIsGreen(t *testing.T) {
	for _, k := range f.kinds {
		workers := []string{"worker1", "worker2"}
		if k.only != "" {
			workers = []string{k.only}
		}
		column := f.column(t, "x-"+k.name)
		if len(column) != len(workers) {
			t.Errorf("%s has cells %v, want %v", k.name, column, workers)
		}
		for _, w := range workers {
			f.cellBecomes(t, "x-"+k.name, w, "ok")
		}
	}
	for _, command := range [][]string{{"node", "list"}, {"node", "check"}, {"storage", "check", "x-nfs"}} {
		r := f.asAdmin(t, command...)
		t.Logf("$ paictl %s\n%s", strings.Join(command, " "), r.out)
	}
	f.paictl(t, "--user", "alice", "node", "check").mustRefuse(t, "a user and the whole matrix", 3)
	f.paictl(t, "--user", "alice", "storage", "check", "x-nfs").mustSucceed(t, "a user and a storage of the user's")
}

// agentPIDs are the agent's processes on a worker.
func (f *typeLab) agentPID(t *testing.T, worker string) string {
	t.Helper()
	return strings.TrimSpace(f.on(t, worker, "pidof node-agent; true"))
}

// writing starts a pod that appends a numbered line a tenth of a second to a file of its own, each in a file of its own for object stores.
func (f *typeLab) writing(t *testing.T, name, worker, storage string) {
	t.Helper()
	t.Cleanup(func() { f.kubectl(t, "delete", "pod", name, "--ignore-not-found", "--wait=false") })
	f.apply(t, mounting(name, worker, storage, "mkdir -p /data/"+name+"; n=0; while :; do n=$((n+1)); if dd if=/dev/urandom of=/data/"+name+"/$n bs=16k count=4 2>/dev/null; then echo wrote $n $(sha256sum < /data/"+name+"/$n | cut -c1-16); else echo FAILED $n; sleep 1; fi; sleep 0.3; done"))
	f.ready(t, name)
}

// wrote is how many files a writing pod has written, and how often it could not.
func (f *typeLab) wrote(t *testing.T, name string) (written, failed int) {
	t.Helper()
	said := f.kubectl(t, "logs", name).out
	return strings.Count(said, "wrote "), strings.Count(said, "FAILED ")
}

// agentKilled: mounts outlive the agent, and what comes after it finds them.
func (f *typeLab) agentKilled(t *testing.T) {
	kinds := []string{"blob-csi", "s3", "smb-csi", "nfs"}
	for _, k := range kinds {
		f.writing(t, "agent-"+k, "worker1", "x-"+k)
	}
	before := map[string]int{}
	for _, k := range kinds {
		before[k], _ = f.wrote(t, "agent-"+k)
	}
	old := f.agentPID(t, "worker1")
	f.on(t, "worker1", "kill -9 "+old)
	await.Until(t, "the agent is back", func() bool { pid := f.agentPID(t, "worker1"); return pid != "" && pid != old })
	for _, k := range kinds {
		await.Until(t, k+" goes on", func() bool { n, _ := f.wrote(t, "agent-"+k); return n > before[k]+10 })
		if _, failed := f.wrote(t, "agent-"+k); failed > 0 {
			t.Errorf("%s: %d writes failed when the agent was killed", k, failed)
		}
	}
	pods := []string{"agent-blob-csi", "agent-s3", "agent-smb-csi", "agent-nfs"}
	f.kubectl(t, append([]string{"delete", "pod", "--wait=true"}, pods...)...).mustSucceed(t, "pods end after the agent was killed")
	f.nothingMounted(t, "worker1")
}

// serverProcessKilled: the process of one mount dies under load. The others go on, the broken one is explained, no uploaded byte is lost, and what
// was not uploaded is said.
func (f *typeLab) serverProcessKilled(t *testing.T) {
	f.writing(t, "victim", "worker1", "x-blob-csi")
	f.writing(t, "bystander", "worker1", "x-s3")
	await.Until(t, "the victim writes", func() bool { n, _ := f.wrote(t, "victim"); return n > 20 })
	pid := strings.TrimSpace(f.on(t, "worker1", `for p in $(pidof object-mount); do grep -lq csi.pai.storage /proc/$p/mountinfo; done; pai=/var/lib/pai-storage/bin/pai-mount; $pai list --output json`))
	var served []struct {
		Target string
		PID    int
		Volume struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(pid), &served); err != nil {
		t.Fatalf("%v: %s", err, pid)
	}
	index := slices.IndexFunc(served, func(s struct {
		Target string
		PID    int
		Volume struct{ Kind string }
	}) bool {
		return s.Volume.Kind == "azureBlob"
	})
	if index < 0 {
		t.Fatalf("no mount of Azure Blob: %s", pid)
	}
	before, _ := f.wrote(t, "bystander")
	f.on(t, "worker1", "kill -9 "+strconv.Itoa(served[index].PID))
	await.Until(t, "the bystander goes on", func() bool { n, failed := f.wrote(t, "bystander"); return n > before+10 && failed == 0 })
	await.Until(t, "the victim fails", func() bool { _, failed := f.wrote(t, "victim"); return failed > 0 })
	await.Until(t, "the broken mount is explained", func() bool {
		out := f.asAdmin(t, "node", "check", "worker1").out
		return strings.Contains(out, "STO-314")
	})
	t.Log(f.asAdmin(t, "node", "check", "worker1").out)
	said := f.kubectl(t, "logs", "victim").out
	f.kubectl(t, "delete", "pod", "victim", "bystander", "--wait=true").mustSucceed(t, "delete pods")
	// What the store has is whole; what it lacks is on the worker's disk still, and is said.
	f.apply(t, mounting("after", "worker2", "x-blob-csi", "cd /data/victim; for n in $(ls); do echo $n $(sha256sum < $n | cut -c1-16); done"))
	there := map[string]string{}
	for line := range strings.Lines(f.end(t, []string{"after"})["after"]) {
		if fields := strings.Fields(line); len(fields) == 2 {
			there[fields[0]] = fields[1]
		}
	}
	written, missing := 0, 0
	for line := range strings.Lines(said) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "wrote" {
			continue
		}
		written++
		switch sum, ok := there[fields[1]]; {
		case !ok:
			missing++
		case sum != fields[2]:
			t.Errorf("file %s is %s on the store, and %s was written", fields[1], sum, fields[2])
		}
	}
	lost := f.on(t, "worker1", "/var/lib/pai-storage/bin/pai-mount list --output json")
	t.Logf("%d files written, %d not uploaded when the process was killed; the worker says:\n%s", written, missing, lost)
	var left []struct{ Pending int }
	if err := json.Unmarshal([]byte(lost), &left); err != nil {
		t.Fatalf("%v: %s", err, lost)
	}
	pending := 0
	for _, l := range left {
		pending += l.Pending
	}
	if missing > pending {
		t.Errorf("%d files are missing, and the worker says %d", missing, pending)
	}
	f.on(t, "worker1", "rm -rf /var/lib/pai-storage/lost/*")
}

// helperRemoved: a worker without mount.nfs is red within a minute and gets no such jobs; with no worker left, a job says so at once.
func (f *typeLab) helperRemoved(t *testing.T) {
	remove, restore := "mv /sbin/mount.nfs /sbin/mount.nfs.removed", "test ! -e /sbin/mount.nfs.removed || mv /sbin/mount.nfs.removed /sbin/mount.nfs"
	f.undo(t, "worker2", restore)
	f.on(t, "worker2", remove)
	red, took := f.cellBecomes(t, "x-nfs", "worker2", "failed")
	if red.Finding == nil || red.Finding.Code != "STO-201" {
		t.Errorf("it is said: %+v", red.Finding)
	}
	t.Logf("red %.1f s after the removal: %+v", took.Seconds(), red.Finding)
	f.promised(t, "until a worker without mount.nfs is red", took, time.Minute)
	if f.column(t, "x-nfs")["worker1"].State != "ok" {
		t.Error("the other worker is red, too")
	}
	await.Until(t, "worker2 says so in its labels", func() bool {
		return f.kubectl(t, "get", "node", "worker2", "-o", `jsonpath={.metadata.labels.pai\.storage/can-mount-nfs}`).out == "false"
	})
	for i := range 2 {
		name := fmt.Sprintf("elsewhere-%d", i)
		f.begin(t, name, task{storages: []string{"x-nfs"}, command: "ls /mnt/x-nfs >/dev/null && sleep 600"})
		f.becomes(t, name, "RUNNING")
		if node := f.kubectl(t, "get", "pods", "-l", "batch.kubernetes.io/job-name="+f.jobOf(t, name), "-o", "jsonpath={.items[*].spec.nodeName}").out; node != "worker1" {
			t.Errorf("%s is on %q", name, node)
		}
		f.paictl(t, "job", "stop", name).mustSucceed(t, "stop")
		f.becomes(t, name, "STOPPED")
	}
	f.undo(t, "worker1", restore)
	f.on(t, "worker1", remove)
	await.Until(t, "worker1 says so in its labels", func() bool {
		return f.kubectl(t, "get", "node", "worker1", "-o", `jsonpath={.metadata.labels.pai\.storage/can-mount-nfs}`).out == "false"
	})
	f.begin(t, "nowhere", task{storages: []string{"x-nfs"}})
	var e explanation
	await.Until(t, "the job says so", func() bool {
		e = f.explain(t, "nowhere")
		return len(e.Findings) > 0 && e.Findings[0].Code == "STO-206"
	})
	t.Logf("%s\nevidence: %s", e.Findings[0].Line, e.Findings[0].Evidence)
	f.on(t, "worker2", restore)
	_, took = f.cellBecomes(t, "x-nfs", "worker2", "ok")
	t.Logf("green %.1f s after the return", took.Seconds())
	f.promised(t, "until a worker with mount.nfs again is green", took, time.Minute)
	f.becomes(t, "nowhere", "RUNNING")
	f.prepared(t, "worker1", restore)
}

// prepared has a worker given what it lacks. The laboratory has no packages to fetch: in apt-get's place is a program that brings mount.nfs.
func (f *typeLab) prepared(t *testing.T, worker, restore string) {
	const standIn = "/run/apt-get"
	f.undo(t, worker, "umount /usr/bin/apt-get; rm -f "+standIn)
	f.on(t, worker, fmt.Sprintf(`cat > %[2]s <<'END'
#!/bin/sh
echo apt-get "$@"
case "$*" in *install*nfs-common*) %[1]s;; esac
END
chmod 755 %[2]s; mount --bind %[2]s /usr/bin/apt-get`, restore, standIn))
	admin := func(args ...string) result {
		return run(t, append(f.env, "KUBECONFIG="+f.last.Kubeconfig), filepath.Join(root(t), "bin", "paictl"), append([]string{"node", "prepare", worker}, args...)...)
	}
	said := admin()
	said.mustSucceed(t, "node prepare")
	if !strings.Contains(said.out, "apt-get") || !strings.Contains(said.out, "nfs-common") || f.column(t, "x-nfs")[worker].State == "ok" {
		t.Errorf("without --apply it says, and changes nothing: %s", said.out)
	}
	done := admin("--apply", "--yes")
	done.mustSucceed(t, "node prepare --apply")
	if !strings.Contains(done.out+done.err, "apt-get") {
		t.Errorf("nobody sees what runs: %s%s", done.out, done.err)
	}
	t.Logf("$ paictl node prepare %s\n%s\n$ paictl node prepare %[1]s --apply --yes\n%[3]s%[4]s", worker, said.out, done.err, done.out)
	f.cellBecomes(t, "x-nfs", worker, "ok")
	if left := f.kubectl(t, "get", "pods", "-n", "pai-system", "-l", "app.kubernetes.io/name=node-prepare", "-o", "name").out; left != "" {
		t.Errorf("left behind: %s", left)
	}
	f.paictl(t, "--user", "alice", "node", "check", worker).mustRefuse(t, "a user", 3)
}

// hungServer drops all packets to the NFS server for a while: the agent stays as it is, and the other storages are checked as before.
func (f *typeLab) hungServer(t *testing.T) {
	f.undo(t, "worker1", allowNFS)
	f.on(t, "worker1", dropNFS)
	// The check of a new storage finds out, and the others of its server are looked at then.
	f.declare(t, claim{name: "x-hung", source: nfs("/data"), options: version41})
	f.cellBecomes(t, "x-nfs", "worker2", "failed")
	resident := func() (memory, threads, mounts, processes int) {
		out := f.on(t, "worker2", `p=$(pidof node-agent); awk '/VmRSS/ {r=$2} /Threads/ {t=$2} END {print r, t}' /proc/$p/status; wc -l < /proc/mounts; pgrep -c pai-mount; true`)
		n, _ := fmt.Sscan(out, &memory, &threads, &mounts, &processes)
		if n != 4 {
			t.Fatalf("the agent: %q", out)
		}
		return
	}
	for range 3 { // what the first rounds cost
		time.Sleep(10 * time.Second)
	}
	m0, t0, n0, p0 := resident()
	length := time.Minute
	if soak() {
		length = 10 * time.Minute
	}
	time.Sleep(length)
	m1, t1, n1, p1 := resident()
	t.Logf("the agent before and after %s: %d and %d KiB, %d and %d threads, %d and %d mounts, %d and %d processes of checks", length, m0, m1, t0, t1, n0, n1, p0, p1)
	if m1 > m0*3/2 || t1 > t0+6 || n1 > n0 || p1 > p0+1 {
		t.Error("the agent grows while a server hangs")
	}
	// A storage that is declared now is checked now.
	k := f.kinds[slices.IndexFunc(f.kinds, func(k storageKind) bool { return k.name == "smb-csi" })]
	f.declare(t, k.claim("x-late", "x-smb-csi", false, ""))
	f.cellBecomes(t, "x-late", "worker2", "ok")
	f.on(t, "worker1", allowNFS)
	_, took := f.cellBecomes(t, "x-nfs", "worker2", "ok")
	t.Logf("green %.1f s after the server's return", took.Seconds())
}

// deadServers: each job that needs one says so.
func (f *typeLab) deadServers(t *testing.T) {
	for _, stop := range f.stop {
		stop()
	}
	t.Cleanup(func() { f.typed(t, "service", "start", "-n", "storage-manager") })
	kinds := slices.DeleteFunc(slices.Clone(f.kinds), func(k storageKind) bool { return k.server == "" })
	for pair := range slices.Chunk(kinds, 2) { // a worker has a processor for one more job
		var jobs []string
		want := map[string]string{}
		for _, k := range pair {
			name := "dead-" + k.name
			f.begin(t, name, task{storages: []string{"x-" + k.name}})
			jobs = append(jobs, name)
			want[name] = "STO-302 STO-301"
		}
		f.told(t, jobs, want)
		for _, name := range jobs {
			f.paictl(t, "job", "stop", name).mustSucceed(t, "stop")
			f.becomes(t, name, "STOPPED")
		}
	}
	// Checks of storages that are well are minutes apart. That of a new one finds out at once, and the others of its server are looked at then.
	f.declare(t, claim{name: "x-dead", source: nfs("/data"), options: version41})
	for _, name := range []string{"nfs", "smb-flex", "smb-csi"} {
		c, took := f.cellBecomes(t, "x-"+name, "worker1", "failed")
		t.Logf("%s, %.1f s later: %+v", name, took.Seconds(), c.Finding)
	}
}
