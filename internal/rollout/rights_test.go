package rollout

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
)

// TestDeleteTakesRightsAway: of all that a service was given its namespaces alone stay, and what is gone already is no fault.
func TestDeleteTakesRightsAway(t *testing.T) {
	for name, c := range map[string]struct {
		manifest []byte
		remove   func(*Services, context.Context) error
	}{
		StorageManager: {deploy.StorageManagerRBAC, (*Services).deleteStorageManager},
		RESTServer:     {deploy.RestServerRBAC, (*Services).deleteRESTServer},
	} {
		decoded, err := kubeapply.Decode(c.manifest)
		if err != nil {
			t.Fatal(err)
		}
		var objects []runtime.Object
		for _, o := range decoded {
			typed, err := scheme.Scheme.New(o.GroupVersionKind())
			if err == nil {
				err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed)
			}
			if err != nil {
				t.Fatal(err)
			}
			objects = append(objects, typed)
		}
		s, _ := services(t, objects...)
		for range 2 {
			if err := c.remove(s, t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, o := range decoded {
			resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
			_, err := s.client.(*fake.Clientset).Tracker().Get(resource, o.GetNamespace(), o.GetName())
			if there := err == nil; there != (o.GetKind() == "Namespace") || err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("%s: %s %s/%s is there: %v, error %v", name, o.GetKind(), o.GetNamespace(), o.GetName(), there, err)
			}
		}
	}
}
