package system

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/fileserver"
)

func soak() bool { return os.Getenv("PAI_SOAK") != "" }

// TestSystem is one story on one cluster: what comes later uses what came before.
func TestSystem(t *testing.T) {
	need(t)
	before := machine(t)
	c := newCluster(t, "system")
	c.up(t, "--workers", "2")
	t.Run("fixed interface", func(t *testing.T) { fixedInterface(t, c) })
	t.Run("tour", func(t *testing.T) { tour(t, c) })
	t.Run("two workers", func(t *testing.T) { twoWorkers(t, c) })
	t.Run("kubectl logs and exec", func(t *testing.T) { logsAndExec(t, c) })
	t.Run("pods reach each other", func(t *testing.T) { podNetwork(t, c) })
	t.Run("clients outside the cluster's nodes are refused", func(t *testing.T) { foreignClients(t, c) })
	t.Run("up is idempotent", func(t *testing.T) { idempotent(t, c) })
	t.Run("same name, other cluster", func(t *testing.T) { otherConfiguration(t, c) })
	t.Run("existing cluster without root", func(t *testing.T) { existing(t, c) })
	t.Run("a second cluster beside it, killed half-way", func(t *testing.T) { second(t, c) })
	t.Run("killed processes come back", func(t *testing.T) { kills(t, c) })
	t.Run("killed supervisor", func(t *testing.T) { killedSupervisor(t, c) })
	t.Run("down keeps what is stored", func(t *testing.T) { downAndUp(t, c) })
	for _, program := range []string{"qemu-system", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "rest-server", "paictl"} {
		if !strings.Contains(c.processes(t), program) {
			t.Errorf("%s is not seen to run:\n%s", program, c.processes(t))
		}
	}
	c.paictl(t, "down", "--name", c.name, "--purge").mustSucceed(t, "down --purge")
	if after := machine(t); after != before {
		t.Errorf("the machine before:\n%s\nand after:\n%s", before, after)
	}
	if left := c.processes(t); left != "" {
		t.Errorf("processes of the cluster are left:\n%s", left)
	}
}

// processes are those of the cluster: each names a file of its state. Others may run beside it.
func (c *cluster) processes(t *testing.T) string {
	t.Helper()
	return run(t, nil, "sh", "-c", `ps -e -o args | grep -F -- "$0" | grep -v grep`, c.dir).out
}

// machine is what a cluster could leave behind on this machine.
func machine(t *testing.T) string {
	t.Helper()
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	namespaces, _ := filepath.Glob("/run/netns/*")
	return fmt.Sprintf("links %v\n%d mounts\nnamespaces %v", names, strings.Count(string(mounts), "\n"), namespaces)
}

func fixedInterface(t *testing.T, c *cluster) {
	s := c.status(t)
	if !s.Ready || s.API == "" || s.AdminUser == "" || len(s.Workers) != 2 {
		t.Errorf("status = %+v", s)
	}
	for _, file := range []string{s.Kubeconfig, s.AdminPasswordFile} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if _, err := exec.LookPath(s.Kubectl); err != nil {
		t.Error(err)
	}
	for i, want := range []string{"10.0.0.1", "10.0.0.2"} {
		if s.Workers[i].Address != want || !s.Workers[i].Ready {
			t.Errorf("worker %d: %+v", i+1, s.Workers[i])
		}
	}
	out := c.kubectl(t, "get", "nodes", "--no-headers").mustSucceed(t, "kubectl get nodes").out
	if strings.Count(out, " Ready ") != 2 || !strings.Contains(out, "v1.37") {
		t.Errorf("kubectl get nodes:\n%s", out)
	}
	password, err := os.ReadFile(s.AdminPasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(password))
	if listing := run(t, nil, "ps", "-e", "-o", "args").out; strings.Contains(listing, secret) {
		t.Error("the administrator's password is in the list of processes")
	}
	logs := run(t, nil, "grep", "-rlF", "--include=*.log", secret, s.StateDir)
	if logs.out != "" {
		t.Errorf("the administrator's password is in %s", logs.out)
	}
}

