package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pai-storage/pai-storage/internal/await"
)

// The SMB server of the laboratory is Samba, beside the control plane in the cluster's network.
const (
	sambaServer   = "10.0.0.254"
	sambaUser     = "daemon"
	sambaPassword = "open-sesame"
)

// samba runs an SMB server with the share "data" until the test ends. It can be stopped before.
func (f *faultLab) samba(t *testing.T) (stop func()) {
	t.Helper()
	run(t, nil, "hack/install-packages", "samba").mustSucceed(t, "install samba")
	dir, err := os.MkdirTemp("", "smb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // the share's user goes through it
		t.Fatal(err)
	}
	for _, d := range []string{"share", "private", "lock", "state", "cache", "pid", "ncalrpc", "log"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "share"), 0o777); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "smb.conf")
	text := fmt.Sprintf(`[global]
server role = standalone server
map to guest = never
disable netbios = yes
smb ports = 445
load printers = no
private dir = %[1]s/private
lock directory = %[1]s/lock
state directory = %[1]s/state
cache directory = %[1]s/cache
pid directory = %[1]s/pid
ncalrpc dir = %[1]s/ncalrpc
log file = %[1]s/log/smbd
[data]
path = %[1]s/share
read only = no
`, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "sh", "-c", fmt.Sprintf("printf '%%s\\n%%s\\n' %[1]s %[1]s | smbpasswd -c %[2]s -s -a %[3]s", sambaPassword, config, sambaUser)).mustSucceed(t, "smbpasswd")
	etcd := f.status(t).pid("etcd")
	server := exec.Command("nsenter", "-t", fmt.Sprint(etcd), "-n", "smbd", "--foreground", "--no-process-group", "-s", config)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that is killed leaves no server behind
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = server.Process.Kill()
			_ = server.Wait()
		}
	}
	t.Cleanup(stop)
	await.Until(t, "the SMB server listens", func() bool {
		return run(t, nil, "nsenter", "-t", fmt.Sprint(etcd), "-n", "bash", "-c", "exec 3<>/dev/tcp/"+sambaServer+"/445").code == 0
	})
	return stop
}

// smbStorage is a storage on the SMB server, mounted with a Secret that has the given fields.
func (f *faultLab) smbStorage(t *testing.T, name, share, kind string, fields ...string) {
	t.Helper()
	args := []string{"create", "secret", "generic", name, "--type=" + kind}
	for _, field := range fields {
		args = append(args, "--from-literal="+field)
	}
	t.Cleanup(func() { f.kubectl(t, "delete", "secret", name) })
	f.kubectl(t, args...).mustSucceed(t, "secret")
	f.declare(t, claim{name: name, source: fmt.Sprintf(`flexVolume: {driver: %q, secretRef: {name: %s, namespace: default}, options: {source: "//%s/%s"}}`,
		smbDriver, name, sambaServer, share)})
	f.bound(t, name)
}

const smbDriver = "microsoft.com/smb"

// sambaFaults need a server, which the set-up runs.
func sambaFaults() []fault {
	user, password := "username="+sambaUser, "password="+sambaPassword
	make := func(name, share, kind string, fields ...string) func(*testing.T, *faultLab) {
		return func(t *testing.T, f *faultLab) { f.smbStorage(t, name, share, kind, fields...) }
	}
	on := func(name string) task { return task{storages: []string{name}} }
	return []fault{
		{name: "wrong password", code: "STO-308", object: "secret default/m-password", job: on("m-password"), cause: make("m-password", "data", smbDriver, user, "password=wrong")},
		{name: "share not found", code: "STO-307", object: "storage m-share", job: on("m-share"), cause: make("m-share", "nothing", smbDriver, user, password)},
		{name: "Secret lacks a key", code: "STO-502", object: "secret default/m-key", job: on("m-key"), cause: make("m-key", "data", smbDriver, user)},
		{name: "Secret has the wrong type", code: "STO-503", object: "secret default/m-type", job: on("m-type"), cause: make("m-type", "data", "Opaque", user, password)},
		{name: "mount.cifs is missing", code: "STO-202", object: "node worker2", job: on("m-helper"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				t.Cleanup(func() { f.kubectl(t, "uncordon", "worker1") })
				f.kubectl(t, "cordon", "worker1").mustSucceed(t, "cordon")
				f.hide(t, "/sbin/mount.cifs")
				f.smbStorage(t, "m-helper", "data", smbDriver, user, password)
			}},
		{name: "SMB server is stopped", code: "STO-302", object: "server " + sambaServer, job: on("m-stopped"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				f.stopSamba()
				f.smbStorage(t, "m-stopped", "data", smbDriver, user, password)
			}},
	}
}

// sambaWorks: what the faults are faults of does work.
func (f *faultLab) sambaWorks(t *testing.T) {
	f.stopSamba = f.samba(t)
	f.flexDriver(t)
	f.smbStorage(t, "m-works", "data", smbDriver, "username="+sambaUser, "password="+sambaPassword)
	f.begin(t, "smb-works", task{storages: []string{"m-works"}, command: "echo hello > /mnt/m-works/file && grep -q cifs /proc/mounts && cat /mnt/m-works/file"})
	f.becomes(t, "smb-works", "SUCCEEDED")
	if said := f.paictl(t, "job", "logs", "smb-works").out; said != "hello\n" {
		t.Errorf("the task said %q", said)
	}
}
