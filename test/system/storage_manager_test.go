package system

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/await"
)

// guide turns worker1 into the storage server as the guide has it, line by line; the edits are an administrator's.
func (c *cluster) guide(t testing.TB) {
	t.Helper()
	c.status(t)
	dir := filepath.Join(t.TempDir(), "cluster-configuration")
	c.typed(t, "config", "pull", "-o", dir).mustSucceed(t, "config pull")
	layout, services := filepath.Join(dir, "layout.yaml"), filepath.Join(dir, "services-configuration.yaml")
	edit(t, layout, regexp.MustCompile(`(?s)(hostname: worker1\n.*?    pai-worker: "true"\n)`), "$1    pai-storage: \"true\"  # this line is newly added\n")
	edit(t, services, regexp.MustCompile(`(?m)^# (storage-manager:)$`), "$1")
	edit(t, services, regexp.MustCompile(`(?m)^#   (localpath|smbuser|smbpwd):`), "  $1:")
	edit(t, services, regexp.MustCompile(`(?m)^#   (security-type|workgroup):`), "#  $1:")
	c.typed(t, "service", "stop", "-n", "cluster-configuration", "storage-manager").mustSucceed(t, "service stop")
	c.typed(t, "config", "push", "-p", dir, "-m", "service").mustSucceed(t, "config push")
	c.typed(t, "service", "start", "-n", "cluster-configuration", "storage-manager").mustSucceed(t, "service start")
}

// typed runs a command of the guide, which has the program's older name.
func (c *cluster) typed(t testing.TB, args ...string) result {
	t.Helper()
	return run(t, append(c.env, "KUBECONFIG="+c.last.Kubeconfig), filepath.Join(root(t), "bin", "paictl.py"), args...)
}