// tour runs the tour: it asserts every step itself, and stops at the first that is not as it should be.
func tour(t *testing.T, c *cluster) {
	r := run(t, c.env, "examples/tour/tour.sh", c.name)
	if r.code != 0 {
		t.Fatalf("the tour fails:\n%s%s", r.out, r.err)
	}
	t.Log(r.out)
	for _, want := range []string{"type nfs4", "vers=4.1", "Read-only file system", "alice/note-of-alice.txt", "bob/note-of-bob.txt"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the tour's output lacks %q", want)
		}
	}
}

// pod is a pod that runs a shell command with the tour's storage on /data.
func pod(name, node, command string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  restartPolicy: Never
  nodeSelector: {kubernetes.io/hostname: %[2]s}
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: pai.local/busybox:1
    command: [sh, -c, %[3]q]
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: nfs-storage}}]
`, name, node, command)
}

// phase is that of a pod; "" where it is not known, because there is no such pod or nobody answers.
func (c *cluster) phase(t testing.TB, pod string) corev1.PodPhase {
	t.Helper()
	p, err := c.client(t).CoreV1().Pods("default").Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return p.Status.Phase
}

// ended waits for a pod's end.
func (c *cluster) ended(t testing.TB, pod string) {
	t.Helper()
	await.Until(t, pod+" ends", func() bool {
		phase := c.phase(t, pod)
		return phase == corev1.PodSucceeded || phase == corev1.PodFailed
	})
}

// ready waits until a pod of the jobs' namespace is ready.
func (c *cluster) ready(t testing.TB, pod string) {
	t.Helper()
	client := c.client(t)
	await.Until(t, pod+" is ready", func() bool {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), pod, metav1.GetOptions{})
		return err == nil && podReady(p)
	})
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// done waits for a pod's end and returns what it said.
func (c *cluster) done(t *testing.T, pod string) string {
	t.Helper()
	c.ended(t, pod)
	return c.kubectl(t, "logs", pod).mustSucceed(t, "kubectl logs").out
}

// twoTasks asks for so many processors that each worker has room for one task: the services have a part of its two.
const twoTasks = `protocolVersion: 2
name: both-workers
type: job
prerequisites: [{name: busybox, type: dockerimage, uri: "pai.local/busybox:1"}]
taskRoles:
  main:
    instances: 2
    dockerImage: busybox
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands: ['date > /data/task-$PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX.txt']
extras: {storages: [{name: nfs-storage, mountPath: /data}]}
`

func twoWorkers(t *testing.T, c *cluster) {
	file := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(file, []byte(twoTasks), 0o600); err != nil {
		t.Fatal(err)
	}
	c.asAlice(t, "job", "submit", "--wait", file).mustSucceed(t, "a job with two tasks")
	nodes := c.kubectl(t, "get", "pods", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\n"}{end}`).mustSucceed(t, "kubectl get pods").out
	for _, worker := range []string{"worker1", "worker2"} {
		if !strings.Contains(nodes, " "+worker+"\n") {
			t.Errorf("no task ran on %s:\n%s", worker, nodes)
		}
	}
	files := c.paictl(t, "node", "exec", "--name", c.name, "worker1", "--", "ls", "/share/data").mustSucceed(t, "node exec").out
	if !strings.Contains(files, "task-0.txt") || !strings.Contains(files, "task-1.txt") {
		t.Errorf("the tasks' files on the server: %s", files)
	}
	c.apply(t, pod("writer", "worker1", "echo through worker1 > /data/both.txt && sync && mount | grep /data"))
	if out := c.done(t, "writer"); !strings.Contains(out, "type nfs4") {
		t.Errorf("writer: %s", out)
	}
	c.apply(t, pod("reader", "worker2", "cat /data/both.txt"))
	if out := c.done(t, "reader"); out != "through worker1\n" {
		t.Errorf("reader: %q", out)
	}
	c.kubectl(t, "delete", "pod", "writer", "reader", "--wait=false").mustSucceed(t, "delete")
}

