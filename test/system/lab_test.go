package system

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/await"
)

// laboratory is a cluster whose parts are broken on purpose. PAI_TEST_CLUSTER=STATE_DIR:NAME takes one that runs, for work on these tests.
func laboratory(t *testing.T) *cluster {
	t.Helper()
	var c *cluster
	if dir, name, ok := strings.Cut(os.Getenv("PAI_TEST_CLUSTER"), ":"); ok {
		c = &cluster{name: name, dir: dir, env: []string{"PAI_STATE_DIR=" + dir}}
		c.status(t)
	} else {
		c = newCluster(t, "lab")
		c.up(t, "--workers", "2", "--port", "0", "--kube-port", "0")
		c.guide(t)
		t.Cleanup(func() { c.clocksAreRight(t) })
	}
	c.env = append(c.env, "XDG_CONFIG_HOME="+t.TempDir(), "PAI_SERVER="+c.last.API)
	c.paictl(t, "login", "--user", c.last.AdminUser, "--password-file", c.last.AdminPasswordFile).mustSucceed(t, "login")
	return c
}

// clocksAreRight: where a worker's clock goes too fast, everything that waits gives up early, and nobody sees why.
func (c *cluster) clocksAreRight(t *testing.T) {
	for _, w := range []string{"worker1", "worker2"} {
		before := time.Now()
		said := strings.TrimSpace(c.on(t, w, "date +%s"))
		after := time.Now()
		const tolerance = 10 // seconds; it is set at boot, from a clock that has whole seconds
		if s, err := strconv.ParseInt(said, 10, 64); err != nil || s < before.Unix()-tolerance || s > after.Unix()+tolerance {
			t.Errorf("the clock of %s says %s, between %d and %d here", w, said, before.Unix(), after.Unix())
		}
	}
}

// signIn signs a user in, whose jobs the next commands are about.
func (c *cluster) signIn(t *testing.T, user, password string) {
	t.Helper()
	c.paictl(t, "login", "--user", user, "--password-file", writeFile(t, "password", password+"\n")).mustSucceed(t, "login of "+user)
}

// asAdmin runs paictl as the administrator.
func (c *cluster) asAdmin(t testing.TB, args ...string) result {
	t.Helper()
	return c.paictl(t, append([]string{"--user", c.last.AdminUser}, args...)...)
}

// on runs a shell command on a worker.
func (c *cluster) on(t testing.TB, worker, command string) string {
	t.Helper()
	return c.paictl(t, "node", "exec", "--name", c.name, worker, "--", "sh", "-c", command).mustSucceed(t, worker+": "+command).out
}

// undo runs something when the test ends.
func (c *cluster) undo(t *testing.T, worker, command string) {
	t.Cleanup(func() { c.paictl(t, "node", "exec", "--name", c.name, worker, "--", "sh", "-c", command) })
}

// claim is a storage: a volume, unless its source is empty, and the claim for it.
type claim struct {
	name   string
	source string // of the volume, as YAML
	// What differs from what fits.
	volume, spec, options, labels string
}

// declare makes a storage and grants it to everybody.
func (f *faultLab) declare(t *testing.T, x claim) {
	t.Helper()
	var manifest strings.Builder
	if x.source != "" {
		fmt.Fprintf(&manifest, `apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s-pv, labels: {storage: %[1]s}}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], persistentVolumeReclaimPolicy: Retain, mountOptions: [%[2]s], %[3]s %[4]s}
---
`, x.name, x.options, with(x.volume), x.source)
	}
	spec := x.spec
	if spec == "" {
		spec = fmt.Sprintf(`storageClassName: "", selector: {matchLabels: {storage: %s}}`, x.name)
	}
	if !strings.Contains(spec, "accessModes") {
		spec += ", accessModes: [ReadWriteMany]"
	}
	if !strings.Contains(spec, "resources") {
		spec += ", resources: {requests: {storage: 1Gi}}"
	}
	fmt.Fprintf(&manifest, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s, labels: {%s}}\nspec: {%s}\n", x.name, x.labels, spec)
	f.apply(t, manifest.String())
	t.Cleanup(func() {
		f.asAdmin(t, "storage", "revoke", "default", x.name)
		f.kubectl(t, "delete", "pvc", x.name, "--wait=false", "--ignore-not-found")
		f.kubectl(t, "delete", "pv", x.name+"-pv", "--wait=false", "--ignore-not-found")
	})
	await.Until(t, "grant of "+x.name, func() bool { return f.asAdmin(t, "storage", "grant", "default", x.name).code == 0 })
}

