package daemon

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/kube/fileaccess"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestRBACAllowsWhatTheServerDoes goes through the server's work and compares every request to Kubernetes with the manifest.
func TestRBACAllowsWhatTheServerDoes(t *testing.T) {
	s := servertest.Start(t, nil)
	jobs := 0
	s.React("create", "jobs", func(ktesting.Action) (bool, runtime.Object, error) {
		jobs++
		return jobs == 3, nil, errors.New("no quota left") // the second job's second role: it is undone
	})
	if _, err := s.Cluster.SigningKey(t.Context(), "pai-system", signingKeyName); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(s.URL, s.Token(t, "admin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PatchGroup(t.Context(), client.GroupChange{Groupname: "default", Extension: map[string]any{"x": 1}}, ""); err != nil {
		t.Fatal(err)
	}
	useUsers(t, s, c)
	for _, name := range []string{"one", "two"} {
		_, _, err := c.SubmitJob(t.Context(), []byte(document(name)))
		if (err == nil) != (name == "one") {
			t.Fatalf("job %s: %v", name, err)
		}
	}
	one := pai.JobID{User: "admin", Name: "one"}
	for what, err := range map[string]error{
		"tag": c.TagJob(t.Context(), one, "t"), "stop": c.StopJob(t.Context(), one), "delete": c.DeleteJob(t.Context(), one),
	} {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if err := c.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	rules := rulesOf(t, deploy.RestServerRBAC)
	for _, a := range s.Kube.Actions() {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.allows(a) }) {
			t.Errorf("the manifest does not allow: %s %s/%s in %q", a.GetVerb(), a.GetResource().Resource, a.GetSubresource(), a.GetNamespace())
		}
	}
}

// useUsers does what writes users, tokens and SMB accounts.
func useUsers(t *testing.T, s *servertest.Server, c *client.Client) {
	t.Helper()
	email := "e@example.org"
	if _, err := c.CreateApplicationToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time with what the first left behind
		if _, err := c.CreateUser(t.Context(), client.NewUser{Username: "eve", Password: "secret-eve"}); err != nil {
			t.Fatal(err)
		}
		if err := c.PatchUser(t.Context(), client.UserChange{Username: "eve", Email: &email}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Login(t.Context(), "eve", "secret-eve", 0); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time over the first one's
			if _, err := c.SetStoragePassword(t.Context(), "eve", "secret of the folder"); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.AddToGroup(t.Context(), "eve", "admingroup"); err != nil {
			t.Fatal(err)
		}
		followed(t, s, "eve", true)
		if err := c.RemoveFromGroup(t.Context(), "eve", "admingroup"); err != nil {
			t.Fatal(err)
		}
		followed(t, s, "eve", false)
		if err := c.DeleteUser(t.Context(), "eve"); err != nil {
			t.Fatal(err)
		}
	}
}

// followed waits until a user's SMB account says whether the user is an administrator.
func followed(t *testing.T, s *servertest.Server, user string, admin bool) {
	t.Helper()
	await.Promised(t, fmt.Sprintf("the account of %s says that administrator is %t", user, admin), 10*time.Second, func() bool {
		account, err := s.Kube.Tracker().Get(corev1.SchemeGroupVersion.WithResource("secrets"), kube.StorageAccountNamespace, hex.EncodeToString([]byte(user)))
		if err != nil {
			t.Fatal(err)
		}
		return string(account.(*corev1.Secret).Data["admin"]) == strconv.FormatBool(admin)
	})
}

// TestStorageManagerRBAC compares what the storage manager asks Kubernetes for with its manifest, which allows nothing else.
func TestStorageManagerRBAC(t *testing.T) {
	client := kubefake.New()
	ctx, cancel := context.WithCancel(t.Context())
	var watches sync.WaitGroup
	var synced sync.WaitGroup
	synced.Add(2)
	watches.Go(func() { _ = fileaccess.WatchAccounts(ctx, client, nil, func([]fileaccess.Account) { synced.Done() }) })
	watches.Go(func() { _ = fileaccess.WatchNodes(ctx, client, nil, func([]fileaccess.Node) { synced.Done() }) })
	synced.Wait()
	cancel()
	watches.Wait()
	rules, used := rulesOf(t, deploy.StorageManagerRBAC), map[string]bool{}
	for _, a := range client.Actions() {
		at := slices.IndexFunc(rules, func(r rule) bool { return r.allows(a) })
		if at < 0 {
			t.Errorf("the manifest does not allow: %s %s in %q", a.GetVerb(), a.GetResource().Resource, a.GetNamespace())
		}
		used[a.GetVerb()+" "+a.GetResource().Resource+" in "+a.GetNamespace()] = true
	}
	for _, r := range rules {
		for _, verb := range r.Verbs {
			for _, resource := range r.Resources {
				if what := verb + " " + resource + " in " + r.namespace; !used[what] {
					t.Errorf("the manifest allows %s, which the storage manager does not do", what)
				}
			}
		}
	}
}

func document(name string) string {
	role := `{dockerImage: i, resourcePerInstance: {cpu: 1, memoryMB: 1}, commands: ["true"]}`
	roles := "{a: " + role + "}"
	if name == "two" {
		roles = "{a: " + role + ", b: " + role + "}"
	}
	return "{protocolVersion: 2, name: " + name + ", type: job, prerequisites: [{name: i, type: dockerimage, uri: i}], taskRoles: " + roles + "}"
}

// rule is one rule where it holds; "" is everywhere.
type rule struct {
	namespace string
	rbacv1.PolicyRule
}

func (r rule) allows(a ktesting.Action) bool {
	resource := a.GetResource().Resource
	if a.GetSubresource() != "" {
		resource += "/" + a.GetSubresource()
	}
	named, _ := a.(interface{ GetName() string })
	return (r.namespace == "" || r.namespace == a.GetNamespace()) && slices.Contains(r.Verbs, a.GetVerb()) &&
		slices.Contains(r.Resources, resource) && slices.Contains(r.APIGroups, a.GetResource().Group) &&
		(len(r.ResourceNames) == 0 || (named != nil && slices.Contains(r.ResourceNames, named.GetName())))
}

// rulesOf reads the roles of a manifest where their bindings put them.
func rulesOf(t *testing.T, manifest []byte) []rule {
	t.Helper()
	type object struct {
		Kind     string
		Metadata struct{ Name, Namespace string }
		Rules    []rbacv1.PolicyRule
		RoleRef  rbacv1.RoleRef
	}
	roles := map[string][]rbacv1.PolicyRule{}
	var bindings []object
	for _, part := range bytes.Split(manifest, []byte("\n---\n")) {
		var o object
		if err := yaml.Unmarshal(part, &o); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasSuffix(o.Kind, "Binding"):
			bindings = append(bindings, o)
		case o.Kind == "Role":
			roles[o.Metadata.Namespace+"/"+o.Metadata.Name] = o.Rules
		case o.Kind == "ClusterRole":
			roles["/"+o.Metadata.Name] = o.Rules
		}
	}
	var out []rule
	for _, b := range bindings {
		key := "/" + b.RoleRef.Name
		if b.RoleRef.Kind == "Role" {
			key = b.Metadata.Namespace + key
		}
		if len(roles[key]) == 0 {
			t.Errorf("binding %s names no role", b.Metadata.Name)
		}
		for _, r := range roles[key] {
			out = append(out, rule{namespace: b.Metadata.Namespace, PolicyRule: r})
		}
	}
	return out
}
