package rest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// check sends a request and compares status and a part of the answer.
func check(t *testing.T, s *servertest.Server, auth, method, path, typ, body string, status int, part string) (http.Header, string) {
	t.Helper()
	resp, text := do(t, s, method, path, typ, body, auth)
	if resp.StatusCode != status || !strings.Contains(text, part) {
		t.Errorf("%s %s: got %d %s, want %d with %s", method, path, resp.StatusCode, text, status, part)
	}
	return resp.Header, text
}

func TestLogin(t *testing.T) {
	s := servertest.Start(t, nil)
	const path, form, js = "/api/v2/authn/basic/login", "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct {
		name, typ, body string
		status          int
		part            string
	}{
		{"form", form, "username=alice&password=secret-alice", 200, `"user":"alice","admin":false`},
		{"json", js, `{"username":"admin","password":"secret-admin","expiration":60}`, 200, `"admin":true`},
		{"json with charset", js + "; charset=utf-8", `{"username":"admin","password":"secret-admin","expiration":"60"}`, 200, `"token":"`},
		{"no content type", "", `{"username":"admin","password":"secret-admin"}`, 200, `"token":"`},
		{"wrong password", form, "username=alice&password=secret-bob", 400, `"code":"IncorrectPasswordError"`},
		{"unknown user", form, "username=nobody&password=secret-bob", 400, `"code":"NoUserError"`},
		{"nothing", form, "x=y", 400, "username: missing; password: missing"},
		{"everything at once", form, "x=y&expiration=soon&username=a/b", 400, `password: missing; x: unexpected property; expiration: expected a number of seconds; \"a/b\" cannot be`},
		{"unknown key", js, `{"username":"alice","password":"secret-alice","remember":"me"}`, 400, "remember: unexpected property"},
		{"a password without its key", form, "CANARY", 400, "only username, password, expiration are taken"},
		{"bad JSON", js, `{"username": CANARY`, 400, "not a JSON object"},
		{"bad expiration", form, "username=alice&password=secret-alice&expiration=-1", 400, "expiration"},
		{"long expiration", form, "username=alice&password=secret-alice&expiration=2000000000", 400, "expiration"},
		{"odd name", form, "username=../x&password=secret-bob", 400, "InvalidParametersError"},
		{"large", form, "username=" + strings.Repeat("x", 20<<10), 413, "InvalidParametersError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, text := check(t, s, "", "POST", path, c.typ, c.body, c.status, c.part)
			if strings.Contains(text, "CANARY") {
				t.Errorf("the answer quotes the body: %s", text)
			}
		})
	}
}

func TestLoginIsLimited(t *testing.T) {
	s := servertest.Start(t, nil)
	var last int
	for range 30 {
		resp, _ := do(t, s, "POST", "/api/v2/authn/basic/login", "application/json", `{"username":"alice","password":"wrong-one"}`, "")
		if last = resp.StatusCode; last == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("30 wrong passwords were taken; the last status was %d", last)
}

func TestApplicationTokenAsBasic(t *testing.T) {
	s := servertest.Start(t, nil)
	token, err := s.Accounts.IssueApplicationToken(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	basic := func(user, token string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+token))
	}
	const job = "/api/v2/jobs/alice~none"
	check(t, s, basic("alice", token), "GET", job, "", "", 404, "NoJobError")
	check(t, s, basic("bob", token), "GET", job, "", "", 401, "UnauthorizedUserError")
	check(t, s, basic("alice", s.Token(t, "alice")), "GET", job, "", "", 401, "UnauthorizedUserError")
	check(t, s, basic("alice", token), "GET", "/api/v2/storages", "", "", 403, "Applications are not allowed")
}

func TestLogoutRevokes(t *testing.T) {
	s := servertest.Start(t, nil)
	auth := "Bearer " + s.Token(t, "alice")
	check(t, s, auth, "GET", "/api/v2/storages", "", "", 200, "")
	check(t, s, auth, "DELETE", "/api/v2/authn/basic/logout", "", "", 200, "Logout successfully")
	check(t, s, auth, "GET", "/api/v2/storages", "", "", 401, "UnauthorizedUserError")
}

