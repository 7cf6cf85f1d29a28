package system

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
)

// deadServer takes the NFS server away from under running jobs. Everything that people ask answers, other jobs go on, and when the server
// is back the job goes on, too, as if nothing had been.
func (f *faultLab) deadServer(t *testing.T) {
	f.declare(t, claim{name: "d-data", source: nfs("/data"), options: version41})
	f.bound(t, "d-data")
	f.on(t, "worker1", "rm -f /share/data/count /share/data/enough")
	t.Cleanup(func() { f.kubectl(t, "uncordon", "worker1") })
	f.kubectl(t, "cordon", "worker1").mustSucceed(t, "cordon")
	f.begin(t, "writer", task{storages: []string{"d-data"}, // until it is told to end
		command: "n=0; until [ -e /mnt/d-data/enough ]; do n=$((n+1)); echo $n >> /mnt/d-data/count || exit 9; sleep 0.1; done; echo $n lines"})
	t.Cleanup(func() { f.kubectl(t, "delete", "pod", "bystander", "--wait=false") })
	f.apply(t, bystander) // beside the writer: a worker has room for one job
	f.kubectl(t, "uncordon", "worker1").mustSucceed(t, "uncordon")
	f.begin(t, "victim", task{storages: []string{"d-data"}, command: "while :; do date > /mnt/d-data/victim; sleep 0.2; done"})
	f.becomes(t, "writer", "RUNNING")
	f.becomes(t, "victim", "RUNNING")
	f.ready(t, "bystander")
	f.undo(t, "worker1", allowNFS)
	f.on(t, "worker1", dropNFS)
	before := len(f.kubectl(t, "logs", "bystander").out)

	for _, question := range [][]string{{"job", "show", "writer"}, {"job", "list"}, {"job", "events", "writer"}, {"job", "explain", "writer"}, {"storage", "list"},
		{"job", "stop", "victim"}, {"job", "show", "victim"}, {"job", "explain", "victim"}, {"job", "delete", "--yes", "victim"}} {
		began := time.Now()
		f.paictl(t, question...).mustSucceed(t, strings.Join(question, " "))
		t.Logf("%5.2f s  paictl %s", time.Since(began).Seconds(), strings.Join(question, " "))
	}
	var e explanation
	await.Until(t, "the job that hangs says so", func() bool { // what a server said counts for five seconds
		e = f.explain(t, "writer")
		return len(e.Findings) > 0 && e.Findings[0].Code == "STO-301" && e.Findings[0].Object == "server 10.0.0.1"
	})
	t.Log(e.Findings[0].Line)
	f.paictl(t, "job", "show", "victim").mustRefuse(t, "the deleted job", 4, "not found")
	await.Until(t, "the pod without storages goes on", func() bool { return len(f.kubectl(t, "logs", "bystander").out) > before })

	f.on(t, "worker1", allowNFS)
	count := func() int {
		n, _ := strconv.Atoi(strings.TrimSpace(f.on(t, "worker1", "wc -l < /share/data/count")))
		return n
	}
	old := count()
	await.Until(t, "the job writes again", func() bool { return count() > old+5 })
	f.on(t, "worker1", "touch /share/data/enough")
	f.becomes(t, "writer", "SUCCEEDED")
	if said := f.paictl(t, "job", "logs", "writer").out; said != fmt.Sprintf("%d lines\n", count()) {
		t.Errorf("the job says that it wrote %q, and there are %d", said, count())
	}
}

// bystander is a pod that mounts nothing, and takes no room.
const bystander = `apiVersion: v1
kind: Pod
metadata: {name: bystander}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: pai.local/busybox:1
    command: [sh, -c, "while :; do date; sleep 0.5; done"]
`

// begin submits a job that is deleted at the end.
func (f *faultLab) begin(t *testing.T, name string, x task) {
	t.Helper()
	t.Cleanup(func() { f.paictl(t, "job", "delete", "--yes", name) })
	f.paictl(t, "job", "submit", writeFile(t, name+".yaml", x.document(name))).mustSucceed(t, "submit "+name)
}

// becomes waits until a job is in a state.
func (f *faultLab) becomes(t *testing.T, job, state string) {
	t.Helper()
	await.Until(t, job+" is "+state, func() bool {
		e := f.explain(t, job)
		if e.State != state && e.State == "FAILED" {
			t.Fatalf("%s is %s, want %s: %+v", job, e.State, state, e.Findings)
		}
		return e.State == state
	})
}

