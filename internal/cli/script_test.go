package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestMain lets the scripts run paictl as a program of its own. Without the race detector: it starts hundreds of times, and a start with it costs
// half a second. What runs at the same time in it is tested in this program.
func TestMain(m *testing.M) {
	if os.Getenv(signalHelper) != "" {
		waitForSignals()
		return
	}
	dir, err := os.MkdirTemp("", "paictl-")
	if err != nil {
		panic(err)
	}
	build := exec.Command("go", "build", "-o", dir, "../../cmd/paictl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		panic(fmt.Sprintf("build paictl: %v", err))
	}
	os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// TestScripts runs what a user could type, in testdata/script, against the true server over an in-memory Kubernetes.
//
// Besides the usual commands, scripts have "bind STORAGE", which waits for the claim and binds it, "finish USER JOB CODE", which lets the job's tasks end, "json", which
// checks that the last command printed one document, "label STORAGE KEY=VALUE", which labels its claim, "mode 0600 FILE", which checks
// permissions, "report NODE ...", which is what a worker's agent says (see [report]), and "token USER FILE", which signs a user in elsewhere.
func TestScripts(t *testing.T) {
	runScripts(t, "script", func(tb testing.TB, env *testscript.Env) *servertest.Server { return servertest.Start(tb, nil) })
}

// TestJobScripts runs those in testdata/jobs, where the jobs are those of [someJobs], in states that no in-memory Kubernetes comes to.
//
// They also have "become USER JOB STATE", which changes one.
func TestJobScripts(t *testing.T) {
	runScripts(t, "jobs", func(tb testing.TB, env *testscript.Env) *servertest.Server {
		jobs := someJobs()
		env.Values["jobs"] = jobs
		return servertest.StartJobs(tb, nil, jobs)
	})
}

func runScripts(t *testing.T, dir string, start func(testing.TB, *testscript.Env) *servertest.Server) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", dir),
		Setup: func(env *testscript.Env) error {
			s := start(env.T().(testing.TB), env)
			env.Values["server"], env.Values["test"] = s, env.T().(testing.TB)
			env.Setenv("PAI_SERVER", s.URL)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			for _, user := range []string{"admin", "alice", "bob"} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, user+".password"), []byte("secret-"+user+"\n"), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"become": become, "bind": bind, "finish": finish, "json": oneDocument, "label": label, "mode": mode, "report": report, "token": writeToken},
	})
}

// someJobs are one of alice's in each of several states, and one of bob's. The later in the list, the older.
func someJobs() *servertest.Jobs {
	jobs := &servertest.Jobs{}
	code := 3
	mount := pai.Finding{
		Code: "STO-301", Object: "node worker2", Message: "node worker2 cannot mount storage readonly\x1b[31m", Fix: "run: apt-get install nfs-common", Who: pai.FixedByAdministrator,
		Tasks: []string{"worker[0]", "worker[1]"}, Evidence: "mount failed\nexit status 32\n", Since: time.Now(),
	}
	ended := pai.Finding{Code: "JOB-201", Message: "task worker[0] ended with exit code 3", Fix: "see its log", Who: pai.FixedByUser}
	for i, r := range []servertest.Record{
		{Job: pai.Job{ID: pai.JobID{User: "alice", Name: "stuck"}, State: pai.JobWaiting, Priority: "prod", Attempt: 2},
			Storages: []pai.StorageName{"personal", "readonly"}, Findings: []pai.Finding{mount, {Code: "JOB-101", Message: "the image is pulled", Who: pai.FixedByWaiting}},
			Config: "name: stuck # as it was\n", Log: "epoch 0\n", Events: []pai.JobEvent{
				{Role: "worker", Task: 1, Type: "Warning", Reason: "FailedMount", Message: "mount failed", Last: time.Now(), Count: 3},
				{Task: -1, Type: "Normal", Reason: "Scheduled", Message: "assigned", Last: time.Now(), Count: 1},
			}},
		{Job: pai.Job{ID: pai.JobID{User: "alice", Name: "train"}, State: pai.JobRunning, Tags: []string{"nightly"}}, Storages: []pai.StorageName{"personal"}, Log: "epoch 1\n"},
		{Job: pai.Job{ID: pai.JobID{User: "alice", Name: "fine"}, State: pai.JobSucceeded, Started: time.Now().Add(-9 * time.Second), Completed: time.Now()}},
		{Job: pai.Job{ID: pai.JobID{User: "alice", Name: "broken"}, State: pai.JobFailed, ExitCode: &code, ExitRole: "worker"}, Findings: []pai.Finding{ended}},
		{Job: pai.Job{ID: pai.JobID{User: "bob", Name: "own"}, State: pai.JobRunning}},
	} {
		r.Job.Submitted, r.Job.VirtualCluster = time.Now().Add(time.Duration(-i)*time.Hour), "default"
		r.Job.Roles = []pai.RoleStatus{{Name: "worker", Tasks: []pai.TaskStatus{{State: r.Job.State}, {Index: 1, State: r.Job.State}}}}
		jobs.Put(r)
	}
	return jobs
}

