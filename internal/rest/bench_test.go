package rest_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// BenchmarkReads measures reads through the whole server, authentication included, side by side with a bare
// handler that writes the same bytes: what counts is the ratio.
func BenchmarkReads(b *testing.B) {
	s := servertest.Start(b, io.Discard)
	token := "Bearer " + s.Token(b, "alice")
	for _, path := range []string{"/api/v2/storages", "/api/v2/storages/personal", "/api/v2/groups/default", "/api/v2/users/me"} {
		answer := serveOnce(s.REST, path, token)
		if answer.Code != http.StatusOK {
			b.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
		}
		bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(answer.Body.Bytes()) })
		b.Run(path+"/server", func(b *testing.B) { serveMany(b, s.REST, path, token) })
		b.Run(path+"/bare", func(b *testing.B) { serveMany(b, bare, path, token) })
	}
}

// BenchmarkManyGrants lists the storages of somebody whom three groups grant five each.
func BenchmarkManyGrants(b *testing.B) {
	var objects []runtime.Object
	for i := range 3 {
		var names []string
		for j := range 5 {
			name := fmt.Sprintf("storage-%d-%d", i, j)
			names = append(names, fmt.Sprintf("%q", name))
			objects = append(objects, boundStorage(name)...)
		}
		objects = append(objects, secret(kube.GroupNamespace, fmt.Sprint("team-", i), "groupname", map[string]string{
			"extension": `{"acls":{"storageConfigs":[` + strings.Join(names, ",") + `]}}`}))
	}
	s := servertest.Start(b, io.Discard, objects...)
	if err := s.Accounts.SetGroups(b.Context(), "alice", []pai.GroupName{"team-0", "team-1", "team-2"}); err != nil {
		b.Fatal(err)
	}
	token := "Bearer " + s.Token(b, "alice")
	answer := serveOnce(s.REST, "/api/v2/storages", token)
	if n := bytes.Count(answer.Body.Bytes(), []byte(`"name"`)); answer.Code != http.StatusOK || n != 15 {
		b.Fatalf("%d, %d storages", answer.Code, n)
	}
	serveMany(b, s.REST, "/api/v2/storages", token)
}

// boundStorage is a claim and its volume.
func boundStorage(name string) []runtime.Object {
	return []runtime.Object{
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name + "-pv"}, Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/" + name}}}},
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: name + "-pv"},
			Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound}},
	}
}

// BenchmarkManyUsers lists 10,000 users of 50 groups.
func BenchmarkManyUsers(b *testing.B) {
	var objects []runtime.Object
	for i := range 50 {
		objects = append(objects, secret(kube.GroupNamespace, fmt.Sprint("team-", i), "groupname", map[string]string{
			"extension": fmt.Sprintf(`{"acls":{"admin":false,"virtualClusters":["vc-%d"],"storageConfigs":["a-%d","b"]}}`, i, i)}))
	}
	for i := range 10_000 {
		objects = append(objects, secret(kube.UserNamespace, fmt.Sprintf("user-%05d", i), "username", map[string]string{
			"email": "user@example.org", "grouplist": fmt.Sprintf(`["default","team-%d","team-%d","gone"]`, i%50, i%7), "extension": `{"sshKeys":[{"title":"t"}]}`}))
	}
	s := servertest.Start(b, io.Discard, objects...)
	token := "Bearer " + s.Token(b, "admin")
	answer := serveOnce(s.REST, "/api/v2/users", token)
	if n := bytes.Count(answer.Body.Bytes(), []byte(`"username"`)); answer.Code != http.StatusOK || n != 10_003 {
		b.Fatalf("%d, %d users", answer.Code, n)
	}
	serveMany(b, s.REST, "/api/v2/users", token)
}

// secret is a group or a user as the original keeps one.
func secret(namespace, name, field string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: hex.EncodeToString([]byte(name))}, Data: map[string][]byte{field: []byte(name)}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

func serveMany(b *testing.B, h http.Handler, path, token string) {
	b.ReportAllocs()
	for b.Loop() {
		if code := serveOnce(h, path, token).Code; code != http.StatusOK {
			b.Fatalf("%s: %d", path, code)
		}
	}
}

func serveOnce(h http.Handler, path, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Authorization", token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