// TestGrantAsDocumented follows the document that users know: read the group, put the storage into it.
func TestGrantAsDocumented(t *testing.T) {
	s := servertest.Start(t, nil)
	admin, alice := "Bearer "+s.Token(t, "admin"), "Bearer "+s.Token(t, "alice")
	_, text := check(t, s, admin, "GET", "/rest-server/api/v2/groups/default", "", "", 200, "")
	want := `{"groupname":"default","description":"group for default vc","externalName":"","extension":{"acls":{"admin":false,"storageConfigs":[],"virtualClusters":["default"]}}}`
	if strings.TrimSpace(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	check(t, s, alice, "GET", "/api/v2/storages/nfs-storage", "", "", 403, `User alice is not allowed to access nfs-storage.`)
	put := `{"data":{"groupname":"default","extension":{"acls":{"storageConfigs":["nfs-storage"],"admin":false,"virtualClusters":["default"]}}},"patch":true}`
	check(t, s, admin, "PUT", "/rest-server/api/v2/groups", "application/json", put, 201, `{"message":"update group default successfully."}`)
	check(t, s, alice, "GET", "/rest-server/api/v2/storages", "", "", 200, `{"name":"nfs-storage","share":true,"volumeName":"nfs-storage-pv","default":true}`)
	check(t, s, alice, "GET", "/api/v2/storages?default=true", "", "", 200, `"personal"`)
	check(t, s, alice, "GET", "/api/v2/storages/nfs-storage", "", "", 200, `"type":"nfs","data":{"path":"/data","server":"10.0.0.1"},"readOnly":false,"mountOptions":["nfsvers=4.1"]`)
	check(t, s, alice, "GET", "/api/v2/storages/absent", "", "", 404, `{"code":"NoStorageError","message":"Storage absent is not found."}`)
	check(t, s, admin, "GET", "/api/v2/storages", "", "", 200, `"name":"unbound","share":true,"volumeName":"","default":false,"reason":"no volume is bound to its claim yet: `)
}

func TestPatchKeepsWhatIsLeftOut(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, c := range []struct{ name, put, want string }{
		{"storages only", `{"data":{"groupname":"default","extension":{"acls":{"storageConfigs":["a"]},"mine":{"x":1,"y":12345678901234567890}}},"patch":true}`,
			`"description":"group for default vc","externalName":"","extension":{"acls":{"admin":false,"storageConfigs":["a"],"virtualClusters":["default"]},"mine":{"x":1,`},
		{"null deletes", `{"data":{"groupname":"default","externalName":"ext","extension":{"mine":{"x":null,"y":2}}},"patch":true}`,
			`"externalName":"ext","extension":{"acls":{"admin":false,"storageConfigs":["a"],"virtualClusters":["default"]},"mine":{"y":2}}`},
		{"replace", `{"data":{"groupname":"default","extension":{"acls":{"virtualClusters":["default"]}}}}`,
			`{"groupname":"default","description":"","externalName":"","extension":{"acls":{"virtualClusters":["default"]}}}`},
	} {
		check(t, s, admin, "PUT", "/api/v2/groups", "application/json", c.put, 201, "")
		check(t, s, admin, "GET", "/api/v2/groups/default", "", "", 200, c.want)
	}
}

func TestGroupRefusals(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, c := range []struct {
		name, body string
		status     int
		part       string
	}{
		{"absent", `{"data":{"groupname":"none"},"patch":true}`, 404, "NoGroupError"},
		{"types", `{"data":{"groupname":"default","extension":{"acls":{"admin":"yes","storageConfigs":[1,"Bad"],"virtualClusters":{}}}},"patch":true}`, 400,
			"extension.acls.admin: expected true or false; extension.acls.virtualClusters: expected a list of names; extension.acls.storageConfigs[0]: expected a name; extension.acls.storageConfigs[1]"},
		{"unknown key", `{"data":{"groupname":"default","colour":"red"},"patch":true}`, 400, "data.colour: unexpected property"},
		{"no name", `{"data":{},"patch":true}`, 400, "groupname"},
		{"not JSON", `{`, 400, "InvalidParametersError"},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, s, admin, "PUT", "/api/v2/groups", "application/json", c.body, c.status, c.part)
		})
	}
	for _, path := range []string{"/api/v2/groups/none", "/api/v2/groups/a%2fb", "/api/v2/groups/%00", "/api/v2/groups/" + strings.Repeat("x", 10<<10)} {
		check(t, s, admin, "GET", path, "", "", 404, `"code":"NoGroupError"`)
	}
}