func logsAndExec(t *testing.T, c *cluster) {
	c.apply(t, pod("shell", "worker2", "echo ready; exec sleep 600"))
	c.ready(t, "shell")
	if out := c.kubectl(t, "logs", "shell").mustSucceed(t, "kubectl logs").out; out != "ready\n" {
		t.Errorf("logs = %q", out)
	}
	out := c.kubectl(t, "exec", "shell", "--", "sh", "-c", "cat /data/both.txt; echo to-stderr >&2").mustSucceed(t, "kubectl exec")
	if out.out != "through worker1\n" || !strings.Contains(out.err, "to-stderr") {
		t.Errorf("exec = %+v", out)
	}
}

func podNetwork(t *testing.T, c *cluster) {
	c.apply(t, pod("web", "worker1", "mkdir /www && echo hello from worker1 > /www/index.html && exec httpd -f -p 8080 -h /www"))
	c.ready(t, "web")
	address := c.kubectl(t, "get", "pod", "web", "-o", "jsonpath={.status.podIP}").mustSucceed(t, "get").out
	fetch := func(url string) result { return c.kubectl(t, "exec", "shell", "--", "wget", "-q", "-O", "-", url) }
	await.Until(t, "a pod on worker2 reaches one on worker1", func() bool {
		return fetch("http://"+address+":8080/").out == "hello from worker1\n"
	})
	// And by a service, which is kube-proxy's part.
	c.apply(t, "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n")
	service := c.kubectl(t, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}").mustSucceed(t, "get service").out
	await.Until(t, "the service answers", func() bool {
		return fetch("http://"+service+"/").out == "hello from worker1\n"
	})
}

// envProbe makes this test program an NFS client in the cluster's network, with the address that it names.
const envProbe = "PAI_SYSTEM_TEST_PROBE_FROM"

func TestMain(m *testing.M) {
	from := os.Getenv(envProbe)
	if from == "" {
		os.Exit(m.Run())
	}
	err := fileserver.ProbeNFSFrom(context.Background(), netip.MustParseAddr(from), "10.0.0.1:2049", "data")
	fmt.Printf("%v\n", err)
	os.Exit(0)
}

// probed is what the NFS server answers to a probe. A server on a busy worker may need longer than a probe waits: then it is asked again.
func probed(t *testing.T, probe func() result) string {
	t.Helper()
	said := ""
	await.Until(t, "the NFS server answers a probe", func() bool {
		said = probe().out
		return said == "<nil>\n" || strings.Contains(said, "NFS4ERR")
	})
	return said
}

// foreignClients: a pod has an address of its own, so it cannot go around the kernel's mounts and their access
// control, neither with mount nor with an NFS client of its own.
func foreignClients(t *testing.T, c *cluster) {
	script := `mkdir -p /m && mount -t nfs -o nfsvers=4.1,soft,timeo=20,retrans=1 10.0.0.1:/data /m; echo exit $?`
	r := c.kubectl(t, "exec", "shell", "--", "sh", "-c", script)
	if strings.Contains(r.out, "exit 0") || !strings.Contains(r.out, "exit ") {
		t.Errorf("a pod mounted the export itself: %+v", r)
	}
	supervisor := fmt.Sprint(c.status(t).pid("supervisor"))
	inside := func(env string, args ...string) result {
		return run(t, []string{env}, "nsenter", append([]string{"--target", supervisor, "--net"}, args...)...)
	}
	const podAddress = "10.244.99.1"
	inside("A=b", "ip", "addr", "add", podAddress+"/32", "dev", "lo").mustSucceed(t, "ip addr add")
	defer inside("A=b", "ip", "addr", "del", podAddress+"/32", "dev", "lo")
	for _, from := range []string{"10.0.0.254", podAddress} { // a machine of the nodes' network that is no node, and a pod
		if said := probed(t, func() result { return inside(envProbe+"="+from, os.Args[0]) }); !strings.Contains(said, "NFS4ERR") {
			t.Errorf("%s is served: %s", from, said)
		}
	}
}

