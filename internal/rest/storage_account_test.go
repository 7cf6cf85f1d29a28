package rest_test

import (
	"encoding/hex"
	"encoding/json"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/kube"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestStoragePassword: it is set, changed and taken away, and the cluster has the hash alone.
func TestStoragePassword(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice")
	const path = "/api/v2/users/alice/storage-password"
	check(t, s, alice, "GET", path, "", "", 200, `{"username":"alice","set":false,"admin":false}`)
	check(t, s, alice, "DELETE", path, "", "", 200, "User alice has no SMB password: nothing to remove")
	check(t, s, alice, "PUT", path, jsonType, `{"password":"password"}`, 200, `"set":true`)
	_, text := check(t, s, admin, "GET", path, "", "", 200, `"set":true`)
	var shown map[string]any
	if err := json.Unmarshal([]byte(text), &shown); err != nil || shown["since"] == "" || len(shown) != 4 {
		t.Errorf("got %s, %v", text, err)
	}
	kept := func() map[string]string {
		secret, err := s.Kube.CoreV1().Secrets(kube.StorageAccountNamespace).Get(t.Context(), hex.EncodeToString([]byte("alice")), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for key, value := range secret.Data {
			out[key] = string(value)
		}
		return out
	}
	was := kept()
	if was["username"] != "alice" || was["nthash"] != "8846F7EAEE8FB117AD06BDD830B7586C" || was["admin"] != "false" || was["set"] != shown["since"] || len(was) != 4 {
		t.Errorf("the Secret has %v, and the answer was %s", was, text)
	}
	check(t, s, admin, "PUT", path, jsonType, `{"password":"Password"}`, 200, `"set":true`)
	if is := kept(); is["nthash"] != "A4F49C406510BDCAB6824EE7C30FD852" {
		t.Errorf("after the change the Secret has %v", is)
	}
	check(t, s, admin, "PUT", "/rest-server/api/v2/users/admin/storage-password", jsonType, `{"password":"password"}`, 200, `"admin":true`)
	check(t, s, alice, "DELETE", path, "", "", 200, "The SMB password of user alice is removed")
	check(t, s, alice, "GET", path, "", "", 200, `"set":false`)
	left, err := s.Kube.CoreV1().Secrets(kube.StorageAccountNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 {
		t.Errorf("%d accounts are left, %v", len(left.Items), err)
	}
	check(t, s, admin, "GET", "/api/v2/audit?kind=storage-password&name=alice", "", "", 200, `"action":"delete"`)
}

// TestStoragePasswordRefused: each refusal says why, and leaves things as they were.
func TestStoragePasswordRefused(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, name := range []string{"Alice", "Root", "wWw-data"} {
		check(t, s, admin, "POST", "/api/v2/users", jsonType, `{"username":"`+name+`","password":"secret-x"}`, 201, "")
	}
	check(t, s, admin, "PUT", "/api/v2/users/alice/storage-password", jsonType, `{"password":"password"}`, 200, "")
	for _, c := range []struct {
		method, user, body string
		status             int
		want               string
	}{
		{"GET", "nobody", "", 404, `{"code":"NoUserError","message":"User nobody is not found."}`},
		{"DELETE", "nobody", "", 404, "NoUserError"},
		{"PUT", "nobody", `{"password":"password"}`, 404, "NoUserError"},
		{"PUT", "bob", `{"password":"short"}`, 400, `{"code":"InvalidParametersError","message":"password: at least 6 characters, at most 127"}`},
		{"PUT", "bob", `{"password":"with\nnewline"}`, 400, "control characters"},
		{"PUT", "bob", `{"password":"lone \ud800 surrogate"}`, 400, "valid UTF-8"},
		{"PUT", "bob", `{}`, 400, "password"},
		{"PUT", "bob", `{"password":"password","admin":true}`, 400, "InvalidParametersError"},
		{"PUT", "Root", `{"password":"password"}`, 400, "User Root cannot have an SMB password: the SMB server has an account of that name for itself."},
		{"PUT", "wWw-data", `{"password":"password"}`, 400, "InvalidParametersError"},
		{"PUT", "Alice", `{"password":"password"}`, 409, `"code":"ConflictUserError"`},
		{"PUT", "Alice", `{"password":"password"}`, 409, "user alice has one"},
	} {
		typ := ""
		if c.body != "" {
			typ = jsonType
		}
		check(t, s, admin, c.method, "/api/v2/users/"+c.user+"/storage-password", typ, c.body, c.status, c.want)
	}
	left, err := s.Kube.CoreV1().Secrets(kube.StorageAccountNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) != 1 {
		t.Errorf("there are %d accounts, %v", len(left.Items), err)
	}
}
