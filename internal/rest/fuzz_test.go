package rest_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// knownCodes are all codes that a refusal may have.
var knownCodes = []pai.Code{
	pai.ConflictGroupError, pai.ConflictJobError, pai.ConflictStorageError, pai.ConflictUserError, pai.ForbiddenUserError, pai.IncorrectPasswordError,
	pai.InvalidParametersError, pai.MethodNotAllowedError, pai.NoApiError, pai.NoGroupError, pai.NoJobConfigError, pai.NoJobError, pai.NoStorageError,
	pai.NoTagError, pai.NoTaskError,
	pai.NoTaskLogError, pai.NoUserError, pai.NoVirtualClusterError, pai.RemoveAdminError, pai.OutdatedVersionError, pai.StorageInUseError,
	pai.TooManyRequestsError, pai.UnauthorizedUserError,
}

// fuzzed is a server that is asked nonsense.
type fuzzed struct {
	*servertest.Server
	log   *lockedBuffer
	ops   []servedOperation
	admin string // a token
}

// fuzzServer runs a server for as long as the fuzzing takes. The administrator's record cannot be changed, so that the right to ask
// stays.
func fuzzServer(f *testing.F) *fuzzed {
	f.Helper()
	s := &fuzzed{log: &lockedBuffer{}}
	s.Server = servertest.Start(f, s.log)
	s.admin = s.Token(f, "admin")
	if w := s.ask("POST", "/api/v2/jobs", "text/yaml", jobDocument("existing", ""), "Bearer "+s.Token(f, "alice")); w.Code != http.StatusAccepted {
		f.Fatal(w.Body)
	}
	for _, verb := range []string{"update", "delete"} {
		s.React(verb, "secrets", func(a ktesting.Action) (bool, runtime.Object, error) {
			name := hex.EncodeToString([]byte("admin"))
			named, ok := a.(interface{ GetName() string })
			update, isUpdate := a.(ktesting.UpdateAction)
			is := ok && named.GetName() == name || isUpdate && update.GetObject().(interface{ GetName() string }).GetName() == name
			if is && a.GetNamespace() == "pai-user-v2" {
				return true, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
			}
			return false, nil, nil
		})
	}
	for path, item := range s.REST.OpenAPI().Paths {
		text, err := json.Marshal(item)
		var methods map[string]any
		if err == nil {
			err = json.Unmarshal(text, &methods)
		}
		if err != nil {
			f.Fatal(err)
		}
		for method, fields := range methods {
			s.ops = append(s.ops, servedOperation{strings.ToUpper(method), path, fields.(map[string]any)})
		}
	}
	slices.SortFunc(s.ops, func(a, b servedOperation) int { return strings.Compare(a.id(), b.id()) })
	return s
}

func (o servedOperation) id() string { return o.fields["operationId"].(string) }

// queries are the names of an operation's parameters.
func (o servedOperation) queries() []string {
	var out []string
	parameters, _ := o.fields["parameters"].([]any)
	for _, p := range parameters {
		if parameter := p.(map[string]any); parameter["in"] == "query" {
			out = append(out, parameter["name"].(string))
		}
	}
	return out
}

// having are the operations that a kind of fuzzing is for.
func (s *fuzzed) having(is func(servedOperation) bool) []servedOperation {
	return slices.DeleteFunc(slices.Clone(s.ops), func(o servedOperation) bool { return !is(o) })
}

// ask answers a request as the server would that read it from the network; nil for one that it would not let through.
func (s *fuzzed) ask(method, target, typ, body, who string) *httptest.ResponseRecorder {
	at, err := url.ParseRequestURI(target)
	if err != nil {
		return nil
	}
	r := &http.Request{Method: method, URL: at, RequestURI: target, Host: "test", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1", mathrand.IntN(256), mathrand.IntN(256), mathrand.IntN(256)) // guessing is limited by address
	if typ != "" {
		r.Header.Set("Content-Type", typ)
	}
	if who != "" {
		r.Header.Set("Authorization", who)
	}
	w := httptest.NewRecorder()
	s.REST.ServeHTTP(w, r)
	return w
}

// holds checks what is true of every answer.
func (s *fuzzed) holds(t *testing.T, w *httptest.ResponseRecorder, what ...any) {
	t.Helper()
	if w == nil {
		return
	}
	if text := s.log.String(); strings.Contains(text, `"msg":"panic"`) || strings.Contains(text, `"msg":"internal error"`) {
		t.Fatalf("%q: the log says %s", what, around(text, `"level":"ERROR"`))
	}
	s.log.reset()
	if w.Code < 400 {
		return
	}
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body) != 2 || body["message"] == "" || !slices.Contains(knownCodes, pai.Code(body["code"])) || w.Code >= 500 {
		t.Fatalf("%q: got %d %s", what, w.Code, w.Body)
	}
}