// manyJobs runs jobs of three users on two workers, three storages each: every file is where it belongs, and nobody sees another's folder.
func (f *faultLab) manyJobs(t *testing.T) {
	f.declare(t, claim{name: "m-shared", source: nfs("/data"), options: version41})
	f.declare(t, claim{name: "m-home", source: nfs("/users"), options: version41, labels: `share: "false"`})
	f.declare(t, claim{name: "m-read", source: strings.Replace(nfs("/data"), "}", ", readOnly: true}", 1), options: version41})
	for _, s := range []string{"m-shared", "m-home", "m-read"} {
		f.bound(t, s)
	}
	f.on(t, "worker1", "cd /share/data && rm -rf m && mkdir -m 777 m && ln -s ../users/u2 m/link-to-u2 && ln -s /proc/1/root m/link-to-root && rm -rf /share/users/u?")
	users := []string{"u1", "u2", "u3"}
	for _, u := range users {
		f.asAdmin(t, "user", "create", u, "--password-file", writeFile(t, "p", "secret of "+u+"\n")).mustSucceed(t, "user create")
		t.Cleanup(func() { f.asAdmin(t, "user", "delete", "--yes", u) })
		f.signIn(t, u, "secret of "+u)
	}
	each := 3
	if soak() {
		each = 10
	}
	var wait sync.WaitGroup
	for _, u := range users {
		for n := range each {
			wait.Add(1)
			go func() {
				defer wait.Done()
				name := fmt.Sprintf("many-%d", n)
				x := task{storages: []string{"m-shared", "m-home", "m-read"}, command: tricks(n)}
				r := f.paictl(t, "--user", u, "job", "submit", "--wait", writeFile(t, name+".yaml", x.document(name)))
				said := f.paictl(t, "--user", u, "job", "logs", name).out
				if r.code != 0 || !strings.Contains(said, "END") || strings.Contains(said, "BREACH") {
					t.Errorf("%s~%s: %d %s%s\n%s", u, name, r.code, r.out, r.err, said)
				}
				f.paictl(t, "--user", u, "job", "delete", "--yes", name)
			}()
		}
	}
	wait.Wait()
	for _, u := range users {
		for n := range each {
			got := f.on(t, "worker1", fmt.Sprintf("cat /share/data/m/%[1]s-%[2]d /share/users/%[1]s/note-%[2]d", u, n))
			if want := fmt.Sprintf("%[1]s %[2]d\n%[1]s %[2]d\n", u, n); got != want {
				t.Errorf("files of %s, job %d: %q, want %q", u, n, got, want)
			}
		}
		listed := strings.Fields(f.on(t, "worker1", "ls /share/users/"+u))
		if len(listed) != each+2 { // and the two links
			t.Errorf("the folder of %s has %v", u, listed)
		}
	}
	f.refusedTricks(t)
	f.signIn(t, "alice", alicePassword)
}

// tricks writes where it may, and tries to get where it may not. A way in says BREACH.
func tricks(n int) string {
	return strings.Join([]string{
		fmt.Sprintf(`echo "$PAI_USER_NAME %[1]d" > /mnt/m-shared/m/$PAI_USER_NAME-%[1]d || exit 1`, n),
		fmt.Sprintf(`echo "$PAI_USER_NAME %[1]d" > /mnt/m-home/note-%[1]d || exit 1`, n),
		`touch /mnt/m-read/m/written 2>/dev/null && echo BREACH: wrote to a read-only storage`,
		`for u in u1 u2 u3; do [ $u = $PAI_USER_NAME ] && continue; for p in /mnt/m-home/../$u /mnt/m-home/$u /mnt/$u /mnt/m-home/../../$u /mnt/m-shared/../users/$u /mnt/m-shared/users/$u; do`,
		`[ -e $p ] && echo BREACH: sees $p; cat $p/note-0 2>/dev/null && echo BREACH: reads $p; done; done`,
		`cat /mnt/m-shared/m/link-to-u2/note-0 2>/dev/null && echo BREACH: a link out of the shared storage`,
		`ls /mnt/m-shared/m/link-to-root/share 2>/dev/null && echo BREACH: a link to the worker`,
		`ln -sfn .. /mnt/m-home/up; ls /mnt/m-home/up | grep -q '^u[123]$' && echo BREACH: a link up`,
		`ln -sfn ../u2 /mnt/m-home/side; [ $PAI_USER_NAME = u2 ] || { cat /mnt/m-home/side/note-0 2>/dev/null && echo BREACH: a link to the side; }`,
		`mount -t nfs 10.0.0.1:/users /mnt 2>/dev/null && echo BREACH: mounts the export itself`,
		`mount --bind /mnt/m-home/.. /mnt 2>/dev/null && echo BREACH: mounts`,
		`echo END`,
	}, "\n")
}

