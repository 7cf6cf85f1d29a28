package rest_test

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/openidtest"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// canaryExceptions are all places where a planted secret may be seen, each with its reason. One that no secret uses any more is a fault.
var canaryExceptions = []canaryException{
	{"token of alice", "getTokens as user", "users see their own tokens, as the contract has it"},
	{"session of user", "getTokens as user", "users see their own tokens, as the contract has it"},
	{"session of admin", "getTokens as admin", "users see their own tokens, as the contract has it"},
	{"exposed", "getStorage as user", "the claim is annotated pai.storage/expose-credentials: \"true\""},
	{"exposed", "getStorage as admin", "the claim is annotated pai.storage/expose-credentials: \"true\""},
}

type canaryException struct{ what, where, why string }

// canaries are planted secrets: what each is, by its text.
type canaries struct {
	what  map[string]string
	found map[canaryException]bool
	seen  map[string]bool
	looks int
}

// plant makes a secret that is unlike any other text.
func (c *canaries) plant(what string) string {
	text := fmt.Sprintf("canary%04dx", len(c.what))
	c.what[text] = what
	return text
}

// plantNumber is plant for a secret of digits only.
func (c *canaries) plantNumber(what string) string {
	text := fmt.Sprintf("7391826%05d", len(c.what))
	c.what[text] = what
	return text
}

// look looks for every secret in a text, also encoded as Kubernetes and HTTP encode.
func (c *canaries) look(t *testing.T, where, text string) {
	t.Helper()
	c.looks++
	for canary, what := range c.what {
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary)), hex.EncodeToString([]byte(canary))} {
			if strings.Contains(text, form) && !c.allowed(what, where) && !c.seen[what+where] {
				c.seen[what+where] = true
				t.Errorf("%s shows the secret %q: %s", where, what, around(text, form))
			}
		}
	}
}

func (c *canaries) allowed(what, where string) bool {
	for _, e := range canaryExceptions {
		if strings.HasPrefix(what, e.what) && where == e.where {
			c.found[e] = true
			return true
		}
	}
	return false
}

func around(text, part string) string {
	at := strings.Index(text, part)
	return text[max(0, at-150):min(len(text), at+len(part)+50)]
}

// TestCanaries plants a secret wherever one may lie, asks every operation in every way, and looks for the secrets in everything that
// leaves the server.
func TestCanaries(t *testing.T) {
	c := &canaries{what: map[string]string{}, found: map[canaryException]bool{}, seen: map[string]bool{}}
	log := &lockedBuffer{}
	defer klog.CaptureState().Restore()
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))

	s := servertest.Start(t, log, plantedObjects(c)...)
	c.what[string(s.Key)] = "signing key"
	w := &canaryWalk{canaries: c, s: s, api: servedAPI(t, s), sessions: map[string]string{}, well: map[string]bool{}}
	w.prepare(t)
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "GET"} {
		for _, id := range w.deepestFirst() {
			if w.api.operations[id].method == method {
				w.operation(t, id)
			}
		}
	}
	w.headers(t)
	w.pages(t)
	for id, well := range w.well {
		if !well && id != "getJobLog" { // nothing runs here
			t.Errorf("%s was never answered well, so its answer is not proven", id)
		}
	}
	c.look(t, "the log", log.String())
	if !strings.Contains(log.String(), `"operation":"getStorage"`) || !strings.Contains(log.String(), `"msg":"audit"`) {
		t.Error("the log lacks lines that it should have")
	}
	c.look(t, "the cluster", w.written(t))
	for _, e := range canaryExceptions {
		if !c.found[e] {
			t.Errorf("the exception %q is not needed any more", e)
		}
	}
	t.Logf("%d secrets, %d texts", len(c.what), c.looks)
}

