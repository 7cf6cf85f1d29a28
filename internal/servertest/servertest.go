// Package servertest runs the true REST server over an in-memory Kubernetes, for tests of what speaks to it.
//
// The users admin, alice and bob exist, with the password "secret-NAME"; the storages are those that [Objects] describes. Use it where
// a test needs a server and no cluster.
//
// Example:
//
//	s := servertest.Start(t)
//	c, err := client.New(s.URL, s.Token(t, "alice"))
package servertest

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auth"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/portal"
	"github.com/pai-storage/pai-storage/internal/rest"
)

// Server is a running server and everything behind it.
type Server struct {
	URL      string
	Key      []byte // signs tokens
	Kube     *fake.Clientset
	Cluster  *kube.Cluster
	Accounts *auth.Accounts
	REST     *rest.Server
}

// React has an answer of Kubernetes given by the test from now on, while the server's caches and keepers are at work.
func (s *Server) React(verb, resource string, reaction ktesting.ReactionFunc) {
	s.Kube.Lock() // what Invokes holds; PrependReactor itself holds nothing
	defer s.Kube.Unlock()
	s.Kube.PrependReactor(verb, resource, reaction)
}

// Start runs a server until the test ends. Log lines go to log, which may be nil.
func Start(t testing.TB, log io.Writer, objects ...runtime.Object) *Server {
	t.Helper()
	return start(t, log, setup{}, objects...)
}

// StartSignOn runs one whose users come from an OpenID provider; openID says which, for the URL that the server gets.
func StartSignOn(t testing.TB, log io.Writer, openID func(serverURL string) auth.OpenID, objects ...runtime.Object) *Server {
	t.Helper()
	return start(t, log, setup{openID: openID}, objects...)
}

// setup is what differs from server to server.
type setup struct {
	openID func(serverURL string) auth.OpenID // nil: users have passwords
	jobs   *Jobs                              // nil: those of Kubernetes
}

func start(t testing.TB, log io.Writer, how setup, objects ...runtime.Object) *Server {
	t.Helper()
	if log == nil {
		log = io.Discard
	}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	s := &Server{Key: []byte("a key that is known to the tests only"), Kube: kubefake.New(append(Objects(), objects...)...)}
	var err error
	if s.Cluster, err = kube.New(s.Kube, kube.Options{JobsNamespace: "default", Log: logger}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Cluster.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	s.Accounts = auth.NewAccounts(s.Cluster, s.Key, auth.Options{})
	web := httptest.NewUnstartedServer(nil)
	s.URL = "http://" + web.Listener.Addr().String()
	services := s.services(t, how)
	s.REST = rest.New(services, rest.Options{Version: "v0.0.0-test", Ready: s.Cluster.Synced, Log: logger, Stop: ctx})
	if err := s.Cluster.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	s.populate(t)
	web.Config.Handler = portal.New(services, portal.Options{API: s.REST, Ready: s.Cluster.Synced, Log: logger})
	web.Start()
	t.Cleanup(web.Close)
	return s
}

// services are guarded. Accounts stay those with passwords, so that tests can sign anybody in.
func (s *Server) services(t testing.TB, how setup) pai.Services {
	t.Helper()
	accounts := s.Accounts
	all := pai.Services{Storages: s.Cluster, Groups: s.Cluster, Jobs: s.Cluster, Audit: s.Cluster, VirtualClusters: s.Cluster, Kubernetes: s.Cluster, Readiness: s.Cluster}
	if how.jobs != nil {
		all.Jobs = how.jobs
	}
	if how.openID != nil {
		accounts = auth.NewAccounts(s.Cluster, s.Key, auth.Options{SignOn: true})
		signOn, err := auth.NewSignOn(accounts, how.openID(s.URL))
		if err != nil {
			t.Fatal(err)
		}
		all.SignOn = signOn
	}
	all.Users, all.Tokens, all.StorageAccounts = accounts, accounts, accounts
	return auth.Guard(all, accounts)
}

// populate makes the groups and users.
func (s *Server) populate(t testing.TB) {
	t.Helper()
	ctx := t.Context()
	acls := func(admin bool, clusters, storages []any) map[string]any {
		return map[string]any{"acls": map[string]any{"admin": admin, "virtualClusters": clusters, "storageConfigs": storages}}
	}
	for _, g := range []pai.Group{
		{Name: pai.DefaultGroup, Description: "group for default vc", Extension: acls(false, []any{"default"}, []any{})},
		{Name: pai.AdminGroup, Extension: acls(true, []any{}, []any{})},
		{Name: "research", Extension: acls(false, []any{"research"}, []any{"personal", "readonly"})},
	} {
		if _, err := s.Cluster.CreateGroup(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	for name, groups := range map[pai.UserName][]pai.GroupName{
		"admin": {pai.DefaultGroup, pai.AdminGroup},
		"alice": {pai.DefaultGroup, "research"},
		"bob":   {pai.DefaultGroup},
	} {
		if err := s.Cluster.CreateUser(ctx, pai.User{Name: name, Password: cheapHash("secret-" + string(name)), Groups: groups}); err != nil {
			t.Fatal(err)
		}
	}
}

// cheapHash is a password hash of the usual form at the least cost, because tests start many servers.
func cheapHash(password string) pai.PasswordHash {
	salt := []byte("salt")
	sum := argon2.IDKey([]byte(password), salt, 1, 8, 1, 32)
	encode := base64.RawStdEncoding.EncodeToString
	return pai.PasswordHash(fmt.Sprintf("$argon2id$v=%d$m=8,t=1,p=1$%s$%s", argon2.Version, encode(salt), encode(sum)))
}

// Token signs a user in.
func (s *Server) Token(t testing.TB, user pai.UserName) string {
	t.Helper()
	session, err := s.Accounts.Login(t.Context(), pai.Credentials{User: user, Password: pai.Password("secret-" + user), Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return session.Token
}

// Objects are the storages of the tests: nfs-storage (shared), personal, readonly, and unbound, which has no volume. Each volume carries
// the word CANARY wherever a secret could be.
func Objects() []runtime.Object {
	nfs := func(path string, readOnly bool) corev1.PersistentVolumeSource {
		return corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: path, ReadOnly: readOnly}}
	}
	return []runtime.Object{
		volume("nfs-storage-pv", nfs("/data", false)), claim("nfs-storage", "nfs-storage-pv", nil),
		volume("personal-pv", nfs("/users", false)), claim("personal", "personal-pv", map[string]string{"share": "false"}),
		volume("readonly-pv", nfs("/data", true)), claim("readonly", "readonly-pv", nil),
		claim("unbound", "", nil),
	}
}

func volume(name string, source corev1.PersistentVolumeSource) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PersistentVolumeSpec{PersistentVolumeSource: source, MountOptions: []string{"nfsvers=4.1", "password=CANARY"}},
	}
}

func claim(name, volume string, labels map[string]string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: labels},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: volume},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
	}
	if volume != "" {
		c.Status.Phase = corev1.ClaimBound
	}
	return c
}
