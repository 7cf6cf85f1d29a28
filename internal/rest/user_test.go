package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/servertest"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

const jsonType = "application/json"

// user reads a user's record as the API shows it.
func user(t *testing.T, s *servertest.Server, auth, path string) map[string]any {
	t.Helper()
	_, text := check(t, s, auth, "GET", path, "", "", 200, "")
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUserRecords(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice")
	want := map[string]any{"username": "alice", "email": "", "admin": false, "grouplist": []any{"default", "research"},
		"virtualCluster": []any{"default", "research"}, "storageConfig": []any{"personal", "readonly"}, "extension": map[string]any{}}
	for auth, path := range map[string]string{alice: "/api/v2/users/me", admin: "/rest-server/api/v2/users/alice/"} {
		if diff := cmp.Diff(want, user(t, s, auth, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	_, text := check(t, s, admin, "GET", "/api/v2/users", "", "", 200, `"username":"alice"`)
	var list []map[string]any
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 3 || list[0]["username"] != "admin" || list[0]["admin"] != true {
		t.Fatalf("got %s, %v", text, err)
	}
	if diff := cmp.Diff(want, list[1]); diff != "" {
		t.Error(diff)
	}
	check(t, s, alice, "GET", "/api/v2/users/nobody", "", "", 403, "ForbiddenUserError") // no word on whether there is one
	check(t, s, admin, "GET", "/api/v2/users/nobody", "", "", 404, `{"code":"NoUserError","message":"User nobody is not found."}`)
}

// TestReadsAskNobody: they are answered from the caches.
func TestReadsAskNobody(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	before := len(s.Kube.Actions())
	for _, path := range []string{"/api/v2/users", "/api/v2/users/me", "/api/v2/users/alice", "/api/v2/users/alice/storage-password", "/api/v2/tokens"} {
		check(t, s, admin, "GET", path, "", "", 200, "")
	}
	asked := slices.DeleteFunc(s.Kube.Actions()[before:], func(a ktesting.Action) bool { return a.GetNamespace() == storagecheck.OrderNamespace }) // whose keeper works by itself
	if len(asked) > 0 {
		t.Errorf("Kubernetes was asked: %v", asked)
	}
}

// TestNamesThatCannotBe: whatever stands in a path, the answer is a refusal and no fault of the server.
func TestNamesThatCannotBe(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, name := range []string{"%2e%2e", "a%2fb", "%00", "%ff", "a%20b", strings.Repeat("x", 10<<10), strings.Repeat("y", 127), "-", "%7e"} {
		for _, c := range []struct{ method, tail, body string }{
			{"GET", "", ""}, {"DELETE", "", ""},
			{"PUT", "/group", `{"groupname":"default"}`}, {"DELETE", "/group", `{"groupname":"default"}`}, {"PUT", "/grouplist", `{"grouplist":[]}`},
		} {
			resp, text := do(t, s, c.method, "/api/v2/users/"+name+c.tail, jsonType, c.body, admin)
			if resp.StatusCode != 404 && resp.StatusCode != 400 {
				t.Errorf("%s %.20s%s: got %d %s", c.method, name, c.tail, resp.StatusCode, text)
			}
		}
		if name == "%2e%2e" {
			continue // that is no path below tokens
		}
		if resp, text := do(t, s, "DELETE", "/api/v2/tokens/"+name, "", "", admin); resp.StatusCode != 200 || !strings.Contains(text, "nothing to revoke") {
			t.Errorf("DELETE tokens/%.20s: got %d %s", name, resp.StatusCode, text)
		}
	}
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":"../x"},"patch":true}`, 404, "NoUserError")
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":""},"patch":true}`, 404, "NoUserError")
	check(t, s, admin, "POST", "/api/v2/users", jsonType, `{"username":"me","password":"x"}`, 400, `username: \"me\" is reserved: it stands for whoever asks; password: at least 6`)
	check(t, s, admin, "DELETE", "/api/v2/users/me", "", "", 404, "NoUserError")
}

func TestUserChanges(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, c := range []struct {
		name, body string
		status     int
		part       string
		want       map[string]any // of bob's record afterwards
	}{
		{"email", `{"username":"bob","email":"b@c.de"}`, 201, `{"message":"Update user bob successfully"}`, map[string]any{"email": "b@c.de", "admin": false}},
		{"extension merges", `{"username":"bob","extension":{"a":{"b":1,"c":2},"l":[1]}}`, 201, "", map[string]any{"extension": map[string]any{"a": map[string]any{"b": 1.0, "c": 2.0}, "l": []any{1.0}}}},
		{"null deletes", `{"username":"bob","extension":{"a":{"b":null},"l":[2]}}`, 201, "", map[string]any{"extension": map[string]any{"a": map[string]any{"c": 2.0}, "l": []any{2.0}}}},
		{"clusters", `{"username":"bob","virtualCluster":["research"]}`, 201, "", map[string]any{"grouplist": []any{"default", "research"}}},
		{"admin", `{"username":"bob","admin":true}`, 201, "", map[string]any{"grouplist": []any{"default", "research", "admingroup"}, "admin": true}},
		{"clusters leave the rest", `{"username":"bob","virtualCluster":[]}`, 201, "", map[string]any{"grouplist": []any{"default", "admingroup"}}},
		{"admin again", `{"username":"bob","admin":true}`, 201, "", map[string]any{"grouplist": []any{"default", "admingroup"}}},
		{"no admin", `{"username":"bob","admin":false}`, 201, "", map[string]any{"grouplist": []any{"default"}, "admin": false}},
		{"nothing", `{"username":"bob"}`, 201, "", map[string]any{"email": "b@c.de"}},
		{"unknown cluster", `{"username":"bob","virtualCluster":["none"]}`, 400, "NoVirtualClusterError", nil},
		{"all faults", `{"username":"bob","email":"no","password":"CANAR"}`, 400, "email: expected an email address or nothing; password: at least 6 characters", nil},
		{"unknown key", `{"username":"bob","grouplist":["admingroup"]}`, 400, "data.grouplist: unexpected property", nil},
		{"large extension", `{"username":"bob","extension":{"x":"` + strings.Repeat("x", 300<<10) + `"}}`, 400, "extension: at most 256 KiB", nil},
		{"nobody", `{"username":"nobody","email":""}`, 404, "NoUserError", nil},
		{"nobody's password", `{"username":"nobody","password":"secret-new"}`, 404, "NoUserError", nil},
	} {
		_, text := check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":`+c.body+`,"patch":true}`, c.status, c.part)
		if strings.Contains(text, "CANAR") {
			t.Errorf("%s: the answer shows the password: %s", c.name, text)
		}
		for key, want := range c.want {
			if diff := cmp.Diff(want, user(t, s, admin, "/api/v2/users/bob")[key]); diff != "" {
				t.Errorf("%s: %s: %s", c.name, key, diff)
			}
		}
	}
}

func TestReplacingAUser(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice")
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":"alice","email":"no"}}`, 400,
		"admin: required unless patch is true; extension: required unless patch is true; password: required unless patch is true; virtualCluster: required unless patch is true; email: expected")
	check(t, s, alice, "PUT", "/api/v2/users/me", jsonType, `{"data":{"username":"alice"}}`, 400,
		"email: required unless patch is true; extension: required unless patch is true; newPassword: required unless patch is true")
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":"alice","email":"","extension":{"x":{"y":1}},"virtualCluster":[],"admin":false,"password":"secret-new"}}`, 201, "")
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":"alice","email":"a@b.c","extension":{"x":{"z":1}},"virtualCluster":["research"],"admin":true,"password":"secret-newer"}}`, 201, "")
	got := user(t, s, admin, "/api/v2/users/alice")
	want := map[string]any{"username": "alice", "email": "a@b.c", "admin": true, "grouplist": []any{"default", "research", "admingroup"},
		"virtualCluster": []any{"default", "research"}, "storageConfig": []any{"personal", "readonly"}, "extension": map[string]any{"x": map[string]any{"z": 1.0}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	check(t, s, "", "POST", "/api/v2/authn/basic/login", jsonType, `{"username":"alice","password":"secret-newer"}`, 200, "")
}

func TestAdministratorByAnotherGroup(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	_, err := s.Cluster.CreateGroup(t.Context(), pai.Group{Name: "operators", Extension: map[string]any{"acls": map[string]any{"admin": true}}})
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, admin, "PUT", "/api/v2/users/bob/grouplist", jsonType, `{"grouplist":["operators","admingroup","operators"]}`, 201, `{"message":"update user grouplist successfully."}`)
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":"bob","admin":false},"patch":true}`, 400, "as a member of operators, too")
	if got := user(t, s, admin, "/api/v2/users/bob")["grouplist"]; !cmp.Equal(got, []any{"operators", "admingroup"}) {
		t.Errorf("got %v", got)
	}
	check(t, s, admin, "DELETE", "/api/v2/users/bob", "", "", 403, `{"code":"RemoveAdminError","message":"Admin bob is not allowed to remove."}`)
}

// TestTheLastAdministratorStays, whichever way the rights would be taken away.
func TestTheLastAdministratorStays(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/api/v2/users", `{"data":{"username":"admin","admin":false},"patch":true}`},
		{"DELETE", "/api/v2/users/admin/group", `{"groupname":"admingroup"}`},
		{"PUT", "/api/v2/users/admin/grouplist", `{"grouplist":["default"]}`},
	} {
		check(t, s, admin, c.method, c.path, jsonType, c.body, 403, `{"code":"RemoveAdminError","message":"User admin is the last administrator: make somebody else one first."}`)
	}
	check(t, s, admin, "PUT", "/api/v2/users", jsonType, `{"data":{"username":"bob","admin":true},"patch":true}`, 201, "")
	check(t, s, admin, "DELETE", "/api/v2/users/admin/group", jsonType, `{"groupname":"admingroup"}`, 201, "")
	check(t, s, admin, "GET", "/api/v2/users", "", "", 403, "ForbiddenUserError")
}

// TestPrivateKeysStayPrivate: nobody sees them, the owner included, and who writes back what was read does not lose them.
func TestPrivateKeysStayPrivate(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice")
	put := func(auth, path, data string, patch bool) {
		t.Helper()
		check(t, s, auth, "PUT", path, jsonType, fmt.Sprintf(`{"data":%s,"patch":%t}`, data, patch), 201, "")
	}
	kept := func() pai.User {
		t.Helper()
		u, err := s.Cluster.User(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	const key = `-----BEGIN OPENSSH PRIVATE KEY-----CANARY`
	put(alice, "/api/v2/users/me", `{"username":"alice","extension":{"jobSSH":{"key":"CANARY","pub":"p"},"other":{"deep":"`+key+`"},"list":["`+key+`"],"plain":1}}`, true)
	for _, path := range []string{"/api/v2/users/me", "/api/v2/users/alice"} {
		for _, auth := range []string{alice, admin} {
			if _, text := check(t, s, auth, "GET", path, "", "", 200, ""); strings.Contains(text, "CANARY") {
				t.Errorf("GET %s: %s", path, text)
			}
		}
	}
	if _, text := check(t, s, admin, "GET", "/api/v2/users", "", "", 200, `"jobSSH":{"pub":"p"},"other":{},"plain":1`); strings.Contains(text, "CANARY") {
		t.Errorf("GET users: %s", text)
	}
	put(admin, "/api/v2/users", `{"username":"alice","email":"","virtualCluster":["research"],"admin":false,"password":"secret-alice","extension":{"jobSSH":{"pub":"q"},"other":{}}}`, false)
	want := map[string]any{"jobSSH": map[string]any{"key": "CANARY", "pub": "q"}, "other": map[string]any{"deep": key}, "list": []any{key}}
	if diff := cmp.Diff(want, kept().Extension); diff != "" {
		t.Error(diff)
	}
	put(admin, "/api/v2/users", `{"username":"alice","extension":{"jobSSH":{"key":null},"other":null,"list":null}}`, true)
	if diff := cmp.Diff(map[string]any{"jobSSH": map[string]any{"pub": "q"}}, kept().Extension); diff != "" {
		t.Error(diff)
	}
}

func TestOwnPassword(t *testing.T) {
	s := servertest.Start(t, nil)
	application, err := s.Accounts.IssueApplicationToken(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	alice, elsewhere := "Bearer "+s.Token(t, "alice"), "Bearer "+s.Token(t, "alice")
	for _, c := range []struct {
		name, data string
		status     int
		part       string
	}{
		{"no old one", `{"username":"alice","newPassword":"secret-new"}`, 400, "oldPassword: required with newPassword"},
		{"wrong", `{"username":"alice","newPassword":"secret-new","oldPassword":"CANARY"}`, 403, `{"code":"ForbiddenUserError","message":"oldPassword: the password is incorrect"}`},
		{"short", `{"username":"alice","newPassword":"CAN","oldPassword":"secret-alice"}`, 400, "newPassword: at least 6 characters"},
		{"other's", `{"username":"bob","newPassword":"secret-new","oldPassword":"secret-bob"}`, 403, "not allowed to change other users"},
		{"rights", `{"username":"alice","admin":true}`, 400, "data.admin: unexpected property"},
		{"groups", `{"username":"alice","virtualCluster":["x"],"grouplist":["admingroup"]}`, 400, "data.grouplist: unexpected property"},
		{"good", `{"username":"alice","newPassword":"secret-new","oldPassword":"secret-alice"}`, 201, "Update user alice successfully"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, text := check(t, s, alice, "PUT", "/api/v2/users/me", jsonType, `{"data":`+c.data+`,"patch":true}`, c.status, c.part)
			if strings.Contains(text, "CAN") {
				t.Errorf("the answer shows a password: %s", text)
			}
		})
	}
	check(t, s, alice, "GET", "/api/v2/users/me", "", "", 200, "")
	check(t, s, elsewhere, "GET", "/api/v2/users/me", "", "", 401, "")
	check(t, s, "Bearer "+application, "GET", "/api/v2/jobs/alice~none", "", "", 404, "NoJobError")
	check(t, s, "", "POST", "/api/v2/authn/basic/login", jsonType, `{"username":"alice","password":"secret-alice"}`, 400, "IncorrectPasswordError")
	check(t, s, "", "POST", "/api/v2/authn/basic/login", jsonType, `{"username":"alice","password":"secret-new"}`, 200, "")
}

// TestGuessingTheOldPasswordIsLimited: a stolen token is no way around the limit on logins.
func TestGuessingTheOldPasswordIsLimited(t *testing.T) {
	s := servertest.Start(t, nil)
	alice := "Bearer " + s.Token(t, "alice")
	for range 30 {
		resp, _ := do(t, s, "PUT", "/api/v2/users/me", jsonType, `{"data":{"username":"alice","newPassword":"secret-new","oldPassword":"wrong-one"},"patch":true}`, alice)
		if resp.StatusCode == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("30 wrong passwords were taken")
}

func TestUserIfMatch(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, bob := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "bob")
	header, _ := check(t, s, admin, "GET", "/api/v2/users/bob", "", "", 200, "")
	put := func(auth, path, version, email string) (int, string) {
		resp, _ := do(t, s, "PUT", path, jsonType, `{"data":{"username":"bob","email":"`+email+`"},"patch":true}`, auth, "If-Match", version)
		return resp.StatusCode, resp.Header.Get("ETag")
	}
	first, next := put(admin, "/api/v2/users", header.Get("ETag"), "a@b.c")
	second, _ := put(admin, "/api/v2/users", header.Get("ETag"), "b@b.c")
	third, _ := put(bob, "/api/v2/users/me", header.Get("ETag"), "c@b.c")
	fourth, last := put(bob, "/api/v2/users/me", next, "d@b.c")
	if got := []int{first, second, third, fourth}; !cmp.Equal(got, []int{201, 412, 412, 201}) || last == next {
		t.Errorf("current, old, old, current version: got %v", got)
	}
	if _, same := put(admin, "/api/v2/users", "*", "d@b.c"); same != last {
		t.Errorf("a change that changes nothing makes version %s of %s", same, last)
	}
}

func TestGroupsOfAUser(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	const group, list = "/api/v2/users/bob/group/", "/rest-server/api/v2/users/bob/grouplist/"
	check(t, s, admin, "PUT", group, jsonType, `{"groupname":"research"}`, 201, `{"message":"User bob is added into group research"}`)
	check(t, s, admin, "PUT", group, jsonType, `{"groupname":"research"}`, 201, "")
	check(t, s, admin, "PUT", group, jsonType, `{"groupname":"none"}`, 404, `{"code":"NoGroupError","message":"Group none is not found."}`)
	check(t, s, admin, "PUT", group, jsonType, `{}`, 400, "groupname")
	check(t, s, admin, "PUT", "/api/v2/users/nobody/group", jsonType, `{"groupname":"research"}`, 404, "NoUserError")
	check(t, s, admin, "PUT", list, jsonType, `{"grouplist":["default","none","gone"]}`, 404, "Group none is not found. Group gone is not found.")
	if got := user(t, s, admin, "/api/v2/users/bob")["grouplist"]; !cmp.Equal(got, []any{"default", "research"}) {
		t.Errorf("got %v", got)
	}
	check(t, s, admin, "DELETE", group, jsonType, `{"groupname":"research"}`, 201, `{"message":"User bob is removed from group research"}`)
	check(t, s, admin, "DELETE", group, jsonType, `{"groupname":"research"}`, 201, "")
	check(t, s, admin, "DELETE", group, jsonType, `{"groupname":"none"}`, 404, "NoGroupError")
	check(t, s, admin, "PUT", list, jsonType, `{"grouplist":[]}`, 201, "")
	if got := user(t, s, admin, "/api/v2/users/bob")["grouplist"]; !cmp.Equal(got, []any{}) {
		t.Errorf("got %v", got)
	}
	check(t, s, admin, "PUT", list, jsonType, `{}`, 400, "grouplist")
}

// TestGroupsThatAreNoMore: a name in a user's list that no group has counts for nothing and breaks nothing.
func TestGroupsThatAreNoMore(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	if err := s.Cluster.CreateUser(t.Context(), pai.User{Name: "old", Groups: []pai.GroupName{"gone", "default", "a/b"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/api/v2/users", `{"data":{"username":"old","virtualCluster":["research"],"admin":true},"patch":true}`},
		{"PUT", "/api/v2/users", `{"data":{"username":"old","virtualCluster":[],"admin":false},"patch":true}`},
		{"PUT", "/api/v2/users/old/group", `{"groupname":"research"}`},
		{"DELETE", "/api/v2/users/old/group", `{"groupname":"research"}`},
	} {
		check(t, s, admin, c.method, c.path, jsonType, c.body, 201, "")
		check(t, s, admin, "GET", "/api/v2/users", "", "", 200, `"username":"old"`)
	}
	u, err := s.Cluster.User(t.Context(), "old")
	if err != nil || !cmp.Equal(u.Groups, []pai.GroupName{"gone", "default", "a/b"}) {
		t.Errorf("got %v, %v", u.Groups, err)
	}
	check(t, s, admin, "DELETE", "/api/v2/users/old/group", jsonType, `{"groupname":"gone"}`, 201, "")
	check(t, s, admin, "DELETE", "/api/v2/users/old", "", "", 200, "")
}

func TestDeletedUsers(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice")
	check(t, s, admin, "DELETE", "/api/v2/users/alice", "", "", 200, `{"message":"user is removed successfully"}`)
	check(t, s, alice, "GET", "/api/v2/users/me", "", "", 401, "UnauthorizedUserError")
	check(t, s, admin, "DELETE", "/api/v2/users/alice", "", "", 404, "NoUserError")
	check(t, s, admin, "DELETE", "/api/v2/users/admin", "", "", 403, "RemoveAdminError")
	check(t, s, admin, "POST", "/api/v2/users", jsonType, `{"username":"alice","password":"secret-alice"}`, 201, "")
	check(t, s, alice, "GET", "/api/v2/users/me", "", "", 401, "UnauthorizedUserError")
	if len(s.Cluster.Tokens("alice")) != 0 {
		t.Error("tokens of the deleted user are listed for the new one")
	}
}

// TestNoTokenComesWithAName: a list of tokens that was left behind is not that of a new user.
func TestNoTokenComesWithAName(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	token, err := s.Accounts.IssueApplicationToken(t.Context(), "left")
	if err != nil {
		t.Fatal(err)
	}
	check(t, s, admin, "POST", "/api/v2/users", jsonType, `{"username":"left","password":"secret-left"}`, 201, "")
	check(t, s, "Bearer "+token, "GET", "/api/v2/jobs/left~none", "", "", 401, "UnauthorizedUserError")
}

// TestUserChangesAtOnceAreAllKept: administrators and the user at the same time.
func TestUserChangesAtOnceAreAllKept(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, bob := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "bob")
	const writers = 12
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			body := fmt.Sprintf(`{"data":{"username":"bob","extension":{"admin":{"k%d":true}}},"patch":true}`, i)
			check(t, s, admin, "PUT", "/api/v2/users", jsonType, body, 201, "")
		})
		wg.Go(func() {
			body := fmt.Sprintf(`{"data":{"username":"bob","extension":{"self":{"k%d":true}}},"patch":true}`, i)
			check(t, s, bob, "PUT", "/api/v2/users/me", jsonType, body, 201, "")
		})
	}
	wg.Go(func() {
		check(t, s, admin, "PUT", "/api/v2/users/bob/group", jsonType, `{"groupname":"research"}`, 201, "")
	})
	wg.Wait()
	got := user(t, s, admin, "/api/v2/users/bob")
	text, err := json.Marshal(got["extension"])
	if err != nil || strings.Count(string(text), "true") != 2*writers || !cmp.Equal(got["grouplist"], []any{"default", "research"}) {
		t.Errorf("got %v, %v", got, err)
	}
}
