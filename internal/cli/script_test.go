package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestMain lets the scripts run paictl as a program of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"paictl": func() {
			os.Exit(Main(context.Background(), os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// TestScripts runs what a user could type, in testdata/script, against the true server over an in-memory Kubernetes.
//
// Besides the usual commands, scripts have "finish USER JOB CODE", which lets the job's tasks end, "mode 0600 FILE", which checks
// permissions, and "token USER FILE", which signs a user in elsewhere.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			tb := env.T().(testing.TB)
			s := servertest.Start(tb, nil)
			env.Values["server"] = s
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"finish": finish, "mode": mode, "token": writeToken},
	})
}

// finish lets every task of a job's first role end with an exit code, as the kubelet and the job controller would say.
func finish(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value("server").(*servertest.Server)
	id := pai.JobID{User: pai.UserName(args[0]), Name: pai.JobName(args[1])}
	code := int32(0)
	if _, err := fmt.Sscan(args[2], &code); err != nil {
		ts.Fatalf("%v", err)
	}
	ctx := context.Background()
	name := specs.RoleJobName(id, "worker", 0)
	job, err := s.Kube.BatchV1().Jobs("default").Get(ctx, name, metav1.GetOptions{})
	ts.Check(err)
	now := metav1.Now()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name + "-0-abcde", Labels: job.Labels, Annotations: map[string]string{
			specs.RoleAnnotation: "worker", "batch.kubernetes.io/job-completion-index": "0"}},
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
