package system

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
)

// TestStorageTypes mounts every type of storage on real workers, in each of the forms in which people declare it. What takes time is done for all
// of them at once.
func TestStorageTypes(t *testing.T) {
	need(t)
	c := laboratory(t)
	f := &typeLab{faultLab: &faultLab{cluster: c}, sums: map[string][]string{}}
	for _, user := range []string{"bob", "alice"} { // the last one is who types
		c.asAdmin(t, "user", "create", user, "--password-file", writeFile(t, "password", alicePassword+"\n"))
		c.signIn(t, user, alicePassword)
	}
	f.servers(t)
	t.Run("pages of the guide", func(t *testing.T) { f.pagesTyped(t) })
	f.kinds = storageKinds(f)
	for _, k := range f.kinds {
		f.declareKind(t, k)
	}
	t.Run("matrix", func(t *testing.T) { f.matrixIsGreen(t) })
	t.Run("two volumes and two pods on one worker", func(t *testing.T) { f.pairs(t) })
	t.Run("the same on the other worker", func(t *testing.T) { f.otherWorker(t) })
	t.Run("unmounted cleanly", func(t *testing.T) { f.nothingMounted(t, "worker1") })
	t.Run("personal and read-only", func(t *testing.T) { f.jobsOfUsers(t) })
	t.Run("no secret is to be seen", func(t *testing.T) { f.secretsHidden(t) })
	t.Run("wrong secret", func(t *testing.T) { f.wrongSecrets(t) })
	t.Run("agent killed", func(t *testing.T) { f.agentKilled(t) })
	t.Run("process of an object store killed", func(t *testing.T) { f.serverProcessKilled(t) })
	t.Run("worker without nfs-common", func(t *testing.T) { f.helperRemoved(t) })
	t.Run("hung NFS server", func(t *testing.T) { f.hungServer(t) })
	t.Run("dead servers", func(t *testing.T) { f.deadServers(t) })
}

// typeLab is a cluster with a server for each type of storage.
type typeLab struct {
	*faultLab
	kinds []storageKind
	stop  map[string]func()   // servers by name
	sums  map[string][]string // of the three files that pairs wrote, by kind
}

// storageKind is one form in which a storage is declared.
type storageKind struct {
	name    string
	source  func(secret string, readOnly bool) string // of the volume
	options string                                    // mount options of the volume
	volume  string                                    // more of its spec
	kind    string                                    // type of the Secret
	secret  map[string]string                         // what it is mounted with; nil for none
	wrong   string                                    // the key of the secret that a wrong one has wrong
	refused string                                    // the code of a wrong secret
	server  string                                    // that can be stopped; "" for none
	only    string                                    // the only worker that it is for; "" for all
}

const (
	azuriteAccount = "devstoreaccount1"
	// The key that every emulator has, from its public documentation.
	azuriteKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	s3User     = "storage-test"
	s3Password = "storage-test-secret"
	// As workers reach them: beside the control plane.
	azuriteEndpoint = "http://10.0.0.254:10000/" + azuriteAccount
	s3Endpoint      = "http://10.0.0.254:9000"
)

