package fileaccess_test

import (
	"context"
	"encoding/hex"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kube/fileaccess"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// TestOnARealAPIServer follows accounts and nodes as the service account of the manifest, with no right beyond it, and through an outage.
func TestOnARealAPIServer(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	server := kubetest.Run(t)
	root, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over the first one's
		if err := kubeapply.Apply(t.Context(), server.Config, "test", deploy.StorageManagerRBAC); err != nil {
			t.Fatal(err)
		}
	}
	limited := rest.CopyConfig(server.Config)
	limited.Impersonate.UserName = "system:serviceaccount:pai-system:storage-manager"
	limited.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:pai-system", "system:authenticated"}
	manager, err := kubernetes.NewForConfig(limited)
	if err != nil {
		t.Fatal(err)
	}
	forbidden(t, manager)

	log := slog.New(slog.DiscardHandler)
	create(t, root, "alice", "8846F7EAEE8FB117AD06BDD830B7586C")
	accounts := newList[fileaccess.Account]()
	nodes := newList[fileaccess.Node]()
	ctx, cancel := context.WithCancel(context.Background())
	var watches sync.WaitGroup
	watches.Go(func() { _ = fileaccess.WatchAccounts(ctx, manager, log, accounts.set) })
	watches.Go(func() { _ = fileaccess.WatchNodes(ctx, manager, log, nodes.set) })
	t.Cleanup(func() { cancel(); watches.Wait() })
	accounts.await(t, func(l []fileaccess.Account) bool {
		return len(l) == 1 && l[0].Name == "alice" && string(l[0].NTHash) == "8846F7EAEE8FB117AD06BDD830B7586C" && !l[0].Admin
	})
	nodes.await(t, func(l []fileaccess.Node) bool { return len(l) == 0 })

	began := time.Now()
	createNode(t, root, "worker1", "10.0.0.1", "fd00::1")
	nodes.await(t, func(l []fileaccess.Node) bool { return len(l) == 1 && len(l[0].Addresses) == 2 })
	t.Logf("a new node was seen after %s", time.Since(began).Round(time.Millisecond))

	before := [2]int{accounts.calls(), nodes.calls()}
	server.Kill(t)
	if err := server.APIServer.WaitReady(await.Context(t)); err != nil {
		t.Fatal(err)
	}
	if after := [2]int{accounts.calls(), nodes.calls()}; after != before {
		t.Errorf("the outage made calls: %v before, %v after", before, after)
	}
	began = time.Now()
	create(t, root, "bob", "A4F49C406510BDCAB6824EE7C30FD852")
	createNode(t, root, "worker2", "10.0.0.2")
	accounts.await(t, func(l []fileaccess.Account) bool { return len(l) == 2 })
	nodes.await(t, func(l []fileaccess.Node) bool { return len(l) == 2 })
	t.Logf("after an outage changes were seen after %s", time.Since(began).Round(time.Millisecond))
	if accounts.shrank || nodes.shrank {
		t.Error("a list became shorter although nothing went")
	}
}

// forbidden tries what the storage manager has no business with.
func forbidden(t *testing.T, manager kubernetes.Interface) {
	t.Helper()
	secrets := func(namespace string) error {
		_, err := manager.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
		return err
	}
	accounts, name := manager.CoreV1().Secrets("pai-storage-account"), hex.EncodeToString([]byte("alice"))
	tries := map[string]error{}
	for _, namespace := range []string{"", "default", "pai-system", "pai-user-v2", "pai-user-token", "pai-group", "kube-system"} {
		tries["list Secrets in "+namespace] = secrets(namespace)
	}
	_, tries["read one"] = accounts.Get(t.Context(), name, metav1.GetOptions{})
	_, tries["make one"] = accounts.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	tries["delete one"] = accounts.Delete(t.Context(), name, metav1.DeleteOptions{})
	_, tries["list ConfigMaps"] = manager.CoreV1().ConfigMaps("pai-storage-account").List(t.Context(), metav1.ListOptions{})
	_, tries["list pods"] = manager.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	_, tries["read a node"] = manager.CoreV1().Nodes().Get(t.Context(), "worker1", metav1.GetOptions{})
	tries["delete a node"] = manager.CoreV1().Nodes().Delete(t.Context(), "worker1", metav1.DeleteOptions{})
	for what, err := range tries {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want Forbidden", what, err)
		}
	}
}

func create(t *testing.T, root kubernetes.Interface, user, hash string) {
	t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: hex.EncodeToString([]byte(user))}, Data: map[string][]byte{
		"username": []byte(user), "nthash": []byte(hash), "set": []byte("2026-11-23T12:00:00Z"), "admin": []byte("false")}}
	if _, err := root.CoreV1().Secrets("pai-storage-account").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func createNode(t *testing.T, root kubernetes.Interface, name string, addresses ...string) {
	t.Helper()
	n, err := root.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	if _, err := root.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// list is what a callback said.
type list[T any] struct {
	mu      sync.Mutex
	last    []T
	count   int
	shrank  bool
	changed chan struct{} // closed at the next call
}

func newList[T any]() *list[T] { return &list[T]{changed: make(chan struct{})} }

func (l *list[T]) set(now []T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shrank = l.shrank || len(now) < len(l.last)
	l.last, l.count = slices.Clone(now), l.count+1
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *list[T]) calls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *list[T]) await(t *testing.T, is func([]T) bool) {
	t.Helper()
	late := time.After(await.Limit)
	for {
		l.mu.Lock()
		last, count, changed := l.last, l.count, l.changed
		l.mu.Unlock()
		if count > 0 && is(last) {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("after %d calls the list is %v", count, last)
		}
	}
}
