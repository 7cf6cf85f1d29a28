package daemon

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	k8srest "k8s.io/client-go/rest"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// What the original left in its cluster.
const (
	originalKey  = "pai's own secret" // of its tokens
	originalHash = "822330e44ace9eba338341d3d6830ac5cd60661b12b8ea9a5fa62aa40bd23944818021c11272f6f7bb16e34af5fbfa0b2f87bc30d51c6c2eeb75444a854cf882"
	aliceBefore  = `{ "virtualCluster": ["default"], "sshKeys":[{"title":"t","value":"ssh-rsa A"}],"jobSSH":{"key":"CANARY"}, "big":12345678901234567890}`
)

// TestTakeOver starts on what the original left behind, by hand as docs/administration.md says, on a real API server: everything works, nothing
// is rewritten that does not change, and what changes stays readable to the original.
func TestTakeOver(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	config := kubetest.Start(t)
	o := &takeover{root: kubernetes.NewForConfigOrDie(config), limited: k8srest.CopyConfig(config)}
	if err := kubeapply.Apply(t.Context(), config, "test", deploy.RestServerRBAC); err != nil {
		t.Fatal(err)
	}
	o.limited.Impersonate.UserName = "system:serviceaccount:pai-system:rest-server"
	o.limited.Impersonate.Groups = []string{"system:serviceaccounts", "system:serviceaccounts:pai-system", "system:authenticated"}
	o.leave(t)
	o.side = replicaOf(t, o.limited, func(s *restServer) { s.keepOldHashes, s.acceptShortKey = true, true })
	o.admin = connectAs(t, o.side, "admin", "admin-password")
	t.Run("tokens of the original work", o.tokensWork)
	t.Run("reads and changes that change nothing write nothing", o.nothingIsRewritten)
	t.Run("a change writes what it changes", o.onlyChangesAreWritten)
	alone := replicaOf(t, o.limited, func(s *restServer) { s.acceptShortKey = true })
	t.Run("changes at two replicas at once are all kept", func(t *testing.T) { o.changesAtOnce(t, connectAs(t, alone, "admin", "admin-password")) })
	t.Run("without the original, a login upgrades the hash and nothing else", func(t *testing.T) { o.upgrade(t, alone) })
	t.Run("a deleted user takes the tokens along", o.deletion)
}

type takeover struct {
	root    kubernetes.Interface
	limited *k8srest.Config
	side    string // a server beside the original
	admin   *client.Client

	login, application string // tokens of alice
}