func idempotent(t *testing.T, c *cluster) {
	before := c.status(t)
	after := c.up(t)
	for _, p := range before.Processes {
		if after.pid(p.Name) != p.PID {
			t.Errorf("%s was process %d and is %d", p.Name, p.PID, after.pid(p.Name))
		}
	}
	if len(after.Workers) != 2 {
		t.Errorf("up without flags changed the cluster: %+v", after.Workers)
	}
}

func otherConfiguration(t *testing.T, c *cluster) {
	c.paictl(t, "up", "--name", c.name, "--workers", "1").mustRefuse(t, "other number of workers", 1,
		"runs already", "2 workers, not 1", "paictl down --name system", "--name")
	if !c.status(t).Ready {
		t.Error("a refused up changed something")
	}
}

// existing uses the cluster as somebody without root would use one of theirs.
func existing(t *testing.T, c *cluster) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "pai-ext-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"paictl", "rest-server"} {
		run(t, nil, "cp", filepath.Join(root(t), "bin", name), dir).mustSucceed(t, "cp")
	}
	run(t, nil, "cp", c.last.Kubeconfig, filepath.Join(dir, "config")).mustSucceed(t, "cp")
	run(t, nil, "chown", "-R", fmt.Sprint(nobody), dir).mustSucceed(t, "chown")
	asNobody := func(args ...string) result {
		return run(t, []string{"PAI_STATE_DIR=" + filepath.Join(dir, "s"), "HOME=" + dir}, "setpriv",
			append([]string{fmt.Sprintf("--reuid=%d", nobody), "--clear-groups", filepath.Join(dir, "paictl")}, args...)...)
	}
	asNobody("up", "--name", "ext").mustRefuse(t, "up without root", 1, "not root", "sudo", "--kubeconfig")
	if _, err := os.Stat(filepath.Join(dir, "s")); err == nil {
		t.Error("a refused up left its state directory")
	}
	r := asNobody("up", "--name", "ext", "--kubeconfig", filepath.Join(dir, "config"), "--output", "json")
	defer asNobody("down", "--name", "ext", "--purge")
	r.mustSucceed(t, "up --kubeconfig")
	if !strings.Contains(r.err, "missing") || !strings.Contains(r.err, "nfs-common on worker1, worker2") {
		t.Errorf("it does not say what is missing:\n%s", r.err)
	}
	other := (&cluster{}).decode(t, r.out)
	if r := asNobody("storage", "list", "--server", other.API); r.code != 3 {
		t.Errorf("an anonymous caller of the second REST server: %+v", r)
	}
	asNobody("up", "--name", "ext", "--kubeconfig", filepath.Join(dir, "config")).mustSucceed(t, "up --kubeconfig again")
	supervisor := other.pid("supervisor")
	if err := syscall.Kill(supervisor, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	asNobody("up", "--name", "ext").mustSucceed(t, "up after the supervisor's death")
	asNobody("down", "--name", "ext").mustSucceed(t, "down")
	if left := run(t, nil, "pgrep", "-u", fmt.Sprint(nobody), "-f", dir); left.out != "" {
		t.Errorf("left behind: %s", left.out)
	}
}

// second starts another cluster, kills its "up" half-way, and cleans up after it.
func second(t *testing.T, c *cluster) {
	other := newCluster(t, "second")
	up := exec.Command(filepath.Join(root(t), "bin", "paictl"), "up", "--name", "second", "--worker-memory", "1536")
	up.Env = append(os.Environ(), other.env...)
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the second cluster's virtual machine runs", func() bool {
		return other.paictl(t, "status", "--name", "second").code != 4 && other.status(t).pid("worker1") != 0
	})
	other.paictl(t, "up", "--name", "second").mustRefuse(t, "a second up at the same time", 1, "is being started or stopped by process")
	pids := other.last.Processes
	_ = up.Process.Kill()
	_ = up.Wait()
	if other.last.API == c.last.API || other.last.Kubeconfig == c.last.Kubeconfig {
		t.Errorf("the clusters share something: %+v", other.last)
	}
	other.paictl(t, "down", "--name", "second", "--purge").mustSucceed(t, "down after a killed up")
	for _, p := range pids {
		if alive(p.PID) {
			t.Errorf("%s, process %d, is left behind", p.Name, p.PID)
		}
	}
	if !c.status(t).Ready {
		t.Error("the first cluster suffered")
	}
}

