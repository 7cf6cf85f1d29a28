package rest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/golang-jwt/jwt/v5"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// The callers of the who-table, the forbidden ones first.
const (
	anonymous = iota
	garbage
	revoked
	expired
	application // alice's
	bob         // a plain user that the thing asked for is nothing to
	alice       // a plain user that owns it or was granted it
	admin
	callers
)

var callerNames = [callers]string{"anonymous", "garbage token", "revoked token", "expired token", "application token", "other user", "user", "admin"}

// people are those callers who signed in themselves.
var people = map[int]pai.UserName{bob: "bob", alice: "alice", admin: "admin"}

// whoRow is what each caller gets.
type whoRow struct {
	path   string // with values for the parameters
	body   string
	typ    string
	status [callers]int
}

// Every row that is for signed-in users only begins like this.
const (
	no401 = http.StatusUnauthorized
	no403 = http.StatusForbidden
)

// whoTable has one row for each operation, by its id. The test fails when one is missing.
func whoTable() map[string]whoRow {
	table := map[string]whoRow{
		"getAudit":       {path: "/api/v2/audit?limit=1", status: [callers]int{no401, no401, no401, no401, no403, no403, no403, 200}},
		"getClusterInfo": {path: "/api/v2/info", status: [callers]int{200, 200, 200, 200, 200, 200, 200, 200}},
	}
	for _, part := range []map[string]whoRow{
		whoCluster(),
		whoTokens(),
		whoUsers(),
		whoGroups(),
		whoStorages(),
		whoJobs(),
	} {
		maps.Copy(table, part)
	}
	return table
}

func whoCluster() map[string]whoRow {
	everybody := [callers]int{no401, no401, no401, no401, 200, 200, 200, 200}
	administrators := [callers]int{no401, no401, no401, no401, no403, no403, no403, 200}
	return map[string]whoRow{
		"listVirtualClusters": {path: "/api/v2/virtual-clusters", status: everybody},
		"getVirtualCluster":   {path: "/api/v2/virtual-clusters/default", status: everybody},
		"getReadiness":        {path: "/api/v2/nodes/readiness", status: administrators},
		"getK8sNodes":         {path: "/api/v2/kubernetes/nodes", status: administrators},
		"getK8sPods":          {path: "/api/v2/kubernetes/pods?namespace=default", status: administrators},
	}
}

func whoTokens() map[string]whoRow {
	return map[string]whoRow{
		"basicLogin": {path: "/api/v2/authn/basic/login", typ: "application/json", body: `{"username":"bob","password":"secret-bob"}`,
			status: [callers]int{200, 200, 200, 200, 200, 200, 200, 200}},
		"getTokens":              {path: "/api/v2/tokens", status: [callers]int{no401, no401, no401, no401, no403, 200, 200, 200}},
		"createApplicationToken": {path: "/api/v2/tokens/application", status: [callers]int{no401, no401, no401, no401, no403, 200, 200, 200}},
		"deleteToken": {path: "/api/v2/tokens/" + aliceSays, // unsigned, but it says that it is alice's
			status: [callers]int{no401, no401, no401, no401, no403, no403, 200, 200}},
		"basicLogout": {path: "/api/v2/authn/basic/logout", status: [callers]int{no401, no401, no401, no401, no403, 200, 200, 200}},
	}
}

// aliceSays is a token in form that nobody signed: {"alg":"HS256"}.{"username":"alice"}.
const aliceSays = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VybmFtZSI6ImFsaWNlIn0.AAAA"

