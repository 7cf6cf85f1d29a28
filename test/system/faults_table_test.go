package system

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/await"
)

// claimFaults keep a claim from being bound, or take it away.
func claimFaults() []fault {
	declare := func(x claim) func(*testing.T, *faultLab) {
		return func(t *testing.T, f *faultLab) { f.declare(t, x) }
	}
	on := func(name string) task { return task{storages: []string{name}} }
	return []fault{
		{name: "no volume has the labels", code: "STO-103", object: "storage c-selector", job: on("c-selector"), idle: true,
			cause: declare(claim{name: "c-selector"})},
		{name: "volume too small", code: "STO-104", object: "storage c-size", job: on("c-size"), idle: true,
			cause: declare(claim{name: "c-size", source: nfs("/data"), spec: `storageClassName: "", selector: {matchLabels: {storage: c-size}}, resources: {requests: {storage: 5Gi}}`})},
		{name: "access modes", code: "STO-105", object: "storage c-modes", job: on("c-modes"), idle: true,
			cause: declare(claim{name: "c-modes", source: nfs("/data"), spec: `storageClassName: "", selector: {matchLabels: {storage: c-modes}}, accessModes: [ReadWriteOncePod]`})},
		{name: "storage class differs", code: "STO-106", object: "storage c-class", job: on("c-class"), idle: true,
			cause: declare(claim{name: "c-class", source: nfs("/data"), volume: "storageClassName: slow", spec: `storageClassName: "", selector: {matchLabels: {storage: c-class}}`})},
		{name: "storage class does not exist", code: "STO-106", object: "storage c-noclass", job: on("c-noclass"), idle: true,
			cause: declare(claim{name: "c-noclass", spec: `storageClassName: gold`})},
		{name: "volume was released", code: "STO-107", object: "storage c-released", job: on("c-released"), idle: true, cause: released},
		{name: "volume belongs to another claim", code: "STO-108", object: "storage c-taken", job: on("c-taken"), idle: true,
			cause: func(t *testing.T, f *faultLab) {
				f.declare(t, claim{name: "c-owner", source: nfs("/data")})
				f.bound(t, "c-owner")
				f.declare(t, claim{name: "c-taken", spec: `storageClassName: "", selector: {matchLabels: {storage: c-owner}}`})
			}},
		{name: "claim is gone", code: "STO-101", object: "storage c-gone", job: on("c-gone"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				f.declare(t, claim{name: "c-gone", source: nfs("/data")})
				f.cordon(t)
			},
			after: func(t *testing.T, f *faultLab, _ string) { f.kubectl(t, "delete", "pvc", "c-gone", "--wait=false") }},
		{name: "claim is being removed", code: "STO-109", object: "storage c-leaving", job: on("c-leaving"), idle: true,
			cause: func(t *testing.T, f *faultLab) {
				f.declare(t, claim{name: "c-leaving", source: nfs("/data")})
				f.bound(t, "c-leaving")
				f.kubectl(t, "patch", "pvc", "c-leaving", "--type=merge", "-p", `{"metadata":{"finalizers":["pai.storage/test"]}}`).mustSucceed(t, "finalizer")
				t.Cleanup(func() {
					f.kubectl(t, "patch", "pvc", "c-leaving", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
				})
				f.kubectl(t, "delete", "pvc", "c-leaving", "--wait=false")
			}},
		{name: "volume is gone", code: "STO-110", object: "storage c-lost", job: on("c-lost"), idle: true,
			cause: func(t *testing.T, f *faultLab) {
				f.declare(t, claim{name: "c-lost", source: nfs("/data")})
				f.bound(t, "c-lost")
				f.kubectl(t, "delete", "pv", "c-lost-pv", "--wait=false")
				f.kubectl(t, "patch", "pv", "c-lost-pv", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
				await.Until(t, "the claim is lost", func() bool {
					return f.claimPhase(t, "c-lost") == corev1.ClaimLost
				})
			}},
		{name: "named volume does not exist", code: "STO-111", object: "storage c-named", job: on("c-named"), idle: true,
			cause: declare(claim{name: "c-named", spec: `storageClassName: "", volumeName: nowhere`})},
	}
}

// released leaves a volume behind that belonged to a claim of the same name.
func released(t *testing.T, f *faultLab) {
	old := claim{name: "c-released", source: nfs("/data")}
	f.declare(t, old)
	f.bound(t, old.name)
	f.kubectl(t, "delete", "pvc", old.name, "--wait=true")
	await.Until(t, "the volume is released", func() bool {
		v, err := f.client(t).CoreV1().PersistentVolumes().Get(t.Context(), "c-released-pv", metav1.GetOptions{})
		return err == nil && v.Status.Phase == corev1.VolumeReleased
	})
	f.declare(t, claim{name: old.name})
}

// cordon keeps tasks off all workers.
func (f *faultLab) cordon(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { f.kubectl(t, "uncordon", "worker1", "worker2") })
	f.kubectl(t, "cordon", "worker1", "worker2").mustSucceed(t, "cordon")
}

// workerFaults are about what workers lack.
func workerFaults() []fault {
	source := func(name, source string) func(*testing.T, *faultLab) {
		return func(t *testing.T, f *faultLab) { f.declare(t, claim{name: name, source: source}) }
	}
	const either = "node worker1 or node worker2"
	on := func(name string) task { return task{storages: []string{name}} }
	return []fault{
		{name: "mount.nfs is missing", code: "STO-201", object: "node worker2", job: on("w-nfs"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				t.Cleanup(func() { f.kubectl(t, "uncordon", "worker1") })
				f.kubectl(t, "cordon", "worker1").mustSucceed(t, "cordon")
				f.declare(t, claim{name: "w-nfs", source: nfs("/data"), options: version41})
				// Else the nodes' agents say within seconds that the workers cannot, and no task gets there.
				t.Cleanup(func() { f.kubectl(t, "annotate", "nodes", "--all", "pai.storage/pinned-") })
				f.kubectl(t, "annotate", "nodes", "--all", "--overwrite", "pai.storage/pinned=nfs").mustSucceed(t, "annotate")
				f.hide(t, "/sbin/mount.nfs")
			}},
		{name: "FlexVolume driver is missing", code: "STO-204", object: either, job: on("w-flex"),
			cause: source("w-flex", `flexVolume: {driver: "acme/tape", options: {drive: one}}`)},
		{name: "CSI driver is not registered", code: "STO-205", object: either, job: on("w-csi"),
			cause: source("w-csi", `csi: {driver: nfs.csi.k8s.io, volumeHandle: h, volumeAttributes: {server: 10.0.0.1, share: /data}}`)},
		{name: "no worker can mount", code: "STO-206", object: `nfs storage "w-nobody"`, job: on("w-nobody"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				f.declare(t, claim{name: "w-nobody", source: nfs("/data"), options: version41})
				f.bound(t, "w-nobody")
				t.Cleanup(func() {
					f.kubectl(t, "label", "nodes", "--all", "--overwrite", "pai.storage/can-mount-nfs=true")
					f.kubectl(t, "annotate", "nodes", "--all", "pai.storage/pinned-")
				})
				// Else the nodes' agents set them right again.
				f.kubectl(t, "annotate", "nodes", "--all", "--overwrite", "pai.storage/pinned=nfs").mustSucceed(t, "annotate")
				f.kubectl(t, "label", "nodes", "--all", "--overwrite", "pai.storage/can-mount-nfs=false").mustSucceed(t, "label")
			}},
		{name: "volume is on a worker that is not there", code: "STO-208", object: `local storage "w-local"`, job: on("w-local"), idle: true,
			cause: source("w-local", `local: {path: /tmp}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [worker9]}]}]}}`)},
		{name: "directory is not on the worker", code: "STO-407", object: either, job: on("w-path"),
			cause: source("w-path", `hostPath: {path: /nowhere/at/all, type: Directory}`)},
		{name: "FlexVolume's Secret is missing", code: "STO-501", object: "secret default/w-secret", job: on("w-nosecret"),
			cause: func(t *testing.T, f *faultLab) {
				f.flexDriver(t)
				f.declare(t, claim{name: "w-nosecret", source: `flexVolume: {driver: "microsoft.com/smb", secretRef: {name: w-secret, namespace: default}, options: {source: "//10.0.0.1/data"}}`})
			}},
	}
}

// exportFaults are what an NFS server says that is there.
func exportFaults() []fault {
	on := func(name string) task { return task{storages: []string{name}} }
	source := func(name, source, options string) func(*testing.T, *faultLab) {
		return func(t *testing.T, f *faultLab) { f.declare(t, claim{name: name, source: source, options: options}) }
	}
	return []fault{
		{name: "export not found", code: "STO-305", object: "storage e-missing", job: on("e-missing"), cause: source("e-missing", nfs("/nope"), version41)},
		{name: "bad mount option", code: "STO-311", object: "volume e-option-pv", job: on("e-option"), cause: source("e-option", nfs("/data"), version41+", frobnicate")},
		{name: "NFSv3 at a server that speaks NFSv4", code: "STO-310", object: "volume e-version-pv", job: on("e-version"),
			cause: source("e-version", nfs("/data"), "nfsvers=3, nolock"), slow: "mount.nfs tries for two minutes; the REST server asks the server itself"},
		{name: "server denies access", code: "STO-306", object: "storage e-denied", job: on("e-denied"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				f.serve(t, export{101, "denied", "true", "SecType = krb5; Access_Type = RW; Squash = No_Root_Squash;"})
				f.declare(t, claim{name: "e-denied", source: nfs("/denied"), options: version41})
			}},
	}
}

// folderFaults are about personal folders. Root is trusted by the server, or is not.
func folderFaults() []fault {
	const notRoot = "pai.local/busybox-user:1"
	personal := func(name, path, volume string) func(*testing.T, *faultLab) {
		return func(t *testing.T, f *faultLab) {
			f.declare(t, claim{name: name, source: strings.Replace(nfs(path), "}", volume+"}", 1), options: version41, labels: `share: "false"`})
			f.bound(t, name) // what a job that is submitted before is to do with it is not known yet
		}
	}
	on := func(name, image string) task { return task{storages: []string{name}, image: image} }
	return []fault{
		{name: "folder cannot be created", code: "STO-401", object: "storage f-closed", job: on("f-closed", ""), cause: personal("f-closed", "/closed", "")},
		{name: "folder cannot be created, task is not root", code: "STO-401", object: "storage f-closed-2", job: on("f-closed-2", notRoot), cause: personal("f-closed-2", "/closed", "")},
		{name: "folder is somebody else's", code: "STO-402", object: "storage f-others", job: on("f-others", notRoot), cause: personal("f-others", "/others", "")},
		{name: "folder is a link to another user's", code: "STO-403", object: "storage f-link", job: on("f-link", ""), cause: personal("f-link", "/links", "")},
		{name: "folder is missing in a read-only storage", code: "STO-405", object: "storage f-absent", job: on("f-absent", ""), cause: personal("f-absent", "/trusted", ", readOnly: true")},
		{name: "server exports read-only", code: "STO-406", object: "storage f-readonly", job: on("f-readonly", ""), cause: personal("f-readonly", "/reading", "")},
	}
}

func folderExports(t *testing.T, f *faultLab) {
	const sys = "SecType = sys; "
	f.serve(t,
		export{111, "closed", "chown root:root .; chmod 755 .", sys + "Access_Type = RW; Squash = Root_Squash;"},
		export{112, "others", "rm -rf alice; mkdir -m 700 alice; chown 4321 alice", sys + "Access_Type = RW; Squash = No_Root_Squash;"},
		export{113, "links", "rm -rf alice bob; mkdir -m 777 bob; ln -s bob alice", sys + "Access_Type = RW; Squash = No_Root_Squash;"},
		export{114, "trusted", "rm -rf *; chmod 755 .", sys + "Access_Type = RW; Squash = No_Root_Squash;"},
		export{115, "reading", "rm -rf *; chmod 777 .", sys + "Access_Type = RO; Squash = No_Root_Squash;"},
		export{116, "sticky", "rm -rf *; chmod 1777 .", sys + "Access_Type = RW; Squash = Root_Squash; Anonymous_Uid = 65534; Anonymous_Gid = 65534;"},
	)
}

// taskFaults are about resources, images, and how tasks end.
func taskFaults() []fault {
	return []fault{
		{name: "workers are busy", code: "JOB-201", object: "task role w", job: task{}, alone: true,
			cause: func(t *testing.T, f *faultLab) { f.occupy(t, "busy", task{}) }},
		{name: "workers are held up", code: "JOB-210", object: "task role w", job: task{}, alone: true,
			cause: func(t *testing.T, f *faultLab) {
				f.declare(t, claim{name: "t-missing", source: nfs("/nope"), options: version41})
				for _, job := range f.occupy(t, "stuck", task{storages: []string{"t-missing"}}) {
					await.Until(t, job+" cannot go on", func() bool {
						e := f.explain(t, job)
						return len(e.Findings) > 0 && e.Findings[0].Code == "STO-305"
					})
				}
			}},
		{name: "workers run something beside tasks", code: "JOB-202", object: "task role w", job: task{cpu: 2}, idle: true},
		{name: "no GPU anywhere", code: "JOB-202", object: "task role w", job: task{gpu: 1}, idle: true},
		{name: "no worker is large enough", code: "JOB-202", object: "task role w", job: task{cpu: 64, memory: 500000}, idle: true},
		{name: "workers take no tasks", code: "JOB-203", object: "nodes", job: task{}, alone: true, cause: func(t *testing.T, f *faultLab) { f.cordon(t) }},
		{name: "quota is used up", code: "JOB-205", object: "quota tiny", job: task{}, alone: true,
			cause: func(t *testing.T, f *faultLab) {
				t.Cleanup(func() { f.kubectl(t, "delete", "quota", "tiny") })
				f.kubectl(t, "create", "quota", "tiny", "--hard=pods=0").mustSucceed(t, "quota")
			}},
		{name: "pods are refused by admission", code: "JOB-206", object: "task role w", job: task{}, alone: true,
			cause: func(t *testing.T, f *faultLab) {
				t.Cleanup(func() { f.kubectl(t, "label", "namespace", "default", "pod-security.kubernetes.io/enforce-") })
				f.kubectl(t, "label", "namespace", "default", "--overwrite", "pod-security.kubernetes.io/enforce=restricted").mustSucceed(t, "label")
			}},
		{name: "registry does not answer", code: "JOB-302", object: "image pai.local/nothere:1", job: task{image: "pai.local/nothere:1"}},
		{name: "invalid image name", code: "JOB-304", object: "image Not/AN/Image:::", job: task{image: "Not/AN/Image:::"}},
		{name: "image without a shell", code: "JOB-402", object: "image pai.local/pause:1", job: task{image: "pai.local/pause:1"}},
		{name: "out of memory", code: "JOB-405", object: "task w[0]", job: task{memory: 32, command: "tail /dev/zero"}},
		{name: "exit code", code: "JOB-406", object: "task w[0]", job: task{command: "exit 3"}},
	}
}

// serverFaults are servers that are not there. They come last, because a worker tries for two minutes to mount what does not answer.
func serverFaults() []fault {
	const slow = "mount.nfs tries for two minutes before the worker says anything; the REST server asks the server itself"
	on := func(name string) task { return task{storages: []string{name}} }
	source := func(name, source string) func(*testing.T, *faultLab) {
		return func(t *testing.T, f *faultLab) {
			f.declare(t, claim{name: name, source: source, options: version41})
			f.bound(t, name)
		}
	}
	return []fault{
		{name: "server's address is nobody's", code: "STO-303", object: "server 10.0.0.77", slow: slow, job: on("s-nobody"), cause: source("s-nobody", nfsAt("10.0.0.77", "/data"))},
		{name: "server's name is not known", code: "STO-304", object: "server no-such-host.invalid", slow: slow, job: on("s-noname"), cause: source("s-noname", nfsAt("no-such-host.invalid", "/data"))},
		{name: "server is stopped", code: "STO-302", object: "server 10.0.0.1", slow: slow, job: on("s-stopped"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				source("s-stopped", nfs("/data"))(t, f)
				t.Cleanup(func() { f.typed(t, "service", "start", "-n", "storage-manager").mustSucceed(t, "service start") })
				f.typed(t, "service", "stop", "-n", "storage-manager").mustSucceed(t, "service stop")
			}},
		{name: "packets are dropped", code: "STO-301", object: "server 10.0.0.1", slow: slow, job: on("s-dropped"), alone: true,
			cause: func(t *testing.T, f *faultLab) {
				source("s-dropped", nfs("/data"))(t, f)
				f.undo(t, "worker1", allowNFS)
				f.on(t, "worker1", dropNFS)
			}},
	}
}