// become changes the state of a job and its tasks, in which nothing stands in its way any more: become USER JOB STATE.
func become(ts *testscript.TestScript, _ bool, args []string) {
	jobs := ts.Value("jobs").(*servertest.Jobs)
	state := pai.JobState(args[2])
	there := jobs.Change(pai.JobID{User: pai.UserName(args[0]), Name: pai.JobName(args[1])}, func(r *servertest.Record) {
		r.Job.State, r.Findings = state, nil
		r.Job.Roles = []pai.RoleStatus{{Name: "worker", Tasks: []pai.TaskStatus{{State: state}, {Index: 1, State: state}}}}
	})
	if !there {
		ts.Fatalf("there is no job %s~%s", args[0], args[1])
	}
}

// finish lets every task of a job's first role end with an exit code, as the kubelet and the job controller would say, and waits until the server
// knows: finish USER JOB CODE.
func finish(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("server").(*servertest.Server)
	id := pai.JobID{User: pai.UserName(args[0]), Name: pai.JobName(args[1])}
	code := int32(0)
	if _, err := fmt.Sscan(args[2], &code); err != nil {
		ts.Fatalf("%v", err)
	}
	t := ts.Value("test").(testing.TB)
	ctx := await.Context(t)
	name := specs.RoleJobName(id, "worker", 0)
	job, err := s.Kube.BatchV1().Jobs("default").Get(ctx, name, metav1.GetOptions{})
	ts.Check(err)
	now := metav1.Now()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name + "-0-abcde", Labels: job.Labels, Annotations: map[string]string{
			specs.RoleAnnotation: "worker", "batch.kubernetes.io/job-completion-index": "0"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: name, UID: job.UID}}},
		Spec: corev1.PodSpec{NodeName: "worker1"},
		Status: corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Completed", StartedAt: now, FinishedAt: now}}}}},
	}
	condition := batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now}
	if code != 0 {
		pod.Status.Phase, pod.Status.ContainerStatuses[0].State.Terminated.Reason = corev1.PodFailed, "Error"
		condition.Type = batchv1.JobFailed
	}
	_, err = s.Kube.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
	ts.Check(err)
	job.Status.Conditions = append(job.Status.Conditions, condition)
	_, err = s.Kube.BatchV1().Jobs("default").UpdateStatus(ctx, job, metav1.UpdateOptions{})
	ts.Check(err)
	await.Until(t, "the server knows how the job has ended", func() bool {
		j, err := s.Cluster.Job(ctx, id)
		ts.Check(err)
		return j.State.Done() && len(j.Roles) > 0 && len(j.Roles[0].Tasks) > 0 && j.Roles[0].Tasks[0].State.Done()
	})
}

// bind does what Kubernetes does with the claim of a storage, once there is one: bind STORAGE.
func bind(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("server").(*servertest.Server)
	ctx := await.Context(ts.Value("test").(testing.TB))
	claims := s.Kube.CoreV1().PersistentVolumeClaims("default")
	watch, err := claims.Watch(ctx, metav1.ListOptions{})
	ts.Check(err)
	defer watch.Stop()
	claim, err := claims.Get(ctx, args[0], metav1.GetOptions{})
	for err != nil {
		select {
		case <-watch.ResultChan():
			claim, err = claims.Get(ctx, args[0], metav1.GetOptions{})
		case <-ctx.Done():
			ts.Fatalf("there is no claim %s", args[0])
		}
	}
	claim.Status.Phase = corev1.ClaimBound
	_, err = claims.UpdateStatus(ctx, claim, metav1.UpdateOptions{})
	ts.Check(err)
}

// label gives a storage's claim a label, as an administrator does with kubectl, and waits until the server has seen it: label STORAGE KEY=VALUE.
func label(ts *testscript.TestScript, _ bool, args []string) {
	s, t := ts.Value("server").(*servertest.Server), ts.Value("test").(testing.TB)
	ctx := await.Context(t)
	claims := s.Kube.CoreV1().PersistentVolumeClaims("default")
	claim, err := claims.Get(ctx, args[0], metav1.GetOptions{})
	ts.Check(err)
	key, value, _ := strings.Cut(args[1], "=")
	claim.Labels = map[string]string{key: value}
	before := s.Cluster.StoragesGeneration()
	_, err = claims.Update(ctx, claim, metav1.UpdateOptions{})
	ts.Check(err)
	await.Until(t, "the server knows the label", func() bool { return s.Cluster.StoragesGeneration() > before })
}

// oneDocument checks that the last command printed exactly one JSON document, whose times are RFC 3339: json.
func oneDocument(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Check(isOneDocument(ts.ReadFile("stdout")))
}

// mode checks the permissions of a file: mode 0600 FILE.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// writeToken signs a user in and writes the token into a file: token USER FILE.
func writeToken(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("server").(*servertest.Server)
	session, err := s.Accounts.Login(context.Background(), pai.Credentials{User: pai.UserName(args[0]), Password: pai.Password("secret-" + args[0])})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(session.Token+"\n"), 0o600))
}