func storageKinds(f *typeLab) []storageKind {
	endpoint := azuriteEndpoint
	flag := func(readOnly bool) string { return fmt.Sprintf("readOnly: %t", readOnly) }
	smb := map[string]string{"username": "smbuser", "password": smbPassword}
	csi := func(name, attributes string) func(string, bool) string {
		n := 0
		return func(secret string, readOnly bool) string {
			n++
			return fmt.Sprintf("csi: {driver: csi.pai.storage, volumeHandle: %s-%d, %s, nodeStageSecretRef: {name: %s, namespace: default}, volumeAttributes: {%s}}", name, n, flag(readOnly), secret, attributes)
		}
	}
	return []storageKind{
		{name: "nfs", source: func(_ string, ro bool) string {
			return fmt.Sprintf("nfs: {server: 10.0.0.1, path: /data, %s}", flag(ro))
		}, options: version41, server: "nfs"},
		{name: "smb-flex", kind: "microsoft.com/smb", secret: smb, wrong: "password", refused: "STO-308", server: "smb", source: func(secret string, ro bool) string {
			return fmt.Sprintf(`flexVolume: {driver: "microsoft.com/smb", %s, secretRef: {name: %s, namespace: default}, options: {source: "//10.0.0.1/data", mountoptions: "vers=3.0,dir_mode=0777,file_mode=0777"}}`, flag(ro), secret)
		}},
		{name: "smb-csi", secret: smb, wrong: "password", refused: "STO-308", server: "smb", source: csi("smb-csi", `type: samba, address: "//10.0.0.1/data"`), options: "dir_mode=0777, file_mode=0777"},
		{name: "blob-flex", kind: "azure/blobfuse", wrong: "accountkey", refused: "STO-308", server: "azurite",
			secret: map[string]string{"accountname": azuriteAccount, "accountkey": azuriteKey, "blobendpoint": endpoint}, source: func(secret string, ro bool) string {
				return fmt.Sprintf(`flexVolume: {driver: "azure/blobfuse", %s, secretRef: {name: %s, namespace: default}, options: {container: flex, tmppath: /tmp/blobfuse, mountoptions: "--file-cache-timeout-in-seconds=120 -o allow_other"}}`, flag(ro), secret)
			}},
		{name: "blob-csi", wrong: "accountkey", refused: "STO-308", server: "azurite", secret: map[string]string{"accountname": azuriteAccount, "accountkey": azuriteKey},
			source: csi("blob-csi", `type: azureBlob, container: csi, endpoint: "`+endpoint+`"`)},
		// The storage manager in the place of Azure: the workers know the account's name as its address.
		{name: "azure-file", wrong: "azurestorageaccountkey", refused: "STO-308", server: "smb", volume: "storageClassName: azurefile",
			secret:  map[string]string{"azurestorageaccountname": "smbuser", "azurestorageaccountkey": smbPassword},
			options: "dir_mode=0777, file_mode=0777, uid=1000, gid=1000, mfsymlinks, nobrl", source: func(secret string, ro bool) string {
				return fmt.Sprintf("azureFile: {secretName: %s, secretNamespace: default, shareName: data, %s}", secret, flag(ro))
			}},
		{name: "s3", wrong: "secretkey", refused: "STO-308", server: "s3", secret: map[string]string{"accesskey": s3User, "secretkey": s3Password},
			source: csi("s3", `type: s3, bucket: bucket, endpoint: "`+s3Endpoint+`"`)},
		{name: "host-path", source: func(string, bool) string { return "hostPath: {path: /srv/host-path, type: DirectoryOrCreate}" }},
		{name: "local", only: "worker1", source: func(string, bool) string { return "local: {path: /srv/local}" },
			volume: "nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [worker1]}]}]}}"},
	}
}

