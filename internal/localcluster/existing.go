package localcluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// permission is something that the project does in a cluster.
type permission struct{ verb, group, resource, why string }

// permissions that the holder of a kubeconfig needs to set the project up.
var permissions = []permission{
	{"create", "", "namespaces", "to keep users, groups and tokens apart"},
	{"create", "", "secrets", "to keep users, groups and tokens"},
	{"create", "rbac.authorization.k8s.io", "clusterroles", "to give the REST server its few rights"},
	{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "to give the REST server its few rights"},
	{"create", "batch", "jobs", "to run jobs"},
	{"list", "", "pods", "to show how jobs get on"},
	{"list", "", "persistentvolumes", "to know the storages"},
	{"list", "", "persistentvolumeclaims", "to know the storages"},
}

// examine says what an existing cluster has and what it lacks. What makes it impossible is an error; what
// can be added later is part of the answer.
func (u *upper) examine(ctx context.Context, note func(string)) (string, error) {
	note("asking " + u.cfg.Kubeconfig)
	config, err := clientcmd.BuildConfigFromFlags("", u.cfg.Kubeconfig)
	if err != nil {
		return "", fmt.Errorf("kubeconfig %s: %w", u.cfg.Kubeconfig, err)
	}
	config.Timeout = 15 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", fmt.Errorf("kubeconfig %s: %w", u.cfg.Kubeconfig, err)
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return "", fmt.Errorf("the cluster at %s does not answer: %w", config.Host, err)
	}
	if err := missingPermissions(ctx, client); err != nil {
		return "", err
	}
	if u.cfg.RESTServer, err = siblingProgram("rest-server"); err != nil {
		return "", err
	}
	has := fmt.Sprintf("Kubernetes %s at %s", version.GitVersion, config.Host)
	lacks := missingParts(ctx, client)
	if len(lacks) == 0 {
		return has + "; nothing is missing", nil
	}
	return has + "; missing:\n  - " + strings.Join(lacks, "\n  - "), nil
}

func missingPermissions(ctx context.Context, client kubernetes.Interface) error {
	var faults []error
	for _, p := range permissions {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: p.verb, Group: p.group, Resource: p.resource}}}
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("ask for the permission to %s %s: %w", p.verb, p.resource, err)
		}
		if !answer.Status.Allowed {
			faults = append(faults, fmt.Errorf("this kubeconfig may not %s %s, which is needed %s", p.verb, p.resource, p.why))
		}
	}
	return errors.Join(faults...)
}

// missingParts lists what jobs with storages will miss in the cluster, with the way to get it.
func missingParts(ctx context.Context, client kubernetes.Interface) []string {
	var lacks []string
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	switch {
	case err != nil:
		lacks = append(lacks, fmt.Sprintf("a look at the nodes (%v)", err))
	case readyNodes(nodes.Items) == 0:
		lacks = append(lacks, "a worker that is Ready: jobs will wait; see kubectl get nodes")
	default:
		lacks = append(lacks, unchecked(nodes.Items)...)
	}
	claims, err := client.CoreV1().PersistentVolumeClaims("default").List(ctx, metav1.ListOptions{})
	switch {
	case err != nil:
		lacks = append(lacks, fmt.Sprintf("a look at the claims (%v)", err))
	case len(claims.Items) == 0:
		lacks = append(lacks, "a storage: declare one with kubectl apply -f examples/nfs-storage.yaml, with the address of an NFS server that you have; none is started in an existing cluster")
	}
	for _, claim := range claims.Items {
		if claim.Status.Phase != corev1.ClaimBound {
			lacks = append(lacks, fmt.Sprintf("a volume for the claim %s, which is %s; see kubectl describe pvc %s", claim.Name, claim.Status.Phase, claim.Name))
		}
	}
	return lacks
}

func readyNodes(nodes []corev1.Node) int {
	ready := 0
	for _, n := range nodes {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	return ready
}

// unchecked: nothing on a node tells whether it can mount NFS, so the administrator is asked to look.
func unchecked(nodes []corev1.Node) []string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return []string{fmt.Sprintf("a check that the workers can mount what jobs need: an NFS storage wants the package nfs-common on %s", strings.Join(names, ", "))}
}