func whoUsers() map[string]whoRow {
	const typ = "application/json"
	forAdmins := func(status int) [callers]int {
		return [callers]int{no401, no401, no401, no401, no403, no403, no403, status}
	}
	own := [callers]int{no401, no401, no401, no401, no403, no403, 200, 200}
	return map[string]whoRow{
		"getStoragePassword":    {path: "/api/v2/users/alice/storage-password", status: own},
		"setStoragePassword":    {path: "/api/v2/users/alice/storage-password", typ: typ, body: `{"password":"secret of the folder"}`, status: own},
		"removeStoragePassword": {path: "/api/v2/users/alice/storage-password", status: own},
		"getAllUser":            {path: "/api/v2/users", status: forAdmins(200)},
		"updateUser":            {path: "/api/v2/users", typ: typ, body: `{"data":{"username":"alice","email":"a@b.c"},"patch":true}`, status: forAdmins(201)},
		"getUserSelf":           {path: "/api/v2/users/me", status: [callers]int{no401, no401, no401, no401, no403, 200, 200, 200}},
		"updateUserSelf": {path: "/api/v2/users/me", typ: typ, body: `{"data":{"username":"SELF","email":"a@b.c"},"patch":true}`,
			status: [callers]int{no401, no401, no401, no401, no403, 201, 201, 201}},
		"getUser":             {path: "/api/v2/users/alice", status: [callers]int{no401, no401, no401, no401, no403, no403, 200, 200}},
		"deleteUser":          {path: "/api/v2/users/nobody", status: forAdmins(404)},
		"updateUserGroup":     {path: "/api/v2/users/bob/group", typ: typ, body: `{"groupname":"default"}`, status: forAdmins(201)},
		"deleteUserGroup":     {path: "/api/v2/users/bob/group", typ: typ, body: `{"groupname":"admingroup"}`, status: forAdmins(201)},
		"updateUserGrouplist": {path: "/api/v2/users/bob/grouplist", typ: typ, body: `{"grouplist":["default"]}`, status: forAdmins(201)},
		"createUser": {path: "/api/v2/users", typ: "application/json", body: `{"username":"carol","password":"secret-carol"}`,
			status: [callers]int{no401, no401, no401, no401, no403, no403, no403, 201}},
	}
}

func whoGroups() map[string]whoRow {
	const json = "application/json"
	forPeople := [callers]int{no401, no401, no401, no401, no403, 200, 200, 200}
	administrators := func(well int) [callers]int {
		return [callers]int{no401, no401, no401, no401, no403, no403, no403, well}
	}
	return map[string]whoRow{
		"getAllGroup":     {path: "/api/v2/groups", status: forPeople},
		"getGroup":        {path: "/api/v2/groups/default", status: forPeople},
		"getGroupMembers": {path: "/api/v2/groups/default/userlist", status: administrators(200)},
		"createGroup":     {path: "/api/v2/groups", typ: json, body: `{"groupname":"new CALLER"}`, status: administrators(201)},
		"updateGroup": {path: "/api/v2/groups", typ: json, body: `{"data":{"groupname":"default","description":"d"},"patch":true}`,
			status: administrators(201)},
		"updateGroupExtension":    {path: "/api/v2/groups/default/extension", typ: json, body: `{"extension":{"a":1}}`, status: administrators(201)},
		"updateGroupAttribute":    {path: "/api/v2/groups/default/extension/a/b", typ: json, body: `{"data":1}`, status: administrators(201)},
		"updateGroupDescription":  {path: "/api/v2/groups/default/description", typ: json, body: `{"description":"d"}`, status: administrators(201)},
		"updateGroupExternalName": {path: "/api/v2/groups/default/externalname", typ: json, body: `{"externalName":"e"}`, status: administrators(201)},
		"deleteGroup":             {path: "/api/v2/groups/nobody", status: administrators(404)},
		"grantStorage":            {path: "/api/v2/groups/default/storages/nfs-storage", status: administrators(200)},
		"revokeStorage":           {path: "/api/v2/groups/default/storages/nfs-storage", status: administrators(200)},
	}
}

func whoStorages() map[string]whoRow {
	administrators := func(well int) [callers]int {
		return [callers]int{no401, no401, no401, no401, no403, no403, no403, well}
	}
	return map[string]whoRow{
		"declareStorage": {path: "/api/v2/storages", typ: "application/json", body: `{"name":"new-CALLER","type":"nfs","server":"10.0.0.1","path":"/new"}`,
			status: administrators(201)},
		"removeStorage":    {path: "/api/v2/storages/nowhere", status: administrators(404)},
		"getStorages":      {path: "/api/v2/storages", status: [callers]int{no401, no401, no401, no401, no403, 200, 200, 200}},
		"getStorage":       {path: "/api/v2/storages/personal", status: [callers]int{no401, no401, no401, no401, no403, no403, 200, 200}},
		"getStorageHealth": {path: "/api/v2/storages/personal/health", status: [callers]int{no401, no401, no401, no401, no403, no403, 200, 200}},
	}
}