func TestIfMatch(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	header, _ := check(t, s, admin, "GET", "/api/v2/groups/default", "", "", 200, "")
	put := func(version string) int {
		resp, _ := do(t, s, "PUT", "/api/v2/groups", "application/json", `{"data":{"groupname":"default","description":"new"},"patch":true}`, admin, "If-Match", version)
		return resp.StatusCode
	}
	if got := []int{put(header.Get("ETag")), put(header.Get("ETag")), put("*")}; !cmp.Equal(got, []int{201, 412, 201}) {
		t.Errorf("current, old, any version: got %v", got)
	}
}

func TestPatchesAtOnceAreAllKept(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	const writers = 30
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			body := fmt.Sprintf(`{"data":{"groupname":"default","extension":{"keys":{"k%d":true}}},"patch":true}`, i)
			check(t, s, admin, "PUT", "/api/v2/groups", "application/json", body, 201, "")
		})
	}
	wg.Wait()
	_, text := check(t, s, admin, "GET", "/api/v2/groups/default", "", "", 200, `"virtualClusters":["default"]`)
	if got := strings.Count(text, ":true"); got != writers {
		t.Errorf("%d of %d updates are there: %s", got, writers, text)
	}
}

func TestCreateUser(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, c := range []struct {
		name, body string
		status     int
		part       string
	}{
		{"plain", `{"username":"a.b-c_d","password":"secret-x"}`, 201, "User is created successfully"},
		{"taken", `{"username":"a.b-c_d","password":"secret-x"}`, 409, `{"code":"ConflictUserError","message":"User name a.b-c_d already exists."}`},
		{"short password", `{"username":"x1","password":"CANAR","email":"no"}`, 400, "password: at least 6 characters, at most 1024; email: "},
		{"dots", `{"username":"..","password":"secret-x"}`, 400, "InvalidParametersError"},
		{"unknown cluster", `{"username":"x2","password":"secret-x","virtualCluster":["none"]}`, 400, "NoVirtualClusterError"},
		{"admin by cluster", `{"username":"x3","password":"secret-x","virtualCluster":["admingroup"]}`, 400, "NoVirtualClusterError"},
		{"wrong type", `{"username":"x4","password":{"CANARY":1}}`, 400, "password: expected string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, text := check(t, s, admin, "POST", "/api/v2/users", "application/json", c.body, c.status, c.part)
			if strings.Contains(text, "CANAR") {
				t.Errorf("the answer shows the password: %s", text)
			}
		})
	}
}