// servers starts what is not there yet: an emulator of Azure Blob, an S3 server, a name for the account of Azure File.
func (f *typeLab) servers(t *testing.T) {
	t.Helper()
	f.stop = map[string]func(){}
	for _, worker := range []string{"worker1", "worker2"} {
		f.on(t, worker, "mkdir -p /srv/local; grep -q file.core.windows.net /etc/hosts || echo 10.0.0.1 smbuser.file.core.windows.net >> /etc/hosts")
	}
	dir := t.TempDir()
	key := writeFile(t, "s3-key", s3User+":"+s3Password+"\n")
	azurite := strings.TrimSpace(run(t, nil, "hack/install-azurite").mustSucceed(t, "install Azurite").out)
	run(t, nil, "hack/install-packages", "curl").mustSucceed(t, "install curl")
	f.start(t, "azurite", 10000, azurite, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", filepath.Join(dir, "azurite"), "--blobHost", "10.0.0.254", "--blobPort", "10000")
	f.start(t, "s3", 9000, filepath.Join(root(t), "bin", "s3server"), "--listen", "10.0.0.254:9000", "--directory", s3Directory(t, dir), "--key-file", key)
	for _, container := range []string{"flex", "csi"} {
		f.makeContainer(t, container)
	}
	f.stop["nfs"] = func() { f.typed(t, "service", "stop", "-n", "storage-manager").mustSucceed(t, "service stop") }
	f.stop["smb"] = func() {}
}

func s3Directory(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "s3")
	for _, bucket := range []string{"bucket", "models"} {
		if err := os.MkdirAll(filepath.Join(path, bucket), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// start runs a server in the cluster's network until the test ends; stop ends it before.
func (f *typeLab) start(t *testing.T, name string, port int, program string, args ...string) {
	t.Helper()
	etcd := fmt.Sprint(f.status(t).pid("etcd"))
	server := exec.Command("nsenter", append([]string{"-t", etcd, "-n", program}, args...)...)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that is killed leaves no server behind
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	f.stop[name] = func() {
		if !stopped {
			stopped = true
			_ = server.Process.Kill()
			_ = server.Wait()
		}
	}
	t.Cleanup(f.stop[name])
	await.Until(t, name+" listens", func() bool {
		return run(t, nil, "nsenter", "-t", etcd, "-n", "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/10.0.0.254/%d", port)).code == 0
	})
}

// makeContainer makes a container of the emulator by Azure's own protocol.
func (f *typeLab) makeContainer(t *testing.T, name string) {
	t.Helper()
	date := time.Now().UTC().Format(http.TimeFormat)
	const version = "2021-12-02"
	signed := fmt.Sprintf("PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:%s\n/%[3]s/%[3]s/%[4]s\nrestype:container", date, version, azuriteAccount, name)
	key, err := base64.StdEncoding.DecodeString(azuriteKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	r := run(t, nil, "nsenter", "-t", fmt.Sprint(f.status(t).pid("etcd")), "-n", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "-H", "Content-Length: 0",
		"-H", "x-ms-date: "+date, "-H", "x-ms-version: "+version, "-H", "Authorization: SharedKey "+azuriteAccount+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		fmt.Sprintf("http://10.0.0.254:10000/%s/%s?restype=container", azuriteAccount, name))
	if r.out != "201" && r.out != "409" {
		t.Fatalf("container %s: %+v", name, r)
	}
}

// declareKind declares the storages of a kind.
func (f *typeLab) declareKind(t *testing.T, k storageKind) {
	t.Helper()
	f.secretOf(t, k, "x-"+k.name, "")
	for _, form := range []struct{ suffix, labels string }{{"", ""}, {"-2", ""}, {"-home", `share: "false"`}, {"-ro", ""}} {
		if form.suffix != "" && !k.has(form.suffix) {
			continue
		}
		f.declare(t, k.claim("x-"+k.name+form.suffix, "x-"+k.name, form.suffix == "-ro", form.labels))
	}
}

// forms are those in which each kind is declared besides the plain one: twice the same, personal, read-only. An emulated worker needs seconds to
// check a storage, so what one kind shows is left to the long run for others that are mounted by the same means.
var forms = map[string][]string{
	"nfs": {"-home", "-ro"}, "smb-flex": {"-ro"}, "smb-csi": {"-2", "-home"}, "blob-flex": {"-2"}, "blob-csi": {"-home", "-ro"}, "azure-file": {"-ro"}, "s3": {"-2", "-home", "-ro"}, "host-path": {"-home"},
}

// has tells whether a kind is declared in a form.
func (k storageKind) has(form string) bool {
	if form == "-ro" && (k.name == "host-path" || k.name == "local") {
		return false // Kubernetes has no such volumes
	}
	return soak() || slices.Contains(forms[k.name], form)
}

func (k storageKind) claim(name, secret string, readOnly bool, labels string) claim {
	x := claim{name: name, source: k.source(secret, readOnly), options: k.options, volume: k.volume, labels: labels}
	if strings.Contains(k.volume, "storageClassName") {
		x.spec = fmt.Sprintf(`storageClassName: azurefile, selector: {matchLabels: {storage: %s}}`, name)
	}
	return x
}

// secretOf makes the Secret of a kind; wrong is what stands in the place of the key that matters.
func (f *typeLab) secretOf(t *testing.T, k storageKind, name, wrong string) {
	t.Helper()
	if k.secret == nil {
		return
	}
	args := []string{"create", "secret", "generic", name}
	if k.kind != "" {
		args = append(args, "--type="+k.kind)
	}
	for key, value := range k.secret {
		if key == k.wrong && wrong != "" {
			value = wrong
		}
		args = append(args, "--from-literal="+key+"="+value)
	}
	t.Cleanup(func() { f.kubectl(t, "delete", "secret", name) })
	f.kubectl(t, "delete", "secret", name, "--ignore-not-found")
	f.kubectl(t, args...).mustSucceed(t, "secret")
}

// mounting is a pod on a worker that runs a shell command with a storage on /data.
func mounting(name, worker, storage, command string) string {
	return strings.Replace(pod(name, worker, command), "claimName: nfs-storage", "claimName: "+storage, 1) + "---\n"
}

// end waits for the ends of pods, deletes them, and returns what each said.
func (f *typeLab) end(t *testing.T, pods []string) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, p := range pods {
		f.ended(t, p)
		said[p] = f.kubectl(t, "logs", p).out
	}
	f.kubectl(t, append([]string{"delete", "pod", "--wait=true"}, pods...)...).mustSucceed(t, "delete pods")
	return said
}

// pairs: on one worker and at once, two pods of one volume and one of another volume of the same place. Each writes, and reads what the others
// wrote. A few kinds at a time: an emulated worker starts a container in seconds.
func (f *typeLab) pairs(t *testing.T) {
	for kinds := range slices.Chunk(f.kinds, 3) {
		var manifest strings.Builder
		var pods []string
		for _, k := range kinds {
			storages := []string{"x-" + k.name, "x-" + k.name, "x-" + k.name}
			if k.has("-2") {
				storages[2] += "-2"
			}
			for i, storage := range storages {
				name := fmt.Sprintf("%s-%d", k.name, i)
				manifest.WriteString(mounting(name, "worker1", storage, fmt.Sprintf(pairScript, "/data/pairs-"+k.name, i)))
				pods = append(pods, name)
			}
		}
		f.apply(t, manifest.String())
		said := f.end(t, pods)
		for _, k := range kinds {
			f.comparePair(t, k, said)
		}
	}
}

// pairScript writes file %[2]d in directory %[1]s, waits for the other two, and reads all of them.
const pairScript = `d=%[1]s; mkdir -p $d; dd if=/dev/urandom of=/tmp/f bs=64k count=8 2>/dev/null; cp /tmp/f $d/%[2]d && a=$(sha256sum < /tmp/f) && [ "$a" = "$(sha256sum < $d/%[2]d)" ] && echo wrote ${a%%%% *}
n=0; until [ -s $d/0 ] && [ -s $d/1 ] && [ -s $d/2 ] || [ $n -gt 60 ]; do n=$((n+1)); sleep 2; ls $d >/dev/null; done; sleep 4; cd $d; for i in 0 1 2; do echo sees $(sha256sum < $i); done`

func (f *typeLab) comparePair(t *testing.T, k storageKind, said map[string]string) {
	t.Helper()
	var sums [3]string
	for i := range sums {
		for line := range strings.Lines(said[fmt.Sprintf("%s-%d", k.name, i)]) {
			if sum, ok := strings.CutPrefix(line, "wrote "); ok {
				sums[i] = strings.TrimSpace(sum)
			}
		}
	}
	f.sums[k.name] = sums[:]
	for i := range sums {
		for j, sum := range sums {
			if text := said[fmt.Sprintf("%s-%d", k.name, i)]; sum == "" || !strings.Contains(text, "sees "+sum) {
				t.Errorf("%s: pod %d does not see what pod %d wrote (%q):\n%s", k.name, i, j, sum, text)
			}
		}
	}
}

// nothingMounted: with the last pod, the last mount and the last process of a mount are gone.
func (f *typeLab) nothingMounted(t *testing.T, worker string) {
	await.Until(t, worker+" has nothing mounted", func() bool {
		return f.on(t, worker, "grep -E ' (nfs4|cifs|fuse[^c ]*) ' /proc/mounts | grep -v '^sunrpc'; ls /var/lib/pai-storage/mounts /var/lib/pai-storage/lost 2>/dev/null | grep -v :; pgrep -l object-mount; true") == ""
	})
}

// otherWorker: what was written through one worker is read through another, checksums included.
func (f *typeLab) otherWorker(t *testing.T) {
	var manifest strings.Builder
	var pods []string
	for _, k := range f.kinds {
		if k.only != "" || k.name == "host-path" {
			continue // the other worker has another directory
		}
		name := k.name + "-far"
		manifest.WriteString(mounting(name, "worker2", "x-"+k.name, "cd /data/pairs-"+k.name+" && sha256sum 0 1 2"))
		pods = append(pods, name)
	}
	f.apply(t, manifest.String())
	said := f.end(t, pods)
	for _, name := range pods {
		var sums []string
		for line := range strings.Lines(said[name]) {
			sums = append(sums, strings.Fields(line)[0])
		}
		if kind := strings.TrimSuffix(name, "-far"); len(sums) != 3 || !slices.Equal(sums, f.sums[kind]) {
			t.Errorf("%s: through worker2 one reads %v, through worker1 %v", kind, sums, f.sums[kind])
		}
	}
	if soak() {
		f.nothingMounted(t, "worker2")
	}
}

// jobsOfUsers: each user sees the user's own folder alone, and a read-only storage refuses to be written.
func (f *typeLab) jobsOfUsers(t *testing.T) {
	var jobs [][2]string
	submit := func(user, name string, x task) {
		t.Cleanup(func() { f.paictl(t, "--user", user, "job", "delete", "--yes", name) })
		f.paictl(t, "--user", user, "job", "submit", writeFile(t, name+".yaml", x.document(name))).mustSucceed(t, "submit")
		jobs = append(jobs, [2]string{user, name})
	}
	for _, k := range f.kinds {
		home := "x-" + k.name + "-home"
		for _, user := range []string{"alice", "bob"} {
			if !k.has("-home") {
				continue
			}
			submit(user, "home-"+k.name, task{storages: []string{home}, command: fmt.Sprintf("d=/mnt/%s; echo of $PAI_USER_NAME > $d/note-of-$PAI_USER_NAME && ls $d | grep note; ls -d $d/../alice $d/../bob 2>/dev/null; echo END", home)})
		}
		if k.has("-ro") {
			ro := "x-" + k.name + "-ro"
			submit("alice", "ro-"+k.name, task{storages: []string{ro}, command: fmt.Sprintf("d=/mnt/%s; ls $d/pairs-%s; ( echo x > $d/written ) 2>&1; echo status $?", ro, k.name)})
		}
	}
	for _, job := range jobs {
		r := f.paictl(t, "--user", job[0], "job", "wait", job[1])
		if r.code != 0 {
			t.Errorf("%s~%s: %s%s\n%s", job[0], job[1], r.out, r.err, f.paictl(t, "--user", job[0], "job", "explain", job[1]).out)
			continue
		}
		said := f.paictl(t, "--user", job[0], "job", "logs", job[1]).out
		switch want := "note-of-" + job[0] + "\nEND\n"; {
		case strings.HasPrefix(job[1], "home-") && said != want:
			t.Errorf("%s~%s says %q, want %q", job[0], job[1], said, want)
		case strings.HasPrefix(job[1], "ro-") && (!strings.HasPrefix(said, "0\n1\n2\n") || !strings.Contains(said, "Read-only file system") || !strings.HasSuffix(said, "status 1\n")):
			t.Errorf("%s~%s says %q", job[0], job[1], said)
		}
	}
}

// secretsHidden looks where what storages are mounted with likes to be, while all are mounted.
func (f *typeLab) secretsHidden(t *testing.T) {
	var manifest strings.Builder
	var pods []string
	for _, k := range f.kinds {
		if k.secret == nil {
			continue
		}
		manifest.WriteString(mounting(k.name+"-held", "worker1", "x-"+k.name, "sleep 3600"))
		pods = append(pods, k.name+"-held")
	}
	f.apply(t, manifest.String())
	for _, p := range pods {
		f.ready(t, p)
	}
	texts := map[string]string{
		"ConfigMaps":  f.kubectl(t, "get", "configmaps", "-A", "-o", "yaml").out,
		"pods":        f.kubectl(t, "get", "pods", "-A", "-o", "yaml").out,
		"events":      f.kubectl(t, "get", "events", "-A", "-o", "yaml").out,
		"agents":      f.typed(t, "service", "logs", "-n", "node-agent").out,
		"processes":   f.on(t, "worker1", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '"),
		"mounts":      f.on(t, "worker1", "cat /proc/mounts"),
		"files":       f.on(t, "worker1", "cd /var/lib/pai-storage && find . -type f -size -1000k ! -path './bin/*' -print -exec cat {} +; echo end"),
		"kubelet":     f.on(t, "worker1", "cat /var/log/pai/kubelet.log"),
		"REST server": run(t, nil, "cat", filepath.Join(f.last.StateDir, "rest-server.log")).out,
	}
	for name, text := range texts {
		for _, secret := range []string{azuriteKey, s3Password} {
			if strings.Contains(text, secret) || text == "" {
				t.Errorf("%s: a secret is there, or nothing is (%d bytes)", name, len(text))
			}
		}
		if strings.Contains(text, "="+smbPassword) { // it is short: only where it is an option's value
			t.Errorf("%s: the SMB password is there", name)
		}
	}
	f.kubectl(t, append([]string{"delete", "pod", "--wait=true"}, pods...)...).mustSucceed(t, "delete pods")
	f.nothingMounted(t, "worker1")
}

// wrongSecrets: the user is told that the secret is wrong.
func (f *typeLab) wrongSecrets(t *testing.T) {
	var jobs []string
	want := map[string]string{}
	for _, k := range f.kinds {
		if k.wrong == "" {
			continue
		}
		name := "w-" + k.name
		wrong := "wrong"
		if k.wrong == "accountkey" {
			wrong = base64.StdEncoding.EncodeToString([]byte("wrong wrong wrong wrong"))
		}
		f.secretOf(t, k, name, wrong)
		f.declare(t, k.claim(name, name, false, ""))
		f.bound(t, name)
		f.begin(t, name, task{storages: []string{name}})
		jobs = append(jobs, name)
		want[name] = k.refused
	}
	f.told(t, jobs, want)
}

// told waits until the first thing that is said about each job has the expected code.
func (f *typeLab) told(t *testing.T, jobs []string, want map[string]string) {
	t.Helper()
	began := time.Now()
	for _, job := range jobs {
		var last explanation
		await.Until(t, job+" says "+want[job], func() bool {
			last = f.explain(t, job)
			return len(last.Findings) > 0 && strings.Contains(want[job], last.Findings[0].Code)
		})
		t.Logf("%5.1f s  %s", time.Since(began).Seconds(), last.Findings[0].Line)
	}
}
