package agent

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// as is the agent of a node, as its token makes it known; "" is a token that names no node.
func as(t *testing.T, admin *rest.Config, node string) kubernetes.Interface {
	t.Helper()
	c := rest.CopyConfig(admin)
	c.Impersonate.UserName = "system:serviceaccount:pai-system:node-agent"
	c.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:pai-system", "system:authenticated"}
	if node != "" {
		c.Impersonate.Extra = map[string][]string{"authentication.kubernetes.io/node-name": {node}}
	}
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// install brings the manifests into a cluster with two nodes, and waits until the policy works.
func install(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	admin := kubernetes.NewForConfigOrDie(config)
	for range 2 { // the second time over the first one's
		for _, manifest := range [][]byte{deploy.NodeAgentRBAC, deploy.NodeAgentPolicy, deploy.NodeAgent} {
			if err := kubeapply.Apply(t.Context(), config, "test", manifest); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"worker1", "worker2"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pai-worker": "true", labelPrefix + "nfs": "false"}, Annotations: map[string]string{"a": "b"}}}
		if _, err := admin.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	policy, err := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), "pai-node-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if policy.Status.TypeChecking != nil && len(policy.Status.TypeChecking.ExpressionWarnings) > 0 {
		t.Error(policy.Status.TypeChecking.ExpressionWarnings)
	}
	// The API server takes up a new policy within a second or so.
	stranger := as(t, config, "worker2")
	await.Until(t, "the policy works", func() bool {
		_, err := patch(t, stranger, "worker1", `{"metadata":{"labels":{"pai.storage/can-mount-probe":"true"}}}`)
		return apierrors.IsForbidden(err) || apierrors.IsInvalid(err)
	})
	if _, err := patch(t, admin, "worker1", `{"metadata":{"labels":{"pai.storage/can-mount-probe":null}}}`); err != nil {
		t.Fatal(err)
	}
	return admin
}

func patch(t *testing.T, c kubernetes.Interface, node, text string) (*corev1.Node, error) {
	t.Helper()
	return c.CoreV1().Nodes().Patch(t.Context(), node, types.MergePatchType, []byte(text), metav1.PatchOptions{})
}

func report(namespace, name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{"report": "{}"}}
}

