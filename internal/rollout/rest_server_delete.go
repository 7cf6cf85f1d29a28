package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
)

// deleteRESTServer takes away the rights of a stopped REST server. Its namespaces stay, with what it keeps in them: groups, users, tokens, jobs.
func (s *Services) deleteRESTServer(ctx context.Context) error {
	return s.deleteRights(ctx, deploy.RestServerRBAC)
}

// deleteRights takes away what a manifest gives a service: its service account, roles and bindings. Namespaces stay, because others use them, too.
func (s *Services) deleteRights(ctx context.Context, manifest []byte) error {
	objects, err := kubeapply.Decode(manifest)
	if err != nil {
		return err
	}
	core, rights, gone := s.client.CoreV1(), s.client.RbacV1(), metav1.DeleteOptions{}
	var faults []error
	for _, o := range slices.Backward(objects) { // bindings before their roles
		namespace, name := o.GetNamespace(), o.GetName()
		var err error
		switch kind := o.GetKind(); kind {
		case "Namespace":
		case "ServiceAccount":
			err = core.ServiceAccounts(namespace).Delete(ctx, name, gone)
		case "Role":
			err = rights.Roles(namespace).Delete(ctx, name, gone)
		case "RoleBinding":
			err = rights.RoleBindings(namespace).Delete(ctx, name, gone)
		case "ClusterRole":
			err = rights.ClusterRoles().Delete(ctx, name, gone)
		case "ClusterRoleBinding":
			err = rights.ClusterRoleBindings().Delete(ctx, name, gone)
		default:
			err = fmt.Errorf("%s %s is none of a service's rights", kind, name)
		}
		if err != nil && !absent(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