func (l *lockedBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

// fuzzing tells whether inputs are made up, and not the seeds alone. It begins with every seed, one at a time and slowly, so it gets fewer.
func fuzzing() bool { return flag.Lookup("test.fuzz").Value.String() != "" }

// filled puts names of what there is into a path.
func filled(path string) string {
	return strings.NewReplacer("{user}", "alice", "{group}", "research", "{storage}", "personal", "{vc}", "default", "{framework}", "alice~existing", "{path}", "a/b",
		"{token}", "0123456789abcdef", "{jobAttemptId}", "0", "{taskRoleName}", "worker", "{taskIndex}", "0", "{taskAttemptId}", "0").Replace(path)
}

// FuzzBodies sends bodies to every operation that takes one.
func FuzzBodies(f *testing.F) {
	s := fuzzServer(f)
	ops := s.having(func(o servedOperation) bool { return o.fields["requestBody"] != nil })
	table := whoTable()
	for i, op := range ops {
		row := table[op.id()]
		for _, body := range []string{row.body, "", "{", "null", "[]", `"x"`, "\x00", "\xff\xfe", "{}", `{"data":null}`, `{"data":{"username":1e999},"patch":"x"}`,
			`{"username":"a","username":{"a":1}}`, strings.Repeat("[", 20_000), strings.Repeat("{\"a\":", 20_000), "&a [*a]", "a: &a [*a, *a]", "username=%zz&password=%"} {
			f.Add(uint8(i), row.typ, body)
		}
		for _, typ := range []string{"", "text/plain", "application/json; charset=\xff", "application/x-www-form-urlencoded", "multipart/form-data", "application/cbor", ";;;"} {
			f.Add(uint8(i), typ, row.body)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, typ, body string) {
		op := ops[int(n)%len(ops)]
		w := s.ask(op.method, filled(op.path), typ, body, "Bearer "+s.admin)
		s.holds(t, w, op.id(), typ, body)
		if op.id() == "basicLogin" && w.Code < 300 && !strings.Contains(body, "secret-") {
			t.Errorf("%q signs somebody in", body)
		}
		if w = s.ask(op.method, filled(op.path), typ, body, ""); op.id() != "basicLogin" && w.Code != http.StatusUnauthorized {
			t.Errorf("%s without credentials: got %d", op.id(), w.Code)
		}
		s.holds(t, w, op.id(), typ, body)
	})
}

// FuzzPaths puts anything where a path has a name.
func FuzzPaths(f *testing.F) {
	s := fuzzServer(f)
	ops := s.having(func(o servedOperation) bool { return strings.Contains(o.path, "{") })
	table := whoTable()
	for i := range ops {
		if fuzzing() && i%8 != 0 {
			continue
		}
		for _, name := range []string{"alice", "..", ".", "%2e%2e", "a%2fb", "%2f", "%5c", "\\", "%00", "%0a", "%", "%zz", "%ff", "\xff", "\u202e", "%F0%9F%98%80", "", "/", "//", "a//b",
			"a?b", "a#b", "a;b", "a:b", "*", "me", "me/", "alice/", "alice/../bob", "~", "alice~", "~x", "a~b~c", strings.Repeat("x", 10_000), strings.Repeat("%41", 5_000),
			"-1", "99999999999999999999", "'--", "<b>", "${x}", "{user}"} {
			f.Add(uint8(i), name)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, name string) {
		op := ops[int(n)%len(ops)]
		for _, part := range strings.Split(op.path, "/") { // each parameter in turn
			if strings.HasPrefix(part, "{") {
				path := filled(strings.Replace(op.path, part, name, 1))
				row := table[op.id()]
				s.holds(t, s.ask(op.method, path, row.typ, row.body, "Bearer "+s.admin), op.id(), path)
				s.holds(t, s.ask(op.method, "/rest-server"+path, row.typ, row.body, ""), op.id(), path)
			}
		}
	})
}

// FuzzQueries sends any query to every operation but for those that change what the test itself needs.
func FuzzQueries(f *testing.F) {
	s := fuzzServer(f)
	ops := s.having(func(o servedOperation) bool { return o.id() != "basicLogout" })
	values := []string{"x", "true", "-1", "", "1", "99999999999999999999", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "%ff", "%00"}
	queries := []string{"", "%", "a=%zz", "=", "&&&", "a=b;c=d", "\x00", "%00=%00", strings.Repeat("a=b&", 2_000)}
	if fuzzing() {
		values, queries = values[:3], queries[:2]
	}
	for i, op := range ops {
		for _, name := range op.queries() {
			for _, value := range values {
				f.Add(uint8(i), name+"="+value)
			}
			f.Add(uint8(i), name+"=a&"+name+"=b")
		}
		for _, query := range queries {
			f.Add(uint8(i), query)
		}
	}
	table := whoTable()
	f.Fuzz(func(t *testing.T, n uint8, query string) {
		op := ops[int(n)%len(ops)]
		path := strings.Replace(op.path, "{framework}", "alice~none", 1) // following a log would wait for the job
		row := table[op.id()]
		s.holds(t, s.ask(op.method, filled(path)+"?"+query, row.typ, row.body, "Bearer "+s.admin), op.id(), query)
	})
}

// forger makes tokens that are not the server's.
type forger struct {
	key     []byte
	foreign *rsa.PrivateKey
}

// The ways of signing.
const (
	unsigned = iota
	otherKey
	otherHash
	asRSA
	rightKey // but not listed for the user that it names
	ways
)

func (g forger) token(header, payload string, way uint8) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(header)) + "." + encode([]byte(payload))
	sign := func(key []byte) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return encode(mac.Sum(nil))
	}
	switch way % ways {
	case otherKey:
		return text + "." + sign([]byte("another key"))
	case otherHash:
		mac := hmac.New(sha512.New, g.key)
		mac.Write([]byte(text))
		return text + "." + encode(mac.Sum(nil))
	case asRSA:
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(nil, g.foreign, crypto.SHA256, sum[:])
		if err != nil {
			return text + "."
		}
		return text + "." + encode(signature)
	case rightKey:
		return text + "." + sign(g.key)
	}
	return text + "."
}

