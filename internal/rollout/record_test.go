package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// trailOf reads what the trail of a cluster has, in its order.
func trailOf(t *testing.T, client kubernetes.Interface) (entries []pai.AuditEntry, maps []corev1.ConfigMap) {
	t.Helper()
	list, err := client.CoreV1().ConfigMaps(systemNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: auditlog.Label + "=" + auditlog.Main})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Items {
		entries = append(entries, auditlog.Entries(m.Data[auditlog.Field])...)
	}
	slices.SortFunc(entries, func(a, b pai.AuditEntry) int { return strings.Compare(a.ID, b.ID) })
	return entries, list.Items
}

// limited is somebody who may push a configuration and nothing else; and the client of one who may do everything.
func limited(t *testing.T, admin *rest.Config) (*Services, kubernetes.Interface) {
	t.Helper()
	client := kubernetes.NewForConfigOrDie(admin)
	clerk := []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "clerk"}}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "clerk"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets"}, Verbs: []string{"get", "create", "update"}},
	}}
	nodes := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "clerk-nodes"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes", "pods"}, Verbs: []string{"get", "list"}},
	}}
	for _, r := range []*rbacv1.ClusterRole{role, nodes} {
		if _, err := client.RbacV1().ClusterRoles().Create(t.Context(), r, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err1 := client.RbacV1().RoleBindings(configurationNamespace).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "clerk"},
		Subjects: clerk, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name}}, metav1.CreateOptions{})
	_, err2 := client.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "clerk"},
		Subjects: clerk, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: nodes.Name}}, metav1.CreateOptions{})
	as := rest.CopyConfig(admin)
	as.Impersonate = rest.ImpersonationConfig{UserName: "clerk"}
	s, err3 := NewServices(as)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the API server knows the rights", func() bool {
		_, err1 := s.Pull(t.Context())
		_, err2 := s.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		return errors.Join(err1, err2) == nil
	})
	return s, client
}

// TestTrail: what is done with a kubeconfig is in the audit trail, by the name that Kubernetes knows, and without passwords.
func TestTrail(t *testing.T) {
	config := kubetest.Start(t)
	config.QPS = -1 // the library's limit for one client would be what takes the time
	s, err := NewServices(config)
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	s.Warn = func(text string) { warnings = append(warnings, text) }
	ctx := t.Context()
	if _, err := s.client.CoreV1().Nodes().Create(ctx, node("worker1", nil, "10.0.0.1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.PushFirst(ctx, "pai", files("canary-one")); err != nil {
		t.Fatal(err)
	}
	now, err := s.Pull(ctx)
	if err != nil {
		t.Fatal(err)
	}
	changed := files("canary-two")
	changed["layout.yaml"] = []byte(strings.Replace(layoutText, "corner", "middle", 1))
	if _, err := s.Push(ctx, changed, now.Revision, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(ctx, files("canary-three"), now.Revision, false); err == nil {
		t.Error("a push that drops a change was not refused")
	}
	if err := s.Stop(ctx, []string{RESTServer, StorageManager}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, []string{NodeAgent}); err != nil {
		t.Fatal(err)
	}
	entries, maps := trailOf(t, s.client)
	var got []string
	for _, e := range entries {
		if !strings.HasPrefix(string(e.User), "kubernetes:") || e.User == "kubernetes:(unknown)" || e.Time.IsZero() {
			t.Errorf("who and when: %+v", e)
		}
		got = append(got, fmt.Sprintf("%s %s %s", e.Action, e.Kind, e.Name))
	}
	want := []string{"create configuration config.yaml", "create configuration layout.yaml", "create configuration services-configuration.yaml", "create configuration cluster-id",
		"change configuration layout.yaml", "change configuration services-configuration.yaml",
		"change service storage-manager", "change service rest-server", "delete service node-agent"}
	if !slices.Equal(got, want) {
		t.Errorf("the trail has %q, want %q", got, want)
	}
	text := fmt.Sprint(maps)
	if strings.Contains(text, "canary") {
		t.Errorf("a password is in the trail:\n%s", text)
	}
	for _, e := range entries {
		if e.Action == pai.AuditChange && e.Name == "layout.yaml" {
			if !strings.Contains(string(e.Before), "corner") || !strings.Contains(string(e.After), "middle") || !strings.Contains(string(e.After), "hostip: 10.0.0.1") {
				t.Errorf("a changed line shows as %s -> %s", e.Before, e.After)
			}
		}
		if e.Action == pai.AuditChange && e.Name == "services-configuration.yaml" && !strings.Contains(string(e.After), "****** (changed)") {
			t.Errorf("a changed password shows as %s -> %s", e.Before, e.After)
		}
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
	t.Run("many at once, more than one ConfigMap holds", func(t *testing.T) {
		const writers, each = 8, 15
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for n := range each {
					now := time.Now()
					e := pai.AuditEntry{ID: auditlog.ID(now), Time: now, Action: pai.AuditChange, Kind: "test", Name: fmt.Sprintf("%d-%d-%s", w, n, strings.Repeat("x", 1300))}
					for err := auditlog.Append(ctx, s.client, systemNamespace, e); err != nil; err = auditlog.Append(ctx, s.client, systemNamespace, e) {
						if !strings.Contains(err.Error(), "others write") {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		all.Wait()
		entries, maps := trailOf(t, s.client)
		if len(entries) != len(want)+writers*each {
			t.Errorf("%d entries, want %d", len(entries), len(want)+writers*each)
		}
		for _, m := range maps {
			if len(m.Data[auditlog.Field]) > auditlog.ChunkBytes {
				t.Errorf("%s has %d bytes", m.Name, len(m.Data[auditlog.Field]))
			}
		}
		if len(maps) < 3 || len(maps) > 20 {
			t.Errorf("%d ConfigMaps", len(maps))
		}
	})
	t.Run("somebody who may not write there is warned, and has done it", func(t *testing.T) {
		s, client := limited(t, config)
		var warned string
		s.Warn = func(text string) { warned += text }
		now, err := s.Pull(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(ctx, files("canary-four"), now.Revision, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(warned, "the audit trail does not have this: ") || !strings.Contains(warned, "forbidden") || strings.Contains(warned, "canary") {
			t.Errorf("the warning: %q", warned)
		}
		if m, err := client.CoreV1().ConfigMaps(configurationNamespace).Get(ctx, configurationName, metav1.GetOptions{}); err != nil || m.Annotations[revisionAnnotation] == now.Revision {
			t.Errorf("nothing was pushed: %v, %v", m, err)
		}
	})
	t.Run("a trail that somebody deletes begins anew", func(t *testing.T) {
		if err := s.client.CoreV1().ConfigMaps(systemNamespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: auditlog.Label}); err != nil {
			t.Fatal(err)
		}
		s.record(ctx, did("start", RESTServer, apierrors.NewUnauthorized("no")))
		entries, _ := trailOf(t, s.client)
		if len(entries) != 1 || !strings.Contains(string(entries[0].After), `"failed":"no"`) {
			t.Errorf("the trail has %+v", entries)
		}
	})
}
