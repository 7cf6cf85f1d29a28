package rollout

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
)

// startRESTServer applies the REST server with its rights and waits for its pods.
func (s *Services) startRESTServer(ctx context.Context, cfg clusterconfig.Configuration) error {
	s.Note(RESTServer, "applying")
	if err := kubeapply.Apply(ctx, s.rest, fieldManager, deploy.RestServerRBAC); err != nil {
		return err
	}
	objects, err := kubeapply.Decode(deploy.RestServerDeployment)
	if err != nil {
		return err
	}
	replicas := int64(1)
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		if replicas, _, err = unstructured.NestedInt64(o.Object, "spec", "replicas"); err != nil {
			return err
		}
		if err := s.setImage(o, cfg.Images[RESTServer]); err != nil {
			return err
		}
	}
	if err := kubeapply.ApplyObjects(ctx, s.rest, fieldManager, objects); err != nil {
		return err
	}
	return s.waitFor(ctx, RESTServer, int(replicas))
}