func whoJobs() map[string]whoRow {
	const job = "/api/v2/jobs/alice~existing"
	const json = "application/json"
	owners := func(well int) [callers]int { return [callers]int{no401, no401, no401, no401, well, no403, well, well} }
	return map[string]whoRow{
		"listJobs":               {path: "/api/v2/jobs", status: [callers]int{no401, no401, no401, no401, 200, 200, 200, 200}},
		"getJobAttempt":          {path: job + "/attempts/0", status: owners(200)},
		"getJobConfig":           {path: job + "/config", status: owners(200)},
		"getEvents":              {path: job + "/events", status: owners(200)},
		"getJobDiagnosis":        {path: job + "/diagnosis", status: owners(200)},
		"getTask":                {path: job + "/attempts/0/taskRoles/worker/taskIndex/0/attempts", status: owners(200)},
		"addTag":                 {path: job + "/tag", typ: json, body: `{"value":"t"}`, status: owners(200)},
		"deleteTag":              {path: job + "/tag", typ: json, body: `{"value":"never"}`, status: owners(404)},
		"updateJobExecutionType": {path: job + "/executionType", typ: json, body: `{"value":"START"}`, status: owners(202)},
		"deleteJob":              {path: "/api/v2/jobs/alice~nowhere", status: owners(404)},
		"createJob": {path: "/api/v2/jobs", typ: "text/yaml", body: jobDocument("job-CALLER", ""),
			status: [callers]int{no401, no401, no401, no401, 202, 202, 202, 202}},
		"getJob":    {path: job, status: [callers]int{no401, no401, no401, no401, 200, no403, 200, 200}},
		"getJobLog": {path: job + "/logs", status: [callers]int{no401, no401, no401, no401, 404, no403, 404, 404}}, // nothing runs here: NoTaskLogError
		"getTaskLogs": {path: job + "/attempts/0/taskRoles/worker/taskIndex/0/attempts/0/logs",
			status: [callers]int{no401, no401, no401, no401, 200, no403, 200, 200}},
	}
}

func jobDocument(name, extras string) string {
	return `protocolVersion: 2
name: ` + name + `
type: job
prerequisites: [{name: shell, type: dockerimage, uri: "busybox:1.36"}]
taskRoles:
  worker:
    dockerImage: shell
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands: ["true"]
` + extras
}

func TestWhoTable(t *testing.T) { testWhoTable(t, servertest.Start(t, nil), whoTable()) }

// TestWhoTableOfSignOn is the same where users come from an identity provider.
func TestWhoTableOfSignOn(t *testing.T) {
	table := whoTable()
	for _, id := range []string{"basicLogin", "createUser", "updateUserGroup", "deleteUserGroup", "updateUserGrouplist"} {
		delete(table, id) // the provider decides
	}
	for id, body := range map[string]string{"updateUser": `{"data":{"username":"alice","extension":{}},"patch":true}`, "updateUserSelf": `{"data":{"username":"SELF","extension":{}},"patch":true}`} {
		row := table[id]
		row.body = body
		table[id] = row
	}
	everybody := func(status int) (all [callers]int) {
		for i := range all {
			all[i] = status
		}
		return all
	}
	table["oidcLogin"] = whoRow{path: "/api/v2/authn/oidc/login", status: everybody(302)}
	table["oidcReturn"] = whoRow{path: "/api/v2/authn/oidc/return?code=x&state=y", status: everybody(401)} // nobody started
	logout := everybody(302)
	logout[application] = no403
	table["oidcLogout"] = whoRow{path: "/api/v2/authn/oidc/logout", status: logout}
	s, _ := startSignOn(t, nil)
	testWhoTable(t, s, table)
}

func testWhoTable(t *testing.T, s *servertest.Server, table map[string]whoRow) {
	for id, operation := range operations(s) {
		row, ok := table[id]
		if !ok {
			t.Errorf("operation %s has no row in the who-table", id)
			continue
		}
		delete(table, id)
		if declared, shown := declaredRole(s, id), row.role(id); declared != shown {
			t.Errorf("operation %s declares role %d, and its row is one of role %d", id, declared, shown)
		}
		t.Run(id, func(t *testing.T) { testWho(t, s, operation, row) })
	}
	for id := range table {
		t.Errorf("there is no operation %s", id)
	}
}

// operations are the methods of all registered operations, by id.
func operations(s *servertest.Server) map[string]string {
	out := map[string]string{}
	for _, item := range s.REST.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{
			"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch,
		} {
			if op != nil {
				out[op.OperationID] = method
			}
		}
	}
	return out
}