func TestSubmit(t *testing.T) {
	s := servertest.Start(t, nil)
	alice, bob := "Bearer "+s.Token(t, "alice"), "Bearer "+s.Token(t, "bob")
	submit := func(auth, name, extras string, status int, part string) {
		t.Helper()
		check(t, s, auth, "POST", "/api/v2/jobs", "text/yaml", jobDocument(name, extras), status, part)
	}
	submit(alice, "one", "extras: {storages: []}", 202, `{"message":"update job one successfully"}`)
	submit(alice, "one", "", 409, "ConflictJobError")
	submit(bob, "one", "", 202, "")
	submit(alice, "two", "extras: {storages: [{name: nfs-storage}]}", 403, "User alice is not allowed to access nfs-storage. You may use: personal, readonly; ask an administrator")
	submit(alice, "two", "extras: {storages: [{name: none}]}", 400, `"code":"NoStorageError"`)
	submit(bob, "two", "extras: {storages: [{name: personal}]}", 403, "You may use no storage yet")
	submit(alice, "two", "extras: {storages: [{name: personal, mountPath: /a}, {name: readonly, mountPath: /a/b}]}", 400, "clash")
	submit(alice, "two", "defaults: {virtualCluster: research}", 202, "")
	submit(bob, "two", "defaults: {virtualCluster: research}", 403, "virtual cluster research")
	submit(bob, "two", "defaults: {virtualCluster: none}", 400, "NoVirtualClusterError")
	check(t, s, alice, "POST", "/api/v2/jobs", "application/x-www-form-urlencoded", jobDocument("x", ""), 400, "Content-Type: text/yaml")
	check(t, s, alice, "GET", "/api/v2/jobs/alice~one", "", "", 200, `"state":"WAITING","subState":"AttemptPreparing","executionType":"START"`)
	check(t, s, alice, "GET", "/api/v2/jobs/alice", "", "", 404, "NoJobError")
	check(t, s, alice, "GET", "/api/v2/jobs/alice~one/logs?taskIndex=7", "", "", 404, "NoTaskError")

	jobs, err := s.Kube.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(jobs.Items) != 3 {
		t.Fatalf("got %d jobs, %v", len(jobs.Items), err)
	}
	for _, j := range jobs.Items {
		if j.Annotations["pai.storage/user"] == "alice" && j.Annotations["pai.storage/job"] == "one" {
			spec := j.Spec.Template.Spec
			want := []corev1.VolumeMount{{Name: "storage-0", MountPath: "/mnt/personal", SubPath: "alice"}}
			if diff := cmp.Diff(want, spec.Containers[0].VolumeMounts); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// TestSubmitMasksSecrets looks at the record, which keeps the document.
func TestSubmitMasksSecrets(t *testing.T) {
	s := servertest.Start(t, nil)
	check(t, s, "Bearer "+s.Token(t, "alice"), "POST", "/api/v2/jobs", "text/yaml", jobDocument("one", "secrets: {key: CANARY} # mine\n"), 202, "")
	records, err := s.Kube.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, kept := jobDocument("one", "secrets: {key: \"******\"} # mine\n"), 0
	for _, record := range records.Items {
		if string(record.Data["job.yaml"]) == want {
			kept++
		}
		if strings.Contains(fmt.Sprintf("%+v %s", record, record.Data), "CANARY") {
			t.Errorf("the record %s holds the secret", record.Name)
		}
	}
	if kept != 1 {
		t.Errorf("the masked document was kept %d times", kept)
	}
}

func TestShapeOfWhatDoesNotExist(t *testing.T) {
	s := servertest.Start(t, nil)
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/api/v2/nothing", 404, "NoApiError"},
		{"GET", "/api/v2//storages", 404, "NoApiError"},
		{"GET", "/rest-server/api/v2/nothing", 404, "NoApiError"},
		{"GET", "/rest-server/openapi.yaml", 404, "NoApiError"},
		{"PATCH", "/api/v2/groups", 405, "MethodNotAllowedError"},
		{"PUT", "/rest-server/api/v2/storages", 405, "MethodNotAllowedError"},
	} {
		header, text := check(t, s, "", c.method, c.path, "", "", c.status, "")
		var body struct{ Code, Message string }
		if err := json.Unmarshal([]byte(text), &body); err != nil || body.Code != c.code || body.Message == "" {
			t.Errorf("%s %s: got %s", c.method, c.path, text)
		}
		if c.status == 405 && header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", c.method, c.path)
		}
	}
}

// TestWayOut: who asks in a wrong way is told the right one.
func TestWayOut(t *testing.T) {
	s := servertest.Start(t, nil)
	admin := "Bearer " + s.Token(t, "admin")
	for _, c := range []struct {
		method, path, contentType, body, want string
		status                                int
	}{
		{"PUT", "/api/v2/groups", "application/x-www-form-urlencoded", `{"data":{"groupname":"default"},"patch":true}`, "Content-Type: application/json", 415},
		{"PUT", "/api/v2/groups", "application/json", `{"groupname":"default","patch":true}`, `{"data": {...}, "patch": true}`, 400},
		{"PUT", "/api/v2/users", "application/json", `{"username":"alice","patch":true}`, `{"data": {...}, "patch": true}`, 400},
		{"PUT", "/api/v2/groups", "application/json", `{"data":{"groupname":"default"},"patch":"true"}`, "patch: expected boolean; true and false are written without quotes", 400},
		{"PUT", "/api/v2/groups", "application/json", "", "send a JSON object", 400},
		{"GET", "/rest-server/rest-server/api/v2/groups", "", "", "Did you mean GET /rest-server/api/v2/groups?", 404},
		{"GET", "/rest-server/rest-server/rest-server/api/v2/groups", "", "", "Did you mean GET /rest-server/api/v2/groups?", 404},
		{"GET", "/api/v1/groups", "", "", "Did you mean GET /api/v2/groups?", 404},
		{"GET", "/api/v2/group", "", "", "Did you mean GET /api/v2/groups?", 404},
		{"GET", "/api/v2//groups", "", "", "Did you mean GET /api/v2/groups?", 404},
		{"GET", "/api/v2/nothing", "", "", "There is no such API.", 404},
	} {
		resp, text := do(t, s, c.method, c.path, c.contentType, c.body, admin)
		var body struct{ Message string }
		if err := json.Unmarshal([]byte(text), &body); err != nil || resp.StatusCode != c.status || !strings.Contains(body.Message, c.want) {
			t.Errorf("%s %s: %d %s, want %q", c.method, c.path, resp.StatusCode, text, c.want)
		}
	}
}

func TestPlumbing(t *testing.T) {
	s := servertest.Start(t, nil)
	check(t, s, "", "GET", "/healthz", "", "", 200, "ok")
	check(t, s, "", "GET", "/readyz", "", "", 200, "ok")
	check(t, s, "", "GET", "/openapi.yaml", "", "", 200, "openapi: 3.1")
	check(t, s, "", "GET", "/openapi.json", "", "", 200, `"/api/v2/storages/{storage}"`)
	check(t, s, "", "GET", "/api/v2/info", "", "", 200, `"launcherType":"k8s","authnMethod":"basic"`)
	resp, _ := do(t, s, "GET", "/healthz", "", "", "", "X-Request-Id", "from-proxy.1")
	if got := resp.Header.Get("X-Request-Id"); got != "from-proxy.1" {
		t.Errorf("got id %q", got)
	}
	resp, _ = do(t, s, "GET", "/healthz", "", "", "", "X-Request-Id", "x y")
	if got := resp.Header.Get("X-Request-Id"); len(got) != 16 {
		t.Errorf("got id %q", got)
	}
}

// TestNoSecretLeaves looks for passwords, tokens and canaries in everything that the server logs and answers.
func TestNoSecretLeaves(t *testing.T) {
	log := &lockedBuffer{}
	s := servertest.Start(t, log)
	token := s.Token(t, "admin")
	auth := "Bearer " + token
	var answers strings.Builder
	for _, c := range []struct{ method, path, typ, body string }{
		{"POST", "/api/v2/authn/basic/login", "application/json", `{"username":"alice","password":"secret-alice"}`},
		{"POST", "/api/v2/authn/basic/login", "application/json", `{"username":"alice","password":"CANARY-wrong"}`},
		{"POST", "/api/v2/users", "application/json", `{"username":"dora","password":"CANARY-new"}`},
		{"POST", "/api/v2/users", "application/json", `{"username":"dora","password":"CANARY-new","x":"CANARY"}`},
		{"PUT", "/api/v2/users", "application/json", `{"data":{"username":"bob","password":"CANARY-new","extension":{"jobSSH":{"key":"CANARY"},"githubPAT":"CANARY"}},"patch":true}`},
		{"PUT", "/api/v2/users", "application/json", `{"data":{"username":"bob","extension":{"githubPAT":"CANARY-2"}},"patch":true}`},
		{"PUT", "/api/v2/users/me", "application/json", `{"data":{"username":"admin","newPassword":"CANARY-new","oldPassword":"CANARY-old"},"patch":true}`},
		{"DELETE", "/api/v2/users/bob", "", ""},
		{"GET", "/api/v2/storages?token=CANARY", "", ""},
		{"GET", "/api/v2/storages/nfs-storage", "", ""},
		{"GET", "/api/v2/storages/personal", "", ""},
		{"GET", "/api/v2/groups/default", "", ""},
	} {
		_, text := do(t, s, c.method, c.path, c.typ, c.body, auth)
		answers.WriteString(text)
	}
	for what, text := range map[string]string{"log": log.String(), "answers": answers.String()} {
		for _, secret := range []string{"CANARY", "secret-", token, "$argon2id$"} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s has %q:\n%s", what, secret, text)
			}
		}
	}
	for _, entry := range []string{`"before":"{\"extension\":{},\"password\":\"old\"}"`, `"after":"{\"extension\":{\"githubPAT\":\"changed\"}}"`} {
		if !strings.Contains(log.String(), entry) {
			t.Errorf("the audit log has no %s: %s", entry, log.String())
		}
	}
	if !strings.Contains(log.String(), `"operation":"getStorage"`) {
		t.Errorf("no request lines: %s", log.String())
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLimitBehindAProxy: whoever only says to come from elsewhere has no limit of their own.
func TestLimitBehindAProxy(t *testing.T) {
	s := servertest.Start(t, nil)
	try := func(from string) int {
		resp, _ := do(t, s, "POST", "/api/v2/authn/basic/login", "application/x-www-form-urlencoded", "username=nobody"+from[len(from)-1:]+"&password=wrong-one", "", "X-Forwarded-For", from)
		return resp.StatusCode
	}
	for range 60 {
		try("1.2.3.4")
	}
	if status := try("1.2.3.5"); status != http.StatusTooManyRequests {
		t.Errorf("nobody is trusted here, and yet another address has tries left: %d", status)
	}
}
