package rest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// step is one request and what it is answered with.
type step struct {
	method, path, body string
	status             int
	text               string // in the answer
}

func testSteps(t *testing.T, s *servertest.Server, authorization string, steps []step) {
	t.Helper()
	for _, st := range steps {
		typ := ""
		if st.body != "" {
			typ = "application/json"
		}
		resp, text := do(t, s, st.method, "/api/v2"+st.path, typ, st.body, authorization)
		if resp.StatusCode != st.status || !strings.Contains(text, st.text) {
			t.Errorf("%s %s %s: got %d %s, want %d ...%s...", st.method, st.path, st.body, resp.StatusCode, text, st.status, st.text)
		}
	}
}

func TestGroupLife(t *testing.T) {
	s := servertest.Start(t, nil)
	testSteps(t, s, "Bearer "+s.Token(t, "admin"), []step{
		{"POST", "/groups", `{"groupname":"team"}`, 201, "group is created successfully"},
		{"GET", "/groups/team", "", 200, `"extension":{"acls":{"admin":false,"storageConfigs":[],"virtualClusters":[]}}`},
		{"POST", "/groups", `{"groupname":"team"}`, 409, "ConflictGroupError"},
		{"POST", "/groups", `{"groupname":"a/b"}`, 400, "cannot be the name of a group"},
		{"POST", "/groups", `{"groupname":"x","extension":{"acls":{"admin":"yes","storageConfigs":["OK?"]}},"nonsense":1}`, 400, "nonsense"},
		{"POST", "/groups", `{"groupname":"x","extension":{"acls":{"admin":"yes","storageConfigs":["OK?"],"virtualClusters":{}}}}`, 400,
			"extension.acls.admin: expected true or false; extension.acls.virtualClusters: expected a list of names; extension.acls.storageConfigs[0]"},
		{"POST", "/groups", `{}`, 400, "groupname"},
		{"PUT", "/users/bob/group", `{"groupname":"team"}`, 201, ""},
		{"GET", "/groups/team/userlist", "", 200, `[{"username":"bob","clusterAdmin":false}]`},
		{"GET", "/groups/nowhere/userlist", "", 404, "NoGroupError"},
		{"DELETE", "/groups/team", "", 201, "group is removed successfully"},
		{"DELETE", "/groups/team", "", 404, "NoGroupError"},
		{"GET", "/groups/team", "", 404, "NoGroupError"},
		{"POST", "/groups", `{"groupname":"team"}`, 201, ""},
		{"GET", "/groups/team/userlist", "", 200, `[]`}, // the old members did not come back
		{"DELETE", "/groups/default", "", 403, "belongs to every cluster"},
		{"DELETE", "/groups/admingroup", "", 403, "belongs to every cluster"},
		{"PUT", "/groups", `{"data":{"groupname":"admingroup","extension":{"acls":{"admin":false}}},"patch":true}`, 403, "must keep acls.admin"},
		{"PUT", "/groups", `{"data":{"groupname":"admingroup","extension":{}}}`, 403, "must keep acls.admin"},
		{"PUT", "/groups", `{"data":{"groupname":"admingroup","description":"d"},"patch":true}`, 201, ""},
		{"POST", "/groups", `{"groupname":"Gruppe für Öl & Gas"}`, 201, ""},
		{"GET", "/groups/" + url.PathEscape("Gruppe für Öl & Gas"), "", 200, "Öl & Gas"},
		{"DELETE", "/groups/" + url.PathEscape("Gruppe für Öl & Gas"), "", 201, ""},
	})
}

// TestGroupFields goes through the paths that the original has for each field.
func TestGroupFields(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	testSteps(t, s, admin, []step{
		{"PUT", "/groups/research/description", `{"description":"people who search"}`, 201, "update group description data successfully."},
		{"PUT", "/groups/research/externalname", `{"externalName":"ext"}`, 201, "successfully"},
		{"PUT", "/groups/research/extension", `{"extension":{"acls":{"storageConfigs":["readonly"]},"color":{"name":"red","hex":"f00"}}}`, 201, "update group extension data"},
		{"PUT", "/groups/research/extension/color/name", `{"data":"green"}`, 201, "update group extension attribute data"},
		{"PUT", "/groups/research/extension/color/hex", `{"data":null}`, 201, ""},
		{"PUT", "/groups/research/extension/a/b/c/", `{"data":[1]}`, 201, ""},
		{"PUT", "/groups/research/extension/acls/admin", `{"data":"no"}`, 400, "extension.acls.admin"},
		{"PUT", "/groups/research/extension/acls//x", `{"data":"no"}`, 404, ""},
		{"PUT", "/groups/research/extension/" + strings.Repeat("a/", 20) + "x", `{"data":1}`, 400, "at most 16 keys"},
		{"PUT", "/groups/research/extension", `{"extension":[]}`, 400, "extension"},
		{"PUT", "/groups/research/description", `{"description":3}`, 400, "description"},
		{"PUT", "/groups/nowhere/description", `{"description":"d"}`, 404, "NoGroupError"},
	})
	_, text := do(t, s, "GET", "/api/v2/groups/research", "", "", admin)
	var got, want any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"groupname":"research","description":"people who search","externalName":"ext","extension":{
		"acls":{"admin":false,"virtualClusters":["research"],"storageConfigs":["readonly"]},"color":{"name":"green"},"a":{"b":{"c":[1]}}}}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGrants(t *testing.T) {
	s := servertest.Start(t, nil)
	testSteps(t, s, "Bearer "+s.Token(t, "admin"), []step{
		{"PUT", "/groups/research/storages/nfs-storage", "", 200, `"changed":true,"storages":["personal","readonly","nfs-storage"]`},
		{"PUT", "/groups/research/storages/nfs-storage", "", 200, `"changed":false,"storages":["personal","readonly","nfs-storage"]`},
		{"PUT", "/groups/research/storages/unbound", "", 200, `"warning":"storage unbound cannot be used yet: `},
		{"PUT", "/groups/research/storages/nowhere", "", 404, "NoStorageError"},
		{"PUT", "/groups/nowhere/storages/nfs-storage", "", 404, "NoGroupError"},
		{"PUT", "/groups/nowhere/storages/..", "", 404, ""},
		{"DELETE", "/groups/research/storages/personal", "", 200, `"changed":true,"storages":["readonly","nfs-storage","unbound"]`},
		{"DELETE", "/groups/research/storages/personal", "", 200, `"changed":false`},
		{"DELETE", "/groups/research/storages/nowhere", "", 404, "NoStorageError"},
		{"DELETE", "/groups/nowhere/storages/personal", "", 404, "NoGroupError"},
		{"PUT", "/groups", `{"data":{"groupname":"research","extension":{"acls":{"storageConfigs":["gone","readonly"]}}},"patch":true}`, 201, ""},
		{"DELETE", "/groups/research/storages/gone", "", 200, `"changed":true,"storages":["readonly"]`}, // that is how one cleans up
		{"GET", "/groups/research", "", 200, `"virtualClusters":["research"]`},
	})
	resp, text := do(t, s, "GET", "/api/v2/storages/personal", "", "", "Bearer "+s.Token(t, "alice"))
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("after the revocation alice gets %d %s", resp.StatusCode, text)
	}
}