// leave writes the original's Secrets, and the key as an administrator takes it over.
func (o *takeover) leave(t *testing.T) {
	t.Helper()
	now := time.Now()
	o.login = originalToken(t, jwt.MapClaims{"username": "alice", "application": false, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	o.application = originalToken(t, jwt.MapClaims{"username": "alice", "application": true, "iat": now.Unix()})
	expired := originalToken(t, jwt.MapClaims{"username": "alice", "application": false, "iat": now.Unix() - 10, "exp": now.Unix() - 5})
	group := func(name, extension string) map[string]string {
		return map[string]string{"groupname": name, "description": "d", "externalName": "", "extension": extension, "future": "kept"}
	}
	for _, s := range []struct {
		namespace, name string
		data            map[string]string
	}{
		{"pai-system", signingKeyName, map[string]string{"key": originalKey}},
		{kube.GroupNamespace, hexName("default"), group("default", `{"acls": {"admin":false,"virtualClusters":["default"],"storageConfigs":[]}, "groupType":"vc"}`)},
		{kube.GroupNamespace, hexName("admingroup"), group("admingroup", `{"acls":{"admin":true,"virtualClusters":["default","vc1"]}}`)},
		{kube.GroupNamespace, hexName("vc1"), group("vc1", `{"acls":{"admin":false,"virtualClusters":["vc1"]},"groupType":"vc"}`)},
		{kube.UserNamespace, hexName("admin"), map[string]string{"username": "admin", "email": "", "password": originalHash,
			"grouplist": `["default","admingroup"]`, "extension": `{"virtualCluster":["default"]}`}},
		{kube.UserNamespace, hexName("alice"), map[string]string{"username": "alice", "email": "alice@example.org", "password": "0", "legacy": "kept",
			"grouplist": `["default", "gone", "vc1"]`, "extension": aliceBefore}},
		{kube.TokenNamespace, hexName("alice"), map[string]string{"0c9c1c2e-4a5e-4b9a-9a53-0e1f0d3c2b1a": o.login,
			"1d9c1c2e-4a5e-4b9a-9a53-0e1f0d3c2b1a": o.application, "2e9c1c2e-4a5e-4b9a-9a53-0e1f0d3c2b1a": expired}},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.name}, StringData: s.data}
		if _, err := o.root.CoreV1().Secrets(s.namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func hexName(name string) string { return hex.EncodeToString([]byte(name)) }

func originalToken(t *testing.T, c jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(originalKey))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// state is every Secret of a namespace: its version, or what of says.
func (o *takeover) state(t *testing.T, namespace string, of func(corev1.Secret) any) map[string]any {
	t.Helper()
	list, err := o.root.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, s := range list.Items {
		out[s.Name] = of(s)
	}
	return out
}

func resourceVersion(s corev1.Secret) any { return s.ResourceVersion }

// data is the Secret's data as text.
func (o *takeover) data(t *testing.T, user string) map[string]string {
	t.Helper()
	s, err := o.root.CoreV1().Secrets(kube.UserNamespace).Get(t.Context(), hexName(user), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for key, value := range s.Data {
		out[key] = string(value)
	}
	return out
}

func (o *takeover) as(t *testing.T, token string) *client.Client {
	t.Helper()
	c, err := client.New(o.side, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (o *takeover) tokensWork(t *testing.T) {
	alice := o.as(t, o.login)
	self, err := alice.Self(t.Context())
	want := client.User{Username: "alice", Email: "alice@example.org", Grouplist: []pai.GroupName{"default", "vc1"}, VirtualCluster: []string{"default", "vc1"},
		StorageConfig: []pai.StorageName{}, Extension: map[string]any{"virtualCluster": []any{"default"}, "big": 12345678901234567890.0, "jobSSH": map[string]any{},
			"sshKeys": []any{map[string]any{"title": "t", "value": "ssh-rsa A"}}}}
	if diff := cmp.Diff(want, self); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	if list, err := alice.Tokens(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("got %+v, %v", list, err)
	}
	application := o.as(t, o.application)
	if _, err := application.Self(t.Context()); pai.CodeOf(err) != pai.ForbiddenUserError {
		t.Errorf("the application token: got %v", err)
	}
	if _, err := application.Job(t.Context(), pai.JobID{User: "alice", Name: "none"}); pai.CodeOf(err) != pai.NoJobError {
		t.Errorf("the application token: got %v", err)
	}
}

func (o *takeover) nothingIsRewritten(t *testing.T) {
	users, groups := o.state(t, kube.UserNamespace, resourceVersion), o.state(t, kube.GroupNamespace, resourceVersion)
	list, err := o.admin.Users(t.Context())
	if err != nil || len(list) != 2 || !list[0].Admin || list[1].Admin {
		t.Errorf("got %+v, %v", list, err)
	}
	email, no := "alice@example.org", false
	for what, err := range map[string]error{
		"change": o.admin.PatchUser(t.Context(), client.UserChange{Username: "alice", Email: &email, Admin: &no, VirtualCluster: &[]string{"vc1"},
			Extension: map[string]any{"virtualCluster": []string{"default"}, "absent": nil}}, ""),
		"own change":     o.as(t, o.login).PatchSelf(t.Context(), client.SelfChange{Username: "alice", Email: &email}),
		"add":            o.admin.AddToGroup(t.Context(), "alice", "vc1"),
		"remove":         o.admin.RemoveFromGroup(t.Context(), "alice", "admingroup"),
		"set":            o.admin.SetGroups(t.Context(), "admin", []pai.GroupName{"default", "admingroup"}),
		"group's change": o.admin.PatchGroup(t.Context(), client.GroupChange{Groupname: "default", Extension: map[string]any{"groupType": "vc"}}, ""),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if diff := cmp.Diff(users, o.state(t, kube.UserNamespace, resourceVersion)); diff != "" {
		t.Errorf("users: %s", diff)
	}
	if o.data(t, "admin")["password"] != originalHash {
		t.Error("the hash of the administrator, who signed in, is not the original's any more")
	}
	if diff := cmp.Diff(groups, o.state(t, kube.GroupNamespace, resourceVersion)); diff != "" {
		t.Errorf("groups: %s", diff)
	}
}

func (o *takeover) onlyChangesAreWritten(t *testing.T) {
	email := "new@example.org"
	if err := o.admin.PatchUser(t.Context(), client.UserChange{Username: "alice", Email: &email}, ""); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"username": "alice", "email": email, "password": "0", "legacy": "kept", "grouplist": `["default", "gone", "vc1"]`, "extension": aliceBefore}
	if diff := cmp.Diff(want, o.data(t, "alice")); diff != "" {
		t.Error(diff)
	}
	if err := o.admin.PatchUser(t.Context(), client.UserChange{Username: "alice", VirtualCluster: &[]string{}, Extension: map[string]any{"new": map[string]any{"a": "<b>"}}}, ""); err != nil {
		t.Fatal(err)
	}
	want["grouplist"] = `["default","gone"]`
	want["extension"] = `{"big":12345678901234567890,"jobSSH":{"key":"CANARY"},"new":{"a":"<b>"},"sshKeys":[{"title":"t","value":"ssh-rsa A"}],"virtualCluster":["default"]}`
	if diff := cmp.Diff(want, o.data(t, "alice")); diff != "" {
		t.Error(diff)
	}
}

// changesAtOnce: two replicas, one user, and everybody's change is there afterwards.
func (o *takeover) changesAtOnce(t *testing.T, other *client.Client) {
	const each = 15
	var writers sync.WaitGroup
	for r, c := range []*client.Client{o.admin, other} {
		for i := range each {
			writers.Go(func() {
				change := client.UserChange{Username: "alice", Extension: map[string]any{"keys": map[string]any{fmt.Sprintf("%d-%d", r, i): true}}}
				if err := c.PatchUser(t.Context(), change, ""); err != nil {
					t.Error(err)
				}
			})
		}
		writers.Go(func() {
			if err := c.AddToGroup(t.Context(), "alice", []pai.GroupName{"vc1", "admingroup"}[r]); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	got := o.data(t, "alice")
	if n := strings.Count(got["extension"], ":true"); n != 2*each || !strings.Contains(got["grouplist"], "vc1") || !strings.Contains(got["grouplist"], "admingroup") {
		t.Errorf("%d of %d changes are there, and the groups are %s", n, 2*each, got["grouplist"])
	}
	if err := o.admin.DeleteUser(t.Context(), "alice"); pai.CodeOf(err) != pai.RemoveAdminError {
		t.Errorf("deleting an administrator: got %v", err)
	}
	no := false
	if err := o.admin.PatchUser(t.Context(), client.UserChange{Username: "alice", Admin: &no}, ""); err != nil {
		t.Error(err)
	}
}

func (o *takeover) upgrade(t *testing.T, url string) {
	after := o.data(t, "admin")
	if !strings.HasPrefix(after["password"], "$argon2id$") { // by the login of the test before
		t.Errorf("the hash is not upgraded: %.10s", after["password"])
	}
	after["password"] = originalHash
	want := map[string]string{"username": "admin", "email": "", "password": originalHash, "grouplist": `["default","admingroup"]`, "extension": `{"virtualCluster":["default"]}`}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
	users := o.state(t, kube.UserNamespace, resourceVersion)
	connectAs(t, url, "admin", "admin-password")
	if diff := cmp.Diff(users, o.state(t, kube.UserNamespace, resourceVersion)); diff != "" {
		t.Errorf("a second login: %s", diff)
	}
}

func (o *takeover) deletion(t *testing.T) {
	if err := o.admin.DeleteUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	for _, namespace := range []string{kube.UserNamespace, kube.TokenNamespace} {
		if _, there := o.state(t, namespace, resourceVersion)[hexName("alice")]; there {
			t.Errorf("alice is left in %s", namespace)
		}
	}
	if _, err := o.as(t, o.login).Self(t.Context()); pai.CodeOf(err) != pai.UnauthorizedUserError {
		t.Errorf("the token of a deleted user: got %v", err)
	}
}
