// Package kubefake is an in-memory Kubernetes for tests.
//
// It is client-go's fake clientset with what that leaves out and our code relies on: resource versions, creation times, and the
// refusal of writes that carry an old version. Use it in unit tests; where schedulers, RBAC or field selectors matter, use a real API
// server.
//
// Example:
//
//	client := kubefake.New(&corev1.Secret{...})
//	cluster, err := kube.New(client, kube.Options{JobsNamespace: "default"})
package kubefake

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/testing"
)

// New makes a Kubernetes that holds the objects.
func New(objects ...runtime.Object) *fake.Clientset {
	s := &server{}
	for _, o := range objects {
		if m, err := meta.Accessor(o); err == nil {
			s.stamp(m)
		}
	}
	client := fake.NewSimpleClientset(objects...)
	s.tracker = client.Tracker()
	client.PrependReactor("create", "*", s.create)
	client.PrependReactor("update", "*", s.update)
	return client
}

type server struct {
	tracker testing.ObjectTracker

	mu      sync.Mutex
	version int
}

func (s *server) stamp(m metav1.Object) {
	s.version++
	m.SetResourceVersion(strconv.Itoa(s.version))
	if m.GetUID() == "" {
		m.SetUID(types.UID(fmt.Sprintf("uid-%d", s.version)))
	}
	if stamp := m.GetCreationTimestamp(); stamp.IsZero() {
		m.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	}
}

func (s *server) create(a testing.Action) (bool, runtime.Object, error) {
	create, ok := a.(testing.CreateAction)
	if !ok || a.GetSubresource() != "" {
		return false, nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	obj := create.GetObject().DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return true, nil, err
	}
	s.stamp(m)
	if err := s.tracker.Create(a.GetResource(), obj, a.GetNamespace()); err != nil {
		return true, nil, err
	}
	return true, obj.DeepCopyObject(), nil
}

func (s *server) update(a testing.Action) (bool, runtime.Object, error) {
	update, ok := a.(testing.UpdateAction)
	if !ok {
		return false, nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	obj := update.GetObject().DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		return true, nil, err
	}
	now, err := s.tracker.Get(a.GetResource(), a.GetNamespace(), m.GetName())
	if err != nil {
		return true, nil, err
	}
	current, err := meta.Accessor(now)
	if err != nil {
		return true, nil, err
	}
	if v := m.GetResourceVersion(); v != "" && v != current.GetResourceVersion() {
		return true, nil, apierrors.NewConflict(a.GetResource().GroupResource(), m.GetName(), fmt.Errorf("the object has been modified"))
	}
	m.SetUID(current.GetUID())
	m.SetCreationTimestamp(current.GetCreationTimestamp())
	s.stamp(m)
	if err := s.tracker.Update(a.GetResource(), obj, a.GetNamespace()); err != nil {
		return true, nil, err
	}
	return true, obj.DeepCopyObject(), nil
}