// edit replaces in a file, which must have what is replaced.
func edit(t testing.TB, file string, from *regexp.Regexp, to string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !from.Match(text) {
		t.Fatalf("%s lacks %s:\n%s", file, from, text)
	}
	if err := os.WriteFile(file, from.ReplaceAll(text, []byte(to)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// smbPassword is the one of the guide.
const smbPassword = "smbpwd"

// storageManager looks at the storage server as its clients see it.
func (f *faultLab) storageManager(t *testing.T) {
	t.Run("the guide's folders", func(t *testing.T) {
		if got := f.on(t, "worker1", "stat -c '%n %u:%g %a' /share/data /share/users"); got != "/share/data 1000:1000 775\n/share/users 1000:1000 771\n" {
			t.Errorf("they are\n%s", got)
		}
	})
	t.Run("the trail has what the administrator did", func(t *testing.T) {
		trail := f.asAdmin(t, "audit", "--kind", "service", "--name", "storage-manager", "--output", "json").mustSucceed(t, "audit")
		for _, want := range []string{`"user": "kubernetes:`, `"command": "start"`, `"command": "stop"`} {
			if !strings.Contains(trail.out, want) {
				t.Errorf("it lacks %s:\n%s", want, trail.out)
			}
		}
		trail = f.asAdmin(t, "audit", "--kind", "configuration", "--name", "services-configuration.yaml", "--output", "json").mustSucceed(t, "audit")
		if !strings.Contains(trail.out, "smbpwd: ******") || strings.Contains(trail.out, "smbpwd: "+smbPassword) {
			t.Errorf("the pushed passwords show as\n%s", trail.out)
		}
	})
	f.mountBoth(t)
	t.Run("what one writes another reads", func(t *testing.T) { f.acrossProtocols(t) })
	t.Run("what one changes another sees", func(t *testing.T) { f.coherence(t) })
	t.Run("everybody's own folder", func(t *testing.T) { f.ownFolders(t) })
	t.Run("refused", func(t *testing.T) { f.strangers(t) })
	t.Run("no password is to be seen", func(t *testing.T) { f.passwordsHidden(t) })
	t.Run("another configuration", func(t *testing.T) { f.reconfigured(t) })
	t.Run("full disk", func(t *testing.T) { f.fullDisk(t) })
	t.Run("kills", func(t *testing.T) { f.serverKills(t, map[bool]int{false: 3, true: 25}[soak()]) })
	if soak() {
		t.Run("speed", func(t *testing.T) { f.speed(t, 5, 32, 200) })
	}
	t.Run("server gone", func(t *testing.T) { f.serverGone(t) })
	t.Run("its disk is not mounted", func(t *testing.T) { f.diskMissing(t) })
}

// mountBoth mounts the share data on worker2 by its own kernel: /mnt/nfs and /mnt/smb. With the default, an echo a minute, an SMB client that
// waits for an answer notices only after up to two minutes that the server's machine has lost its power.
func (f *faultLab) mountBoth(t *testing.T) {
	t.Helper()
	f.undo(t, "worker2", "umount -l /mnt/nfs /mnt/smb")
	f.on(t, "worker2", "mkdir -p /mnt/nfs /mnt/smb; mount -t nfs --options nfsvers=4.1 10.0.0.1:/data/ /mnt/nfs")
	f.on(t, "worker2", "mount -t cifs //10.0.0.1/data /mnt/smb -o hard,echo_interval=10,vers=3.1.1,username=smbuser,password="+smbPassword)
	mounts := f.on(t, "worker2", "grep -E '/mnt/(nfs|smb)' /proc/mounts")
	for _, want := range []string{"nfs4 rw", "vers=4.1", "cifs rw", "vers=3.1.1"} {
		if !strings.Contains(mounts, want) {
			t.Errorf("the mounts lack %q:\n%s", want, mounts)
		}
	}
}

func (f *faultLab) acrossProtocols(t *testing.T) {
	f.on(t, "worker2", "rm -rf /mnt/smb/across; mkdir /mnt/smb/across; echo by SMB > /mnt/smb/across/smb; sync -f /mnt/smb/across/smb")
	if got := f.on(t, "worker2", "cat /mnt/nfs/across/smb; echo by NFS >> /mnt/nfs/across/smb; echo by NFS > /mnt/nfs/across/nfs"); got != "by SMB\n" {
		t.Errorf("NFS reads %q", got)
	}
	if got := f.on(t, "worker2", "cat /mnt/smb/across/nfs; echo by SMB >> /mnt/smb/across/nfs; cat /mnt/smb/across/smb"); got != "by NFS\nby SMB\nby NFS\n" {
		t.Errorf("SMB reads %q", got)
	}
	f.declare(t, claim{name: "sm-data", source: nfs("/data"), options: version41})
	f.bound(t, "sm-data")
	job := task{storages: []string{"sm-data"}, command: "cd /mnt/sm-data/across && cat smb nfs && echo by a job > job && echo by a job >> smb"}
	f.paictl(t, "job", "submit", "--wait", writeFile(t, "across.yaml", job.document(f.fresh("across")))).mustSucceed(t, "a job on the same files")
	if got := f.on(t, "worker2", "cat /mnt/smb/across/job; tail -n 1 /mnt/smb/across/smb"); got != "by a job\nby a job\n" {
		t.Errorf("SMB reads of the job's %q", got)
	}
	owners := f.on(t, "worker1", "cd /share/data/across; stat -c '%n %u:%g %a' . job nfs smb")
	if owners != ". 1000:1000 775\njob 1000:1000 644\nnfs 1000:1000 644\nsmb 1000:1000 664\n" {
		t.Errorf("owners and modes:\n%s", owners)
	}
}

// ownFolders: with a password of their own users reach their own folder by SMB, which is the one that their jobs have.
func (f *faultLab) ownFolders(t *testing.T) {
	password := func(user, text string, flags ...string) result {
		args := append([]string{"--user", user, "storage", "password", "--password-file", writeFile(t, "smb", text+"\n")}, flags...)
		return f.paictl(t, args...)
	}
	f.asAdmin(t, "user", "create", "sm-bob", "--password-file", writeFile(t, "bob", "bob-the-builder\n"))
	t.Cleanup(func() { f.asAdmin(t, "user", "delete", "--yes", "sm-bob") })
	f.signIn(t, "sm-bob", "bob-the-builder")
	f.signIn(t, "alice", alicePassword)
	password("alice", "alice-by-smb").mustSucceed(t, "alice's SMB password")
	password("sm-bob", "bob-by-smb").mustSucceed(t, "bob's SMB password")
	password("sm-bob", "mine-now", "--user-name", "alice").mustRefuse(t, "bob sets alice's", 3, "not allowed")
	password("alice", "short").mustRefuse(t, "a short one", 1, "password")
	mount := func(share, user, secret string) string {
		return f.on(t, "worker2", fmt.Sprintf("mkdir -p /mnt/h; mount -t cifs //10.0.0.1/%s /mnt/h -o vers=3.1.1,username=%s,password=%s 2>&1 && echo MOUNTED; true", share, user, secret))
	}
	f.undo(t, "worker2", "umount /mnt/h")
	await.Until(t, "alice's account is on the server", func() bool { return strings.Contains(mount("home", "alice", "alice-by-smb"), "MOUNTED") })
	f.on(t, "worker2", "echo private > /mnt/h/by-smb && umount /mnt/h")
	await.Until(t, "bob's account is on the server", func() bool { return strings.Contains(mount("home", "sm-bob", "bob-by-smb"), "MOUNTED") })
	if seen := f.on(t, "worker2", "ls -A /mnt/h; ls /mnt/h/../alice 2>&1; umount /mnt/h"); strings.Contains(seen, "by-smb") {
		t.Errorf("bob's home shows %q", seen)
	}
	for what, out := range map[string]string{
		"bob and the share users":  mount("users", "sm-bob", "bob-by-smb"),
		"bob and the share root":   mount("root", "sm-bob", "bob-by-smb"),
		"alice, by bob's password": mount("home", "alice", "bob-by-smb"),
		"alice, by her other one":  mount("home", "alice", alicePassword),
		"the shared account":       mount("home", "smbuser", smbPassword),
	} {
		if !strings.Contains(out, "Permission denied") {
			t.Errorf("%s: %q", what, out)
		}
	}
	f.declare(t, claim{name: "sm-home", source: nfs("/users"), options: version41, labels: `share: "false"`})
	f.bound(t, "sm-home")
	job := task{storages: []string{"sm-home"}, command: "cat /mnt/sm-home/by-smb && echo by a job >> /mnt/sm-home/by-smb"}
	f.paictl(t, "--user", "alice", "job", "submit", "--wait", writeFile(t, "own.yaml", job.document(f.fresh("own-folder")))).mustSucceed(t, "alice's job in the same folder")
	if got := f.on(t, "worker1", "cd /share/users/alice; stat -c '%U:%u:%a' . ; cat by-smb"); !strings.HasSuffix(got, ":1000:700\nprivate\nby a job\n") {
		t.Errorf("alice's folder on the server: %q", got)
	}
	f.paictl(t, "--user", "alice", "storage", "password", "--remove").mustSucceed(t, "removal")
	await.Until(t, "alice's account is gone", func() bool { return strings.Contains(mount("home", "alice", "alice-by-smb"), "Permission denied") })
}

// strangers tries what must not work. The rest of the refusals of SMB is tested beside its configuration.
func (f *faultLab) strangers(t *testing.T) {
	cases := []struct{ name, command, want string }{
		{"SMB without a name", "mount -t cifs //10.0.0.1/data /mnt/x -o vers=3.1.1,guest", "Permission denied"},
		{"SMB with a wrong password", "mount -t cifs //10.0.0.1/data /mnt/x -o vers=3.1.1,username=smbuser,password=wrong", "Permission denied"},
		{"SMB with a name that nobody has", "mount -t cifs //10.0.0.1/data /mnt/x -o vers=3.1.1,username=mallory,password=" + smbPassword, "Permission denied"},
		{"SMB 2.1", "mount -t cifs //10.0.0.1/data /mnt/x -o vers=2.1,username=smbuser,password=" + smbPassword, "mount error"},
		{"SMB 1", "mount -t cifs //10.0.0.1/data /mnt/x -o vers=1.0,username=smbuser,password=" + smbPassword, "mount error"},
		{"the administrators' share", "mount -t cifs //10.0.0.1/root /mnt/x -o vers=3.1.1,username=smbuser,password=" + smbPassword, "Permission denied"},
		{"NFS 4.0", "mount -t nfs -o nfsvers=4.0,soft,timeo=30,retrans=1 10.0.0.1:/data /mnt/x", "Protocol not supported"},
		{"NFS 3", "timeout 20 mount -t nfs -o nfsvers=3,nolock,soft,timeo=30,retrans=1 10.0.0.1:/data /mnt/x", ""},
		{"the server's own state by NFS", "mount -t nfs -o nfsvers=4.1 10.0.0.1:/.pai-storage /mnt/x", "No such file"},
		{"out of an export", "mount -t nfs -o nfsvers=4.1 10.0.0.1:/data/../users /mnt/x", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out := f.on(t, "worker2", "mkdir -p /mnt/x; "+c.command+" 2>&1 && echo MOUNTED; ls /mnt/x; umount /mnt/x 2>/dev/null; true")
			if strings.Contains(out, "MOUNTED") && c.name != "out of an export" || !strings.Contains(out, c.want) {
				t.Errorf("it says %q, which lacks %q", out, c.want)
			}
		})
	}
	t.Run("NFS from a machine that is no node", func(t *testing.T) {
		supervisor := fmt.Sprint(f.status(t).pid("supervisor"))
		probe := func() result {
			return run(t, []string{envProbe + "=10.0.0.254"}, "nsenter", "--target", supervisor, "--net", os.Args[0])
		}
		if said := probed(t, probe); !strings.Contains(said, "NFS4ERR") {
			t.Errorf("it is served: %s", said)
		}
	})
	t.Run("a link out of a share by SMB", func(t *testing.T) {
		out := f.on(t, "worker2", "ln -sf /share/.pai-storage /mnt/nfs/out; ln -sf ../users /mnt/nfs/up; ls /mnt/smb/out /mnt/smb/up 2>&1; rm /mnt/nfs/out /mnt/nfs/up")
		if strings.Contains(out, "samba") || strings.Count(out, "cannot access") != 2 {
			t.Errorf("through a link one sees %q", out)
		}
	})
}

// fresh is a name that no job has had: names are taken for ever, and PAI_TEST_CLUSTER may name a cluster where these tests ran before.
func (f *faultLab) fresh(name string) string { return fmt.Sprintf("%s-%d", name, time.Now().Unix()) }

// passwordsHidden looks where passwords like to be.
func (f *faultLab) passwordsHidden(t *testing.T) {
	const secret = "Xq7-not-in-clear"
	f.changeServices(t, regexp.MustCompile(`smbpwd: .*`), "smbpwd: "+secret)
	t.Cleanup(func() { f.changeServices(t, regexp.MustCompile(`smbpwd: .*`), "smbpwd: "+smbPassword) })
	for name, text := range map[string]string{
		"ConfigMaps":  f.kubectl(t, "get", "configmaps", "-A", "-o", "yaml").out,
		"pods":        f.kubectl(t, "get", "pods", "-A", "-o", "yaml").out,
		"events":      f.kubectl(t, "get", "events", "-A", "-o", "yaml").out,
		"logs":        f.typed(t, "service", "logs", "-n", "storage-manager").out,
		"settings":    f.typed(t, "config", "show", "--origin", "--output", "json").out,
		"processes":   f.on(t, "worker1", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '"),
		"SMB's files": f.on(t, "worker1", "pid=$(pidof storage-manager); grep -r "+secret+" /proc/$pid/root/run/pai-storage /share/.pai-storage; true"),
	} {
		if strings.Contains(text, secret) || text == "" && name != "SMB's files" {
			t.Errorf("%s: the password is there, or nothing is (%d bytes)", name, len(text))
		}
	}
	// It is the password all the same.
	f.on(t, "worker2", "mkdir -p /mnt/x; mount -t cifs //10.0.0.1/data /mnt/x -o vers=3.1.1,username=smbuser,password="+secret+" && umount /mnt/x")
}

// changeServices edits services-configuration.yaml, pushes it and refreshes the storage manager.
func (c *cluster) changeServices(t testing.TB, from *regexp.Regexp, to string) result {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "configuration")
	c.typed(t, "config", "pull", "-o", dir).mustSucceed(t, "config pull")
	edit(t, filepath.Join(dir, "services-configuration.yaml"), from, to)
	if r := c.typed(t, "config", "push", "-p", dir); r.code != 0 {
		return r
	}
	return c.typed(t, "service", "refresh", "-n", "storage-manager").mustSucceed(t, "service refresh")
}

// reconfigured lets another network in, while somebody works on a mount.
func (f *faultLab) reconfigured(t *testing.T) {
	probe := func() string {
		return run(t, []string{envProbe + "=10.0.0.254"}, "nsenter", "--target", fmt.Sprint(f.status(t).pid("supervisor")), "--net", os.Args[0]).out
	}
	before := f.on(t, "worker1", "pidof ganesha.nfsd")
	f.changeServices(t, regexp.MustCompile(`(?m)^  smbuser:`), "  nfs-allowed-clients: [10.0.0.254]\n  smbuser:")
	await.Until(t, "the machine that was let in is served", func() bool { return probe() == "<nil>\n" })
	f.changeServices(t, regexp.MustCompile(`(?m)^  nfs-allowed-clients: .*\n`), "")
	await.Until(t, "and is not any more", func() bool { return strings.Contains(probe(), "NFS4ERR") })
	if after := f.on(t, "worker1", "pidof ganesha.nfsd"); after != before {
		t.Errorf("the NFS server was started anew for it: %s, then %s", before, after)
	}
	// A server that has read its exports anew still serves all of both.
	f.undo(t, "worker2", "umount /mnt/all")
	f.on(t, "worker2", "mkdir -p /mnt/all; mount -t nfs -o nfsvers=4.1 10.0.0.1:/users /mnt/all && mkdir /mnt/all/fresh && stat /mnt/all/* && rmdir /mnt/all/fresh && umount /mnt/all")
	if r := f.changeServices(t, regexp.MustCompile(`(?m)^  localpath: .*`), "  localpath: share"); r.code == 0 || !strings.Contains(r.err, "services-configuration.yaml:") || !strings.Contains(r.err, "^") {
		t.Errorf("a wrong configuration was pushed, or its place is not told: %+v", r)
	}
}

// fullDisk fills the disk: who writes is told, who reads is served, and nothing is restarted.
func (f *faultLab) fullDisk(t *testing.T) {
	before := f.on(t, "worker1", "pidof ganesha.nfsd")
	f.undo(t, "worker1", "rm -f /share/fill")
	f.on(t, "worker1", "free=$(df --output=avail -B1M /share | tail -n 1); fallocate -l $((free - 8))M /share/fill")
	for _, mount := range []string{"nfs", "smb"} {
		out := f.on(t, "worker2", fmt.Sprintf("dd if=/dev/zero of=/mnt/%[1]s/big bs=1M count=64 conv=fsync 2>&1; rm -f /mnt/%[1]s/big; ls /mnt/%[1]s/across", mount))
		if !strings.Contains(out, "No space left") || !strings.Contains(out, "job\n") {
			t.Errorf("%s on a full disk: %s", mount, out)
		}
	}
	if after := f.on(t, "worker1", "pidof ganesha.nfsd"); after != before {
		t.Errorf("the NFS server was started anew: %s, then %s", before, after)
	}
	f.fullAndStartedAnew(t)
	f.on(t, "worker1", "rm -f /share/fill /share/rest")
	f.on(t, "worker2", "echo again > /mnt/nfs/again && echo again > /mnt/smb/again && rm /mnt/nfs/again")
}

// fullAndStartedAnew starts the servers while not a byte is free on their disk: they serve what is there.
func (f *faultLab) fullAndStartedAnew(t *testing.T) {
	f.undo(t, "worker1", "rm -f /share/rest")
	f.on(t, "worker1", "dd if=/dev/zero of=/share/rest bs=4k 2>/dev/null; sync; ! echo more > /share/more")
	before := f.server(t)
	f.kubectl(t, "-n", "pai-system", "delete", "pods", "-l", "app.kubernetes.io/name=storage-manager", "--wait=false").mustSucceed(t, "delete")
	await.Until(t, "another server is ready", func() bool { now := f.server(t); return now != "" && now != before })
	for _, mount := range []string{"nfs", "smb"} {
		if out := f.on(t, "worker2", fmt.Sprintf("{ ls /mnt/%[1]s/across; cat /mnt/%[1]s/across/job > /dev/null; echo more > /mnt/%[1]s/more; } 2>&1; true", mount)); !strings.Contains(out, "job\n") {
			t.Errorf("%s from a full disk, after a new start: %s", mount, out)
		}
	}
}

// appender writes numbered lines to a file that stays open, each one synced, and opens it anew for that. A line of its log is the number, how
// often the sync was told to try again, and the milliseconds until the line was safe.
const appender = `#!/bin/bash
f=$1 log=$2
: > "$log"; exec 3>>"$f" || exit 1
for ((i = 1; ; i++)); do
	[ -e "$log.stop" ] && { echo done >> "$log"; exit; }
	start=${EPOCHREALTIME/./} again=0
	echo "line $i" >&3 || { echo "ERROR write $i" >> "$log"; exit 1; }
	until said=$(sync -d "$f" 2>&1); do
		case $said in *"Resource temporarily unavailable"*) again=$((again + 1)); sleep 0.1 ;; *) echo "ERROR sync $i: $said" >> "$log"; exit 1 ;; esac
	done
	echo "$i $again $(((${EPOCHREALTIME/./} - start) / 1000))" >> "$log"
done
`

// writers start two clients on worker2 that append until they are stopped, one by NFS, one by SMB. It returns how many lines are safe.
func (f *faultLab) writers(t *testing.T) (lines func(mount string) int) {
	f.on(t, "worker2", "rm -f /root/kill-*; cat > /root/appender <<'END'\n"+appender+"END")
	start := func(mount string) {
		f.on(t, "worker2", fmt.Sprintf("rm -f /mnt/nfs/kill-%[1]s; setsid bash /root/appender /mnt/%[1]s/kill-%[1]s /root/kill-%[1]s >/root/kill-%[1]s.err 2>&1 </dev/null &", mount))
	}
	f.undo(t, "worker2", "touch /root/kill-nfs.stop /root/kill-smb.stop")
	start("nfs")
	start("smb")
	lines = func(mount string) int {
		n, _ := strconv.Atoi(strings.TrimSpace(f.on(t, "worker2", "grep -c '^[0-9]' /root/kill-"+mount+"; true")))
		return n
	}
	for _, mount := range []string{"nfs", "smb"} {
		await.Until(t, mount+" writes", func() bool { return lines(mount) > 3 })
	}
	return lines
}

// stopWriters ends them, and compares. So many times they had to wait; it returns how long, sorted.
func (f *faultLab) stopWriters(t *testing.T, stalled, smbMayLose int) map[string][]time.Duration {
	t.Helper()
	f.on(t, "worker2", "touch /root/kill-nfs.stop /root/kill-smb.stop")
	stalls := map[string][]time.Duration{}
	for _, mount := range []string{"nfs", "smb"} {
		stalls[mount] = f.nothingLost(t, mount, stalled, map[string]int{"smb": smbMayLose}[mount])
	}
	return stalls
}

// serverKills kills the NFS and the SMB server again and again under two clients that write.
func (f *faultLab) serverKills(t *testing.T, times int) {
	lines := f.writers(t)
	for i := range times {
		for mount, program := range map[string]string{"nfs": "ganesha.nfsd", "smb": "smbd"} {
			f.on(t, "worker1", "pkill -9 "+program)
			before := lines(mount)
			await.Until(t, fmt.Sprintf("%s writes again after kill %d", mount, i+1), func() bool { return lines(mount) > before+10 })
		}
	}
	for mount, stalls := range f.stopWriters(t, times, 0) {
		f.promised(t, mount+" after a kill, median", stalls[len(stalls)/2], 5*time.Second)
		f.promised(t, mount+" after a kill, at worst", stalls[len(stalls)-1], 10*time.Second)
	}
}

// reboot of a worker, as its administrator does it.
const reboot = "install -m 100 /dev/null /run/runit.stopit; install -m 100 /dev/null /run/runit.reboot; kill -CONT 1"

// serverGone takes the storage server away under two clients that write: its pod, then its machine, in order and at once.
func (f *faultLab) serverGone(t *testing.T) {
	for _, gone := range []struct {
		name       string
		take       func()
		smbMayLose int
	}{
		{"pod deleted", func() {
			f.kubectl(t, "-n", "pai-system", "delete", "pods", "-l", "app.kubernetes.io/name=storage-manager", "--wait=false").mustSucceed(t, "delete")
		}, 0},
		{"machine rebooted", func() { f.on(t, "worker1", reboot) }, 0},
		// Linux' SMB client asks a server that is new to write out what the old one had, and not the data again: SMB has no sign that a
		// server has forgotten something, as NFS has. So the line of that moment may be lost.
		{"power cut", func() {
			if err := syscall.Kill(f.status(t).pid("worker1"), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}, 1},
	} {
		t.Run(gone.name, func(t *testing.T) {
			lines := f.writers(t)
			before := f.server(t)
			gone.take()
			// A pod or a machine that is told to end serves for a while yet: only what has another identity is the server that came after it.
			await.Until(t, "another server is ready", func() bool { now := f.server(t); return now != "" && now != before })
			for _, mount := range []string{"nfs", "smb"} {
				old := lines(mount)
				await.Until(t, mount+" writes again", func() bool { return lines(mount) > old+10 })
			}
			for mount, stalls := range f.stopWriters(t, 1, gone.smbMayLose) {
				f.promised(t, mount+" after "+gone.name, stalls[0], 60*time.Second)
			}
		})
	}
}

// diskMissing starts the server while the disk of the shares is not mounted: the empty directory beneath it is not served, and the status says why.
func (f *faultLab) diskMissing(t *testing.T) {
	f.typed(t, "service", "stop", "-n", "storage-manager").mustSucceed(t, "service stop")
	disk := strings.TrimSpace(f.on(t, "worker1", "findmnt -no SOURCE /share && umount /share"))
	f.undo(t, "worker1", "mountpoint -q /share || mount "+strings.Fields(disk)[0]+" /share")
	f.typed(t, "service", "start", "-n", "storage-manager", "--timeout", "2s").mustRefuse(t, "service start", 1)
	await.Until(t, "the status says what is missing", func() bool {
		return strings.Contains(f.typed(t, "service", "status", "-n", "storage-manager").out, "/share is not the directory that was served here before")
	})
	if left := f.on(t, "worker1", "ls -A /share"); left != "" {
		t.Errorf("in the directory beneath was made: %s", left)
	}
	f.on(t, "worker1", "mount "+strings.Fields(disk)[0]+" /share")
	f.typed(t, "service", "start", "-n", "storage-manager", "--timeout", await.Limit.String()).mustSucceed(t, "service start")
	f.on(t, "worker2", "ls /mnt/nfs/across /mnt/smb/across")
}

// server is the identity of the storage server, as long as it is ready: its pod, that pod's container, and the boot of its machine; else "".
func (f *faultLab) server(t *testing.T) string {
	t.Helper()
	client := f.client(t)
	node, err := client.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{})
	if err != nil {
		return ""
	}
	pods, err := client.CoreV1().Pods("pai-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=storage-manager"})
	if err != nil || len(pods.Items) != 1 || !podReady(&pods.Items[0]) {
		return ""
	}
	p := pods.Items[0]
	return fmt.Sprint(p.UID, " ", p.Status.ContainerStatuses[0].ContainerID, " ", node.Status.NodeInfo.BootID)
}

// nothingLost compares what was acknowledged with what is there, and returns for how long the client stood still, sorted: so many times.
func (f *faultLab) nothingLost(t *testing.T, mount string, stalled, mayLose int) []time.Duration {
	t.Helper()
	await.Until(t, mount+" ends", func() bool {
		return strings.Contains(f.on(t, "worker2", "tail -n 1 /root/kill-"+mount), "done")
	})
	log := f.on(t, "worker2", "cat /root/kill-"+mount)
	if strings.Contains(log, "ERROR") {
		t.Fatalf("%s: %s", mount, log[strings.Index(log, "ERROR"):])
	}
	written, told, again := 0, []int{}, 0
	for line := range strings.Lines(log) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		written++
		ms, _ := strconv.Atoi(fields[2])
		retries, _ := strconv.Atoi(fields[1])
		again += retries
		told = append(told, ms)
	}
	there := map[string]int{}
	for line := range strings.Lines(f.on(t, "worker1", "cat /share/data/kill-"+mount)) {
		there[strings.Trim(line, "\x00\n")]++
	}
	lost := 0
	for i := range written {
		if line := fmt.Sprint("line ", i+1); there[line] == 0 {
			lost++
		} else if there[line] > 1 {
			t.Errorf("%s: %s is there %d times", mount, line, there[line])
		}
	}
	if lost > mayLose {
		t.Errorf("%s: of %d acknowledged lines %d are not on the disk", mount, written, lost)
	}
	slices.Sort(told)
	var stalls []time.Duration
	for _, ms := range told[max(0, len(told)-stalled):] { // the longest: one for each time
		stalls = append(stalls, time.Duration(ms)*time.Millisecond)
	}
	if len(stalls) == 0 {
		t.Fatalf("%s: nothing was written", mount)
	}
	t.Logf("%s: %d times, %d lines acknowledged, %d lost; until a client writes again: median %.1f s, at worst %.1f s; a sync was told to try again %d times",
		mount, stalled, written, lost, stalls[len(stalls)/2].Seconds(), stalls[len(stalls)-1].Seconds(), again)
	return stalls
}