// refusedTricks are jobs and names that never get in, by name.
func (f *faultLab) refusedTricks(t *testing.T) {
	for name, c := range map[string]struct{ storages, want string }{
		"mount path climbs":               {"{name: m-home, mountPath: /mnt/../etc}", "must not contain '..'"},
		"mount path over the system":      {"{name: m-home, mountPath: /etc/passwd}", "system path /etc"},
		"mount path over everything":      {"{name: m-home, mountPath: /}", "hide the container's own system"},
		"mount path is relative":          {"{name: m-home, mountPath: data}", "must be absolute"},
		"mount path with an option":       {"{name: m-home, mountPath: '/data:rw'}", "must not be longer"},
		"mount path inside another's":     {"{name: m-home, mountPath: /x}, {name: m-shared, mountPath: /x/y}", "clash"},
		"one storage twice":               {"{name: m-home, mountPath: /x}, {name: m-home, mountPath: /y}", "mounted twice"},
		"storage name climbs":             {"{name: ../m-home}", "cannot be the name of a storage"},
		"storage name with a folder":      {"{name: m-home/u2}", "cannot be the name of a storage"},
		"sub path of one's own":           {"{name: m-home, subPath: ../u2}", "unknown key"},
		"read-only storage to be written": {"{name: m-read, readOnly: false}", "unknown key"},
	} {
		document := task{}.document("trick") + "extras: {storages: [" + c.storages + "]}\n"
		r := f.paictl(t, "--user", "u1", "job", "submit", writeFile(t, "trick.yaml", document))
		if r.code == 0 || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: %d %s, want %q", name, r.code, r.err, c.want)
		}
	}
	for _, name := range []string{"..", ".", "u1/../u2", "u1/x", "u1\x00"} {
		if r := f.asAdmin(t, "user", "create", strings.ReplaceAll(name, "\x00", "%00"), "--password-file", writeFile(t, "p", "secret secret\n")); r.code == 0 {
			t.Errorf("a user is called %q", name)
		}
	}
}

// submittedEarly: what a volume says counts, also for a job that was there before the volume was.
func (f *faultLab) submittedEarly(t *testing.T) {
	f.declare(t, claim{name: "e-read"})
	f.begin(t, "early", task{storages: []string{"e-read"}, command: "touch /mnt/e-read/early 2>&1 && echo BREACH: wrote to a read-only storage; ls /mnt/e-read && echo END"})
	await.Until(t, "the job waits for a volume", func() bool {
		e := f.explain(t, "early")
		return e.State == "WAITING" && len(e.Findings) > 0 && e.Findings[0].Code == "STO-103"
	})
	f.apply(t, fmt.Sprintf(`apiVersion: v1
kind: PersistentVolume
metadata: {name: e-read-pv, labels: {storage: e-read}}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], persistentVolumeReclaimPolicy: Retain, mountOptions: [%s], %s}
`, version41, strings.Replace(nfs("/data"), "}", ", readOnly: true}", 1)))
	f.becomes(t, "early", "SUCCEEDED")
	if said := f.paictl(t, "job", "logs", "early").out; !strings.Contains(said, "Read-only file system") || !strings.Contains(said, "END") {
		t.Errorf("the job says %q", said)
	}
}

// revocation: the administrator is told which jobs still mount what is taken away, and can stop them; new ones are refused at once.
func (f *faultLab) revocation(t *testing.T) {
	f.declare(t, claim{name: "r-data", source: nfs("/data"), options: version41})
	f.bound(t, "r-data")
	f.begin(t, "holder", task{storages: []string{"r-data"}})
	f.becomes(t, "holder", "RUNNING")
	var told struct{ Jobs []string }
	r := f.asAdmin(t, "storage", "revoke", "default", "r-data", "--output", "json")
	r.mustSucceed(t, "revoke")
	if err := json.Unmarshal([]byte(r.out), &told); err != nil || len(told.Jobs) != 1 || told.Jobs[0] != "alice~holder" {
		t.Errorf("%v: %s", err, r.out)
	}
	f.paictl(t, "job", "submit", writeFile(t, "late.yaml", task{storages: []string{"r-data"}}.document("late"))).mustRefuse(t, "a new job", 3, "not allowed to access r-data")
	r = f.asAdmin(t, "storage", "revoke", "default", "r-data", "--stop-jobs")
	r.mustSucceed(t, "revoke --stop-jobs")
	f.becomes(t, "holder", "STOPPED")
}