// written is everything that the server wrote into the cluster, but for Secrets: the audit trail, events, volumes, jobs.
func (w *canaryWalk) written(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	kinds := map[string]int{}
	for _, a := range w.s.Kube.Actions() {
		if a.GetResource().Resource == "secrets" || (a.GetVerb() != "create" && a.GetVerb() != "update") {
			continue
		}
		kinds[a.GetResource().Resource]++
		object := a.(interface{ GetObject() runtime.Object }).GetObject()
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	for _, kind := range []string{"configmaps", "persistentvolumes", "persistentvolumeclaims", "jobs"} {
		if kinds[kind] == 0 {
			t.Errorf("nothing was written of %s", kind)
		}
	}
	events, err := w.s.Kube.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(&out, events.Items)
	return out.String()
}

// canaryWalk asks every operation of a server.
type canaryWalk struct {
	*canaries
	s        *servertest.Server
	api      *servedDocument
	sessions map[string]string // of the callers
	well     map[string]bool   // whether an operation was answered well, by its id
}

// deepestFirst are the operations in an order in which what belongs to a thing is deleted before it.
func (w *canaryWalk) deepestFirst() []string {
	return slices.SortedFunc(maps.Keys(w.api.operations), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(w.api.operations[b].path), len(w.api.operations[a].path)), cmp.Compare(a, b))
	})
}

// prepare makes what the operations ask for.
func (w *canaryWalk) prepare(t *testing.T) {
	t.Helper()
	for _, name := range []pai.StorageName{"all-exposed", "in-nfs", "in-dshuttle"} {
		if _, err := w.s.Cluster.GrantStorage(t.Context(), "research", name); err != nil {
			t.Fatal(err)
		}
	}
	w.what[strings.TrimPrefix(authorization(t, w.s, application), "Bearer ")] = "token of alice"
	resp, text := do(t, w.s, "POST", "/api/v2/jobs", "text/yaml", jobDocument("existing", "secrets: {token: "+w.plant("secret of a job")+"}"), w.as(t, "user"))
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("got %d %s", resp.StatusCode, text)
	}
	if err := w.s.Cluster.TagJob(t.Context(), pai.JobID{User: "alice", Name: "existing"}, "never"); err != nil {
		t.Fatal(err)
	}
}

// as is the header of a caller, who signs in again where that is needed. The token is one of the secrets.
func (w *canaryWalk) as(t *testing.T, caller string) string {
	t.Helper()
	name := map[string]pai.UserName{"user": "alice", "admin": "admin"}[caller]
	if name == "" {
		return ""
	}
	if _, err := w.s.Accounts.Authenticate(t.Context(), w.sessions[caller]); err != nil {
		w.sessions[caller] = w.s.Token(t, name)
		w.what[w.sessions[caller]] = "session of " + caller
	}
	return "Bearer " + w.sessions[caller]
}

// operation asks one operation as everybody, with good and bad bodies.
func (w *canaryWalk) operation(t *testing.T, id string) {
	t.Helper()
	op, well := w.api.operations[id], false
	for _, path := range canaryPaths(t, w.s, op.path, op.method) {
		for _, caller := range []string{"anonymous", "user", "admin"} {
			for _, b := range w.bodies(t, id) {
				status := w.ask(t, id+" as "+caller, op.method, path, b.typ, b.text, w.as(t, caller))
				well = well || status < 300
			}
			for _, query := range w.queries(op) {
				w.ask(t, id+" as "+caller, op.method, path+"?"+query, "", "", w.as(t, caller))
			}
		}
	}
	w.well[id] = w.well[id] || well
}

// ask looks at the whole answer to a request.
func (w *canaryWalk) ask(t *testing.T, where, method, path, typ, body, who string, headers ...string) int {
	t.Helper()
	resp, text := do(t, w.s, method, path, typ, body, who, headers...)
	if resp.StatusCode >= 500 {
		t.Errorf("%s: %s %s: got %d %s", where, method, path, resp.StatusCode, text)
	}
	w.look(t, where, fmt.Sprint(resp.Header)+text)
	return resp.StatusCode
}

// canaryPaths are the paths of an operation with the names of what there is.
func canaryPaths(t *testing.T, s *servertest.Server, path, method string) []string {
	t.Helper()
	values := map[string][]string{"user": {"alice"}, "group": {"research"}, "vc": {"default"}, "framework": {"alice~existing"}, "path": {"a/b"},
		"token": {"0123456789abcdef"}, "jobAttemptId": {"0"}, "taskRoleName": {"worker"}, "taskIndex": {"0"}, "taskAttemptId": {"0"}}
	storages, err := s.Cluster.Storages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range storages {
		values["storage"] = append(values["storage"], string(st.Name))
	}
	if len(storages) == 0 {
		values["storage"] = []string{"removed"}
	}
	if method == "DELETE" { // the callers stay
		values["user"], values["group"] = []string{"bob"}, []string{"leaving"}
	}
	out := []string{path}
	for name, all := range values {
		var filled []string
		for _, path := range out {
			if !strings.Contains(path, "{"+name+"}") {
				filled = append(filled, path)
				continue
			}
			for _, value := range all {
				filled = append(filled, strings.ReplaceAll(path, "{"+name+"}", value))
			}
		}
		out = filled
	}
	if len(out) == 0 || strings.Contains(out[0], "{") {
		t.Fatalf("no value is known for a parameter of %s", path)
	}
	return out
}