// TestRights: what an agent may do in a cluster with its manifests, the forbidden first.
func TestRights(t *testing.T) {
	config := kubetest.Start(t)
	admin := install(t, config)
	for _, s := range []*corev1.Secret{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "pai-storage-check", Name: "home"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "of-a-job"}},
	} {
		if _, err := admin.CoreV1().Secrets(s.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.CoreV1().ConfigMaps("pai-node-report").Create(t.Context(), report("pai-node-report", "worker2"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mine, nameless := as(t, config, "worker1"), as(t, config, "")
	changed := func(c kubernetes.Interface, node, text string) func() error {
		return func() error { _, err := patch(t, c, node, text); return err }
	}
	maps := func(namespace string) interface {
		Create(*corev1.ConfigMap) error
		Update(*corev1.ConfigMap) error
		Delete(string) error
	} {
		return configMaps{t, mine, namespace}
	}
	can := `{"metadata":{"labels":{"pai.storage/can-mount-nfs":"true"}}}`
	ctx := t.Context()
	for _, c := range []struct {
		name    string
		do      func() error
		refused string // a part of the message; "" when it is allowed
	}{
		{"another node's labels", changed(mine, "worker2", can), "about its own node only"},
		{"labels with a token that names no node", changed(nameless, "worker1", can), "about its own node only"},
		{"another label", changed(mine, "worker1", `{"metadata":{"labels":{"pai-storage":"true"}}}`), "only labels that begin"},
		{"another label of the project", changed(mine, "worker1", `{"metadata":{"labels":{"pai.storage/other":"true"}}}`), "only labels that begin"},
		{"another label is changed", changed(mine, "worker1", `{"metadata":{"labels":{"pai-worker":"false"}}}`), "only labels that begin"},
		{"another label is taken away", changed(mine, "worker1", `{"metadata":{"labels":{"pai-worker":null}}}`), "only labels that begin"},
		{"annotation", changed(mine, "worker1", `{"metadata":{"annotations":{"pai.storage/pinned":"nfs"}}}`), "nothing of its node but labels"},
		{"taint", changed(mine, "worker1", `{"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}}`), "nothing of its node but labels"},
		{"cordon", changed(mine, "worker1", `{"spec":{"unschedulable":true}}`), "nothing of its node but labels"},
		{"finalizer", changed(mine, "worker1", `{"metadata":{"finalizers":["a.b/c"]}}`), "nothing of its node but labels"},
		{"status", func() error {
			_, err := mine.CoreV1().Nodes().Patch(ctx, "worker1", types.MergePatchType, []byte(`{"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status")
			return err
		}, "forbidden"},
		{"list of nodes", func() error { _, err := mine.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); return err }, "forbidden"},
		{"node is deleted", func() error { return mine.CoreV1().Nodes().Delete(ctx, "worker1", metav1.DeleteOptions{}) }, "forbidden"},
		{"jobs' Secrets", func() error { _, err := mine.CoreV1().Secrets("default").List(ctx, metav1.ListOptions{}); return err }, "forbidden"},
		{"a job's Secret", func() error {
			_, err := mine.CoreV1().Secrets("default").Get(ctx, "of-a-job", metav1.GetOptions{})
			return err
		}, "forbidden"},
		{"all Secrets", func() error { _, err := mine.CoreV1().Secrets("").List(ctx, metav1.ListOptions{}); return err }, "forbidden"},
		{"an order is deleted", func() error {
			return mine.CoreV1().Secrets("pai-storage-check").Delete(ctx, "home", metav1.DeleteOptions{})
		}, "forbidden"},
		{"an order is made", func() error {
			_, err := mine.CoreV1().Secrets("pai-storage-check").Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, metav1.CreateOptions{})
			return err
		}, "forbidden"},
		{"another node's report is made", func() error { return maps("pai-node-report").Create(report("", "worker3")) }, "about its own node only"},
		{"another node's report is changed", func() error { return maps("pai-node-report").Update(report("", "worker2")) }, "about its own node only"},
		{"a report is deleted", func() error { return maps("pai-node-report").Delete("worker2") }, "forbidden"},
		{"a ConfigMap elsewhere", func() error { return maps("default").Create(report("", "worker1")) }, "forbidden"},

		{"its own labels", changed(mine, "worker1", can), ""},
		{"its own label is taken away", changed(mine, "worker1", `{"metadata":{"labels":{"pai.storage/can-mount-nfs":null}}}`), ""},
		{"its own report is made", func() error { return maps("pai-node-report").Create(report("", "worker1")) }, ""},
		{"its own report is changed", func() error { return maps("pai-node-report").Update(report("", "worker1")) }, ""},
		{"orders", func() error {
			_, err := mine.CoreV1().Secrets("pai-storage-check").List(ctx, metav1.ListOptions{})
			return err
		}, ""},
		{"somebody else labels a node", changed(admin, "worker2", `{"metadata":{"labels":{"x":"y"}}}`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.do()
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refused != "" && (err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.refused)):
				t.Errorf("got %v, want a refusal that says %q", err, c.refused)
			}
		})
	}
}

// configMaps writes ConfigMaps of a namespace.
type configMaps struct {
	t         *testing.T
	client    kubernetes.Interface
	namespace string
}

func (c configMaps) Create(m *corev1.ConfigMap) error {
	m.Namespace = c.namespace
	_, err := c.client.CoreV1().ConfigMaps(c.namespace).Create(c.t.Context(), m, metav1.CreateOptions{})
	return err
}

func (c configMaps) Update(m *corev1.ConfigMap) error {
	m.Namespace = c.namespace
	_, err := c.client.CoreV1().ConfigMaps(c.namespace).Update(c.t.Context(), m, metav1.UpdateOptions{})
	return err
}

func (c configMaps) Delete(name string) error {
	return c.client.CoreV1().ConfigMaps(c.namespace).Delete(c.t.Context(), name, metav1.DeleteOptions{})
}