// FuzzTokens sends tokens that nobody was given, each listed for a user who is no more, and for one that it does not name.
func FuzzTokens(f *testing.F) {
	s := fuzzServer(f)
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		f.Fatal(err)
	}
	g := forger{s.Key, key}
	for way := range uint8(ways) {
		for _, header := range []string{`{"alg":"HS256","typ":"JWT"}`, `{"alg":"none"}`, `{"alg":"None"}`, `{"alg":"HS512"}`, `{"alg":"RS256"}`, `{"alg":["HS256"]}`, `{}`, `null`, ``, `{"alg":"HS256","crit":["x"]}`} {
			f.Add(header, `{"username":"admin","application":false,"exp":4102444800}`, way, "")
		}
		for _, payload := range []string{`{"username":"ghost"}`, `{"username":["admin"]}`, `{"username":null}`, `{}`, `null`, `[]`, `"admin"`, `{"username":"admin","exp":"x"}`, `{"username":"admin","exp":1}`,
			`{"username":"admin","exp":1e400}`, `{"username":"admin","nbf":4102444800}`, `{"username":"admin","application":"yes"}`, `{"username":"admin","username":"alice"}`, `{"Username":"admin"}`,
			`{"username":"../admin"}`, `{"username":"` + strings.Repeat("x", 5_000) + `"}`, "{\"username\":\"admin\x00\"}"} {
			f.Add(`{"alg":"HS256"}`, payload, way, "")
		}
		f.Add(`{"alg":"HS256"}`, `{"username":"admin"}`, way, "."+strings.Repeat("x", 100_000))
		f.Add(`{"alg":"HS256"}`, `{"username":"admin"}`, way, "=")
	}
	f.Fuzz(func(t *testing.T, header, payload string, way uint8, tail string) {
		token := g.token(header, payload, way) + tail
		var names struct{ Username string }
		if json.Unmarshal([]byte(payload), &names) == nil && names.Username == "bob" {
			return // that one would be bob's
		}
		for _, user := range []pai.UserName{"ghost", "bob"} {
			if err := s.Cluster.AddToken(t.Context(), user, token, func(listed []string) ([]string, error) { return listed, nil }); err != nil {
				t.Fatal(err)
			}
		}
		basic := base64.StdEncoding.EncodeToString([]byte(names.Username + ":" + token))
		for _, who := range []string{"Bearer " + token, "Basic " + basic, "bearer\t" + token} {
			for _, path := range []string{"/api/v2/users/me", "/api/v2/virtual-clusters"} {
				w := s.ask("GET", path, "", "", who)
				s.holds(t, w, who)
				if w.Code != http.StatusUnauthorized {
					t.Errorf("%s %s: got %d", path, who, w.Code)
				}
			}
		}
	})
}

// FuzzBasic sends Basic headers to somebody who knows a login token of alice and an application token of hers, and is not she.
func FuzzBasic(f *testing.F) {
	s := fuzzServer(f)
	login := s.Token(f, "alice")
	application, err := s.Accounts.IssueApplicationToken(f.Context(), "alice")
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{"alice:" + login, "bob:" + application, ":" + application, "alice", "alice:", ":", "", "alice:secret-alice", "alice\x00:" + application, "ALICE:" + application,
		"alice :" + application, "alice:" + application + " ", "alice::" + application, "\xff:\xff", strings.Repeat("x", 100_000)} {
		f.Add(text, true)
		f.Add(text, false)
	}
	f.Fuzz(func(t *testing.T, text string, encoded bool) {
		if encoded {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil && string(raw) == "alice:"+application {
			return // the one that is right
		}
		for _, scheme := range []string{"Basic ", "basic  ", "BASIC"} {
			w := s.ask("GET", "/api/v2/virtual-clusters", "", "", scheme+text)
			s.holds(t, w, text)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%q: got %d %s", text, w.Code, w.Body)
			}
		}
	})
}