// with puts a comma after fields that are there.
func with(fields string) string {
	if fields == "" {
		return ""
	}
	return fields + ","
}

// bound waits until a storage can be used.
func (f *faultLab) bound(t *testing.T, name string) {
	t.Helper()
	await.Until(t, name+" is bound", func() bool {
		return f.claimPhase(t, name) == corev1.ClaimBound
	})
}

// claimPhase is that of a claim; "" where there is none.
func (f *faultLab) claimPhase(t *testing.T, name string) corev1.PersistentVolumeClaimPhase {
	t.Helper()
	c, err := f.client(t).CoreV1().PersistentVolumeClaims("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return c.Status.Phase
}

// nfs is the source of a volume on the storage server.
func nfs(path string) string { return nfsAt("10.0.0.1", path) }

func nfsAt(server, path string) string {
	return fmt.Sprintf("nfs: {server: %q, path: %q}", server, path)
}

const version41 = "nfsvers=4.1"

// hide takes a program off both workers.
func (f *faultLab) hide(t *testing.T, programs ...string) {
	t.Helper()
	for _, worker := range []string{"worker1", "worker2"} {
		for _, p := range programs {
			f.undo(t, worker, fmt.Sprintf("test ! -e %[1]s.hidden || mv %[1]s.hidden %[1]s", p))
			f.on(t, worker, fmt.Sprintf("mv %[1]s %[1]s.hidden", p))
		}
	}
}

// Commands about the NFS server, which runs on worker1.
const (
	// A process that is killed is seen for a while: what comes after it has another number.
	nfsAnew  = "old=$(pidof ganesha.nfsd); pkill -9 ganesha.nfsd; until new=$(pidof ganesha.nfsd) && [ \"$new\" != \"$old\" ]; do sleep 0.2; done" // the storage manager starts it
	dropNFS  = "iptables -I INPUT -p tcp --dport 2049 -j DROP"
	allowNFS = "while iptables -D INPUT -p tcp --dport 2049 -j DROP 2>/dev/null; do :; done"
)

// export is a directory of worker1 with options of NFS-Ganesha's own.
type export struct {
	id      int
	name    string
	prepare string // a shell command
	options string
}

// serve adds exports to the NFS server until the test ends.
func (f *faultLab) serve(t *testing.T, exports ...export) {
	t.Helper()
	// In the storage manager's container, which writes it anew when the nodes or the configuration change: not now.
	const config = "/proc/$(pidof storage-manager)/root/run/pai-storage/ganesha.conf"
	f.undo(t, "worker1", fmt.Sprintf("test ! -e %[1]s.before || mv %[1]s.before %[1]s; %[2]s", config, nfsAnew))
	script := fmt.Sprintf("set -e; test -e %[1]s.before || cp %[1]s %[1]s.before\n", config)
	for _, e := range exports {
		script += fmt.Sprintf(`mkdir -p /share/%[1]s; cd /share/%[1]s; %[2]s
cat >> %[3]s <<'END'
EXPORT { Export_Id = %[4]d; Path = "/share/%[1]s"; Pseudo = "/%[1]s"; Filesystem_Id = %[4]d.%[4]d; Protocols = 4; Transports = TCP; %[5]s FSAL { Name = VFS; } }
END
`, e.name, e.prepare, config, e.id, e.options)
	}
	f.on(t, "worker1", script+nfsAnew)
	await.Until(t, "the NFS server runs", func() bool {
		return strings.Contains(f.on(t, "worker1", "busybox wget -q -O - http://127.0.0.1:9187/readyz || true"), "ready")
	})
}