// kills: any process may die at any time.
func kills(t *testing.T, c *cluster) {
	rounds := 1
	if soak() {
		rounds = 3
	}
	for range rounds {
		for _, p := range c.status(t).Processes {
			if p.Name == "supervisor" {
				continue
			}
			start := time.Now()
			if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			await.Until(t, p.Name+" comes back by itself", func() bool {
				s := c.status(t)
				return s.Ready && s.pid(p.Name) != p.PID && s.pid(p.Name) != 0
			})
			t.Logf("%s: back after %s", p.Name, time.Since(start).Round(100*time.Millisecond))
		}
	}
	// A server that was just killed may take one more connection, which ends with it.
	answers := 0
	await.Until(t, "the REST server answers again and again", func() bool {
		if answers++; c.asAlice(t, "job", "list").code != 0 {
			answers = 0
		}
		return answers >= 5
	})
	c.worksStill(t, "after-kills")
}

// worksStill runs a user's job from submission to its log.
func (c *cluster) worksStill(t *testing.T, job string) {
	t.Helper()
	c.asAlice(t, "job", "submit", "--wait", "--name", job, "examples/tour/write.yaml").mustSucceed(t, "job submit")
	out := c.asAlice(t, "job", "logs", "alice~"+job).mustSucceed(t, "job logs").out
	if !strings.Contains(out, "written by "+job+" of alice") {
		t.Errorf("the job's log: %s", out)
	}
}

// asAlice runs paictl as the user whom the tour has signed in.
func (c *cluster) asAlice(t *testing.T, args ...string) result {
	t.Helper()
	env := append(c.env, "XDG_CONFIG_HOME="+filepath.Join(c.last.StateDir, "tour"), "PAI_SERVER="+c.last.API)
	return run(t, env, filepath.Join(root(t), "bin", "paictl"), append([]string{"--user", "alice"}, args...)...)
}

func killedSupervisor(t *testing.T, c *cluster) {
	before := c.status(t)
	if err := syscall.Kill(before.pid("supervisor"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "everything dies with the supervisor", func() bool {
		for _, p := range before.Processes {
			if alive(p.PID) {
				return false
			}
		}
		return true
	})
	c.paictl(t, "status", "--name", c.name).mustRefuse(t, "status of a dead cluster", 1)
	after := c.up(t)
	if !after.Ready || after.API != before.API {
		t.Errorf("after the repair: %+v", after)
	}
	c.worksStill(t, "after-supervisor")
}

func downAndUp(t *testing.T, c *cluster) {
	before := c.status(t)
	c.paictl(t, "down", "--name", c.name).mustSucceed(t, "down")
	for _, p := range before.Processes {
		if alive(p.PID) {
			t.Errorf("%s, process %d, is left behind", p.Name, p.PID)
		}
	}
	c.paictl(t, "down", "--name", c.name).mustSucceed(t, "down twice")
	// As after a reboot: the number in the file belongs to a process of another boot.
	stale := fmt.Sprintf(`{"pid":%d,"start":"1","boot":"an earlier one"}`, os.Getpid())
	if err := os.WriteFile(filepath.Join(before.StateDir, "supervisor.json"), []byte(stale), 0o600); err != nil {
		t.Fatal(err)
	}
	c.up(t)
	out := c.paictl(t, "node", "exec", "--name", c.name, "worker1", "--", "cat", "/share/data/both.txt").mustSucceed(t, "node exec").out
	if out != "through worker1\n" {
		t.Errorf("the storage server's file: %q", out)
	}
	c.worksStill(t, "after-down")
}