// role is the least role that the row lets through. Callers beyond it may still be refused because of the thing asked for.
func (r whoRow) role(id string) pai.Role {
	switch {
	case r.status[anonymous] != no401, id == "oidcReturn": // which refuses what a guest brings
		return pai.Guest
	case r.status[application] != no403:
		return pai.SignedIn
	case r.status[alice] != no403:
		return pai.Person
	}
	return pai.Administrator
}

// declaredRole is what an operation was registered with; -1 when it was registered without.
func declaredRole(s *servertest.Server, id string) pai.Role {
	for _, item := range s.REST.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete, item.Patch} {
			if op != nil && op.OperationID == id {
				if role, ok := op.Metadata["role"].(pai.Role); ok {
					return role
				}
			}
		}
	}
	return -1
}

func testWho(t *testing.T, s *servertest.Server, method string, row whoRow) {
	if resp, text := do(t, s, "POST", "/api/v2/jobs", "text/yaml", jobDocument("existing", ""), "Bearer "+s.Token(t, "alice")); resp.StatusCode != 202 && resp.StatusCode != 409 {
		t.Fatalf("cannot make the job of the test: %d %s", resp.StatusCode, text)
	}
	for caller := range callers {
		for _, prefix := range []string{"", "/rest-server"} {
			body := strings.ReplaceAll(row.body, "CALLER", fmt.Sprintf("%d-%d", caller, len(prefix)))
			body = strings.ReplaceAll(body, "SELF", string(people[caller]))
			body = strings.ReplaceAll(body, "carol", "carol"+fmt.Sprint(len(prefix)))
			resp, text := do(t, s, method, prefix+row.path, row.typ, body, authorization(t, s, caller))
			if resp.StatusCode != row.status[caller] {
				t.Errorf("%s%s: got %d, want %d: %s", prefix, callerNames[caller], resp.StatusCode, row.status[caller], text)
			}
			testMalformed(t, s, method, prefix+row.path, row, caller)
			wantCode := map[int]string{401: string(pai.UnauthorizedUserError), 403: string(pai.ForbiddenUserError)}[resp.StatusCode]
			if !strings.Contains(text, wantCode) {
				t.Errorf("%s%s: %s lacks the code %s", prefix, callerNames[caller], text, wantCode)
			}
		}
	}
}

// testMalformed: who is forbidden is told so before the body is looked at; who is not is told of the body.
func testMalformed(t *testing.T, s *servertest.Server, method, path string, row whoRow, caller int) {
	t.Helper()
	if row.body == "" {
		return
	}
	want := row.status[caller]
	if want < 400 || want == http.StatusNotFound { // what is not there is looked for after the body is read
		want = http.StatusBadRequest
	}
	if resp, text := do(t, s, method, path, row.typ, "{", authorization(t, s, caller)); resp.StatusCode != want {
		t.Errorf("%s, malformed body: got %d, want %d: %s", callerNames[caller], resp.StatusCode, want, text)
	}
}

// authorization makes the header of a caller, each time with a fresh token.
func authorization(t *testing.T, s *servertest.Server, caller int) string {
	t.Helper()
	switch caller {
	case anonymous:
		return ""
	case garbage:
		return "Bearer abc.def.ghi"
	case revoked:
		token := s.Token(t, "admin")
		if err := s.Cluster.RemoveToken(t.Context(), "admin", token); err != nil {
			t.Fatal(err)
		}
		return "Bearer " + token
	case expired:
		return "Bearer " + listed(t, s, "admin", jwt.MapClaims{"username": "admin", "application": false, "exp": 1700000000})
	case application:
		token, err := s.Accounts.IssueApplicationToken(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // nobody may have too many of them
			if err := s.Cluster.RemoveToken(context.Background(), "alice", token); err != nil {
				t.Error(err)
			}
		})
		return "Bearer " + token
	}
	return "Bearer " + s.Token(t, people[caller])
}

// listed signs claims with the server's own key and lists the token for the user.
func listed(t *testing.T, s *servertest.Server, user pai.UserName, c jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Cluster.AddToken(t.Context(), user, token, func([]string) ([]string, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	return token
}

// web follows no redirects: where one leads is for the tests to look at.
var web = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func do(t *testing.T, s *servertest.Server, method, path, contentType, body, authorization string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}