// headers sends credentials that are not as they should be.
func (w *canaryWalk) headers(t *testing.T) {
	t.Helper()
	secret := w.plant("malformed Authorization")
	for _, header := range []string{secret, "Bearer " + secret, "Bearer a.b." + secret, "Token " + secret, "Basic " + secret, "bearer  " + secret,
		"Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+secret)), "Basic " + base64.StdEncoding.EncodeToString([]byte(secret)),
		"Digest username=alice, response=" + secret, "Bearer eyJhbGciOiJub25lIn0." + secret + "."} {
		for _, path := range []string{"/api/v2/storages", "/api/v2/info", "/api/v2/nothing", "/rest-server/api/v2/tokens"} {
			w.ask(t, "Authorization", "GET", path, "", "", header)
		}
	}
	w.ask(t, "Cookie", "GET", "/api/v2/storages", "", "", w.as(t, "user"), "Cookie", "pai-session="+secret, "Referer", "http://x/?token="+secret)
}

// pages looks at what is not part of the API.
func (w *canaryWalk) pages(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/metrics", "/openapi.json", "/openapi.yaml", "/docs", "/healthz", "/readyz", "/nothing", "/login"} {
		w.ask(t, path, "GET", path, "", "", "")
	}
	for caller := range map[string]bool{"user": true, "admin": true} {
		cookie := "pai-session=" + strings.TrimPrefix(w.as(t, caller), "Bearer ")
		for _, path := range []string{"/", "/jobs", "/jobs/alice~existing", "/profile"} {
			w.ask(t, path, "GET", path, "", "", "", "Cookie", cookie)
		}
	}
	secret := w.plant("password in the form of the portal")
	for _, form := range []string{"password=" + secret, "password=" + secret + "&again=" + secret, "password=" + secret + "%0a&again=" + secret + "%0a", "again=" + secret} {
		cookie := "pai-session=" + strings.TrimPrefix(w.as(t, "user"), "Bearer ")
		w.ask(t, "portal storage password", "POST", "/profile/storage-password", "application/x-www-form-urlencoded", form, "", "Cookie", cookie)
		w.ask(t, "portal profile", "GET", "/profile", "", "", "", "Cookie", cookie)
	}
	for _, typ := range []string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "application/json", ""} {
		w.ask(t, "portal login", "POST", "/login", typ, "username=bob&password="+secret, "")
		w.ask(t, "portal login", "POST", "/login", typ, "username=bob&password="+secret+"%zz", "")
	}
}

// TestCanariesOfSignOn is the same for what is only there where users come from an identity provider.
func TestCanariesOfSignOn(t *testing.T) {
	c := &canaries{what: map[string]string{openidtest.ClientSecret: "secret of the client"}, seen: map[string]bool{}, found: map[canaryException]bool{}}
	log := &lockedBuffer{}
	s, _ := startSignOn(t, log)
	w := &canaryWalk{canaries: c, s: s, api: servedAPI(t, s), sessions: map[string]string{}, well: map[string]bool{}}
	asked := 0
	for id, op := range w.api.operations {
		if !strings.HasPrefix(id, "oidc") {
			continue
		}
		asked++
		secret := c.plant("what the provider sends back")
		for _, query := range append(w.queries(op), "code="+secret+"&state="+secret, "code="+secret, "code="+secret+"&state="+secret+"&error=x") {
			for _, accept := range []string{"text/html", "application/json"} {
				w.ask(t, id, op.method, op.path+"?"+query, "", "", "", "Accept", accept, "Cookie", "pai-sign-on="+secret+"; pai-session="+secret)
			}
		}
	}
	if asked < 3 || !strings.Contains(log.String(), `"operation":"oidcReturn"`) {
		t.Errorf("%d operations were asked: %s", asked, log.String())
	}
	c.look(t, "the log", log.String())
}
