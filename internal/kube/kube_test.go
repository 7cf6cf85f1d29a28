package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// started returns a cluster with the objects, all caches synced.
func started(t *testing.T, objects ...runtime.Object) *Cluster {
	t.Helper()
	c, err := New(kubefake.New(objects...), Options{JobsNamespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	return c
}

func run(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	if err := c.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
}

func original(namespace, name string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}

// TestTakeOver reads what the original wrote, and leaves what it does not know where it is.
func TestTakeOver(t *testing.T) {
	c := started(t,
		original(GroupNamespace, "64656661756c74", map[string]string{"groupname": "default", "description": "d", "externalName": "",
			"extension": `{"acls":{"admin":false,"virtualClusters":["default"],"storageConfigs":["nfs"]},"groupType":"vc","big":12345678901234567890}`, "future": "kept"}),
		original(UserNamespace, "616c696365", map[string]string{"username": "alice", "email": "a@b.c", "password": "hash", "grouplist": `["default","gone"]`, "extension": `{"jobSSH":{"key":"k"}}`}),
		original(TokenNamespace, "616c696365", map[string]string{"id-1": "token-1"}),
		original(GroupNamespace, "damaged", map[string]string{"groupname": "default", "extension": "{"}),
		original(UserNamespace, "626f62", map[string]string{"username": "alice", "grouplist": "[]"}))
	u, err := c.User(t.Context(), "alice")
	if err != nil || u.Email != "a@b.c" || len(c.GroupsOf(u)) != 1 {
		t.Fatalf("got %+v, %v", u, err)
	}
	if _, err := c.User(t.Context(), "bob"); pai.CodeOf(err) != pai.NoUserError {
		t.Errorf("a Secret that says it is someone else: got %v", err)
	}
	if !c.TokenListed("alice", "token-1") || c.TokenListed("alice", "token-2") || c.TokenListed("bob", "token-1") {
		t.Error("the token list is not read right")
	}
	if _, err := c.ChangeGroup(t.Context(), pai.GroupChange{Name: "default", Patch: true, Extension: map[string]any{"acls": map[string]any{"storageConfigs": []any{"nfs", "b"}}}}); err != nil {
		t.Fatal(err)
	}
	s, err := c.client.CoreV1().Secrets(GroupNamespace).Get(t.Context(), "64656661756c74", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"groupname": "default", "description": "d", "externalName": "", "future": "kept",
		"extension": `{"acls":{"admin":false,"storageConfigs":["nfs","b"],"virtualClusters":["default"]},"big":12345678901234567890,"groupType":"vc"}`}
	got := map[string]string{}
	for k, v := range s.Data {
		got[k] = string(v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWritersReadWhatTheyWrote(t *testing.T) {
	c := started(t)
	ctx := t.Context()
	if _, err := c.CreateGroup(ctx, pai.Group{Name: "g"}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		text := fmt.Sprint(i)
		if _, err := c.ChangeGroup(ctx, pai.GroupChange{Name: "g", Description: &text, Patch: true}); err != nil {
			t.Fatal(err)
		}
		if g, err := c.Group(ctx, "g"); err != nil || g.Description != text {
			t.Fatalf("wrote %s, read %s, %v", text, g.Description, err)
		}
	}
	if _, err := c.CreateGroup(ctx, pai.Group{Name: "g"}); pai.CodeOf(err) != pai.ConflictGroupError {
		t.Errorf("got %v", err)
	}
	if err := c.CreateUser(ctx, pai.User{Name: "u"}); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateUser(ctx, pai.User{Name: "u"}); pai.CodeOf(err) != pai.ConflictUserError {
		t.Errorf("got %v", err)
	}
}

func TestTwoReplicasMakeOneSigningKey(t *testing.T) {
	client := kubefake.New()
	keys := make([]string, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			c, err := New(client, Options{JobsNamespace: "default"})
			if err != nil {
				t.Error(err)
				return
			}
			key, err := c.SigningKey(t.Context(), "pai-system", "key")
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
		})
	}
	wg.Wait()
	for _, k := range keys {
		if k != keys[0] || len(k) < 32 {
			t.Error("the replicas disagree, or the key is short")
		}
	}
}

// TestSigningKeysOfOthers: the original's is taken as it is, however short, and none is no key.
func TestSigningKeysOfOthers(t *testing.T) {
	c := started(t, original("pai-system", "short", map[string]string{"key": "pai"}), original("pai-system", "empty", map[string]string{"key": ""}))
	if key, err := c.SigningKey(t.Context(), "pai-system", "short"); err != nil || string(key) != "pai" {
		t.Errorf("got %q, %v", key, err)
	}
	if _, err := c.SigningKey(t.Context(), "pai-system", "empty"); err == nil || !strings.Contains(err.Error(), "delete the Secret") {
		t.Errorf("got %v", err)
	}
}

func TestTokensOfManyLoginsAtOnce(t *testing.T) {
	c := started(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := c.AddToken(t.Context(), "alice", fmt.Sprint(i), func([]string) ([]string, error) { return nil, nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		if !c.TokenListed("alice", fmt.Sprint(i)) {
			t.Errorf("token %d is lost", i)
		}
	}
	if err := c.RemoveToken(t.Context(), "alice", "7"); err != nil || c.TokenListed("alice", "7") || !c.TokenListed("alice", "8") {
		t.Errorf("after removing one: %v", err)
	}
	if err := c.RemoveToken(t.Context(), "nobody", "7"); err != nil {
		t.Errorf("got %v", err)
	}
}

func submission(user pai.UserName, job pai.JobName, roles ...string) pai.Submission {
	s := pai.Submission{Owner: user, VirtualCluster: "default", Spec: pai.JobSpec{Name: job}}
	for _, r := range roles {
		s.Spec.TaskRoles = append(s.Spec.TaskRoles, pai.TaskRole{Name: r, Image: "i", Instances: 1, MinFailedInstances: 1, Commands: []string{"true"}})
	}
	return s
}

func TestOnlyOneOfEqualSubmissionsWins(t *testing.T) {
	c := started(t)
	results := make(chan error, 10)
	for range cap(results) {
		go func() { _, err := c.Submit(t.Context(), submission("alice", "j", "a", "b")); results <- err }()
	}
	won := 0
	for range cap(results) {
		switch err := <-results; pai.CodeOf(err) {
		case "":
			won++
		case pai.ConflictJobError:
		default:
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d submissions won", won)
	}
}

func TestHalfASubmissionIsUndone(t *testing.T) {
	client := kubefake.New()
	creates := 0
	client.PrependReactor("create", "jobs", func(ktesting.Action) (bool, runtime.Object, error) {
		creates++
		return creates == 2, nil, errors.New("no quota left")
	})
	c, err := New(client, Options{JobsNamespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	if _, err := c.Submit(t.Context(), submission("alice", "j", "a", "b")); err == nil || !strings.Contains(err.Error(), "no quota left") {
		t.Fatalf("got %v", err)
	}
	jobs, err1 := client.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	secrets, err2 := client.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	if err1 != nil || err2 != nil || len(jobs.Items) != 0 || len(secrets.Items) != 0 {
		t.Errorf("left behind: %d jobs, %d secrets", len(jobs.Items), len(secrets.Items))
	}
	if _, err := c.Submit(t.Context(), submission("alice", "j", "a", "b")); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestFollowWaitsForTheTask asks for the log first, and lets the task start then.
func TestFollowWaitsForTheTask(t *testing.T) {
	c := started(t)
	id, err := c.Submit(t.Context(), submission("alice", "j", "w"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Log(t.Context(), pai.LogRequest{Job: id}); pai.CodeOf(err) != pai.NoTaskLogError {
		t.Errorf("without follow: got %v", err)
	}
	if _, err := c.Log(t.Context(), pai.LogRequest{Job: id, Role: "x"}); pai.CodeOf(err) != pai.NoTaskError {
		t.Errorf("another role: got %v", err)
	}
	text := make(chan string)
	go func() {
		log, err := c.Log(t.Context(), pai.LogRequest{Job: id, Follow: true})
		if err != nil {
			text <- err.Error()
			return
		}
		all, _ := io.ReadAll(log)
		text <- string(all)
	}()
	pod := taskOf(t, c, id, "w", corev1.PodRunning)
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}}
	if _, err := c.client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := <-text; got != "fake logs" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	id2, err := c.Submit(ctx, submission("alice", "never", "w"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := c.Log(ctx, pai.LogRequest{Job: id2, Follow: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("the reader is gone: got %v", err)
	}
}

// taskOf is the pod that Kubernetes makes for the first task of a role.
func taskOf(t *testing.T, c *Cluster, id pai.JobID, role string, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	job, err := c.client.BatchV1().Jobs("default").Get(t.Context(), specs.RoleJobName(id, role, 0), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: job.Name + "-0-x", Labels: map[string]string{specs.JobLabel: specs.Key(id)},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: job.Name, UID: job.UID}},
			Annotations:     map[string]string{specs.RoleAnnotation: role, indexAnnotation: "0"}},
		Status: corev1.PodStatus{Phase: phase},
	}
}

func TestAwait(t *testing.T) {
	v := newView("x", nil, func(o any) (string, error) { return o.(*corev1.Secret).Name, nil })
	object := func(version string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: version}}
	}
	done := make(chan bool)
	wait := func(version string) { go func() { v.await(t.Context(), "n", version); done <- true }() }
	wait("10")
	v.put(object("9"))
	v.put(object("11"))
	<-done
	v.await(t.Context(), "n", "5")
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	v.await(ctx, "n", "99") // gives up with the context
	if _, ok := v.get("n"); !ok {
		t.Error("lost")
	}
	v.drop(object("11"))
	if _, ok := v.get("n"); ok {
		t.Error("still there")
	}
}
