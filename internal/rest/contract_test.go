package rest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// startFor runs a server that has the operation: most are where users have passwords, a few where they come from an identity provider.
func startFor(t *testing.T, id string) *servertest.Server {
	t.Helper()
	if strings.HasPrefix(id, "oidc") {
		s, _ := startSignOn(t, nil)
		return s
	}
	return servertest.Start(t, nil, sambaStorage()...)
}

// TestContract walks every answer of testdata/contract.txt, under both prefixes, and looks for the operation in the served description.
func TestContract(t *testing.T) {
	basic, provided := servedAPI(t, startFor(t, "")), servedAPI(t, startFor(t, "oidc"))
	left := maps.Clone(exemplars)
	for _, c := range readContract(t) {
		for _, a := range c.answers {
			for _, key := range a.keys(c.id) {
				delete(left, key)
			}
		}
		api := basic
		if strings.HasPrefix(c.id, "oidc") {
			api = provided
		}
		_, exists := api.operations[c.id]
		t.Run(c.id, func(t *testing.T) {
			if !exists {
				t.Fatalf("the server has no operation %s", c.id)
			}
			api.checkDescribed(t, c)
			walk(t, api, c)
		})
	}
	for key := range left {
		t.Errorf("%s is no answer of the contract", key)
	}
}

// keys name the exemplars of an answer: one for each code.
func (a contractAnswer) keys(id string) []string {
	if len(a.codes) < 2 {
		return []string{fmt.Sprint(id, " ", a.status)}
	}
	var out []string
	for _, code := range a.codes {
		out = append(out, fmt.Sprint(id, " ", a.status, " ", code))
	}
	return out
}

// walk provokes every answer of an operation.
func walk(t *testing.T, api *servedDocument, c contract) {
	for _, a := range c.answers {
		for i, key := range a.keys(c.id) {
			t.Run(strings.TrimPrefix(key, c.id+" "), func(t *testing.T) {
				t.Parallel()
				e, ok := exemplarOf(c, a, key)
				if !ok {
					t.Fatalf("there is no exemplar for %q", key)
				}
				var looks [2]string
				for n, prefix := range []string{"", "/rest-server"} {
					resp, text := e.send(t, c, prefix)
					if resp.StatusCode != a.status {
						t.Fatalf("%s%s: got %d %s", prefix, c.path, resp.StatusCode, text)
					}
					looks[n] = checkAnswer(t, api, c, a, i, text)
				}
				if looks[0] != looks[1] {
					t.Errorf("under the other prefix it is another answer: %s and %s", looks[0], looks[1])
				}
			})
		}
	}
}

// checkAnswer compares a body with the contract and with the description, and returns what must be the same under both prefixes.
func checkAnswer(t *testing.T, api *servedDocument, c contract, a contractAnswer, code int, text string) string {
	t.Helper()
	if a.codes != nil {
		var refusal struct{ Code, Message string }
		if err := json.Unmarshal([]byte(text), &refusal); err != nil || refusal.Code != string(a.codes[code]) || refusal.Message == "" {
			t.Errorf("got %s, %v, want the code %s", text, err, a.codes[code])
		}
		return refusal.Code
	}
	if a.shape == nil {
		return ""
	}
	value := decodeJSON(t, text)
	seen := map[string]bool{}
	for _, fault := range a.shape.faults("", value, seen) {
		t.Errorf("%s: %s", fault, text)
	}
	for _, place := range a.shape.places("") {
		if !seen[place] {
			t.Errorf("the exemplar does not show %q: %s", place, text)
		}
	}
	for _, fault := range api.undeclared(c.id, a.status, value) {
		t.Errorf("%s: %s", fault, text)
	}
	return strings.Join(slices.Sorted(maps.Keys(seen)), " ")
}

func decodeJSON(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// faults says where a value is not as the shape has it, and notes each place that it has seen.
func (s *shape) faults(at string, value any, seen map[string]bool) []string {
	seen[at] = true
	var out []string
	switch v := value.(type) {
	case []any:
		if s.kind == "list" {
			for _, each := range v {
				out = append(out, s.each.faults(at+"[]", each, seen)...)
			}
			return out
		}
	case map[string]any:
		switch s.kind {
		case "object":
			return nil
		case "map":
			for _, each := range v {
				out = append(out, s.each.faults(at+"[]", each, seen)...)
			}
			return out
		case "fields":
			return s.fieldFaults(at, v, seen)
		}
	default:
		if kind := jsonKind(value); kind == s.kind || (kind == "integer" && s.kind == "number") {
			return nil
		}
	}
	return []string{fmt.Sprintf("%q is %s, want %s", at, jsonKind(value), s.kind)}
}

func (s *shape) fieldFaults(at string, object map[string]any, seen map[string]bool) []string {
	var out []string
	for _, f := range s.fields {
		switch value, there := object[f.name]; {
		case there:
			out = append(out, f.shape.faults(at+"."+f.name, value, seen)...)
		case f.required:
			out = append(out, fmt.Sprintf("%q is missing", at+"."+f.name))
		}
	}
	return out
}

// jsonKind is the JSON type of a decoded value.
func jsonKind(value any) string {
	switch v := value.(type) {
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "number"
		}
		return "integer"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return "null"
}

// exemplar is a request that provokes an answer.
type exemplar struct {
	as     int               // who asks, as in the who-table
	path   map[string]string // values for the parameters of the path
	query  string
	body   string
	broken bool // Kubernetes refuses every write
}

// exemplarOf finds the exemplar of an answer. Those of three kinds follow from the one of the success: nobody is signed in; the caller is
// no administrator; Kubernetes fails.
func exemplarOf(c contract, a contractAnswer, key string) (exemplar, bool) {
	if e, ok := exemplars[key]; ok {
		return e, true
	}
	i := slices.IndexFunc(c.answers, func(a contractAnswer) bool { return a.codes == nil })
	e, ok := exemplars[c.answers[i].keys(c.id)[0]]
	switch a.status {
	case http.StatusUnauthorized:
		e.as = anonymous
	case http.StatusForbidden:
		e.as = bob
	case http.StatusInternalServerError:
		e.broken = true
	default:
		return e, false
	}
	return e, ok
}

// send asks a server that nobody has asked before.
func (e exemplar) send(t *testing.T, c contract, prefix string) (*http.Response, string) {
	t.Helper()
	s := startFor(t, c.id)
	path := prefix + c.path
	for name, value := range e.path {
		if value == "TOKEN" {
			value = s.Token(t, "alice")
		}
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	if strings.Contains(path, "{") {
		t.Fatalf("the exemplar has no value for a parameter of %s", path)
	}
	if e.query != "" {
		path += "?" + e.query
	}
	if strings.HasPrefix(c.path, "/api/v2/jobs") {
		existingJob(t, s)
	}
	who := authorization(t, s, e.as)
	if e.broken {
		breakWrites(s, errors.New("etcd has no room left"))
	}
	return do(t, s, c.method, path, c.bodyType, e.body, who)
}

// existingJob makes alice's job, with a tag, and an event about it.
func existingJob(t *testing.T, s *servertest.Server) {
	t.Helper()
	check(t, s, "Bearer "+s.Token(t, "alice"), "POST", "/api/v2/jobs", "text/yaml", jobDocument("existing", ""), 202, "")
	id := pai.JobID{User: "alice", Name: "existing"}
	if err := s.Cluster.TagJob(t.Context(), id, "tag"); err != nil {
		t.Fatal(err)
	}
	jobs, err := s.Kube.BatchV1().Jobs("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(jobs.Items) == 0 {
		t.Fatalf("%d jobs, %v", len(jobs.Items), err)
	}
	job, now := jobs.Items[0], metav1.Now()
	_, err = s.Kube.CoreV1().Events("default").Create(t.Context(), &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "event"}, InvolvedObject: corev1.ObjectReference{Kind: "Job", Name: job.Name, UID: job.UID},
		Type: "Warning", Reason: "FailedCreate", Message: "forbidden", Count: 2, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "job-controller"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the event is seen", func() bool {
		events, err := s.Cluster.JobEvents(t.Context(), id)
		return err == nil && len(events) > 0
	})
}

// breakWrites makes Kubernetes refuse every write of Secrets and Jobs from now on.
func breakWrites(s *servertest.Server, err error) {
	for _, verb := range []string{"create", "update", "patch", "delete"} {
		for _, kind := range []string{"secrets", "jobs"} {
			s.React(verb, kind, func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, err })
		}
	}
}

// TestContractFaults: the comparison itself finds what is wrong.
func TestContractFaults(t *testing.T) {
	s, err := parseShape("{a! string, b [integer], c map {d! number}, e object, f boolean}")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"a":"","b":[1],"c":{"x":{"d":1.5}},"e":{},"f":true}`: "",
		`{}`:                          `".a" is missing`,
		`{"a":null}`:                  `".a" is null, want string`,
		`{"a":"","b":null}`:           `".b" is null, want list`,
		`{"a":"","b":[1.5]}`:          `".b[]" is number, want integer`,
		`{"a":"","c":{"x":{}}}`:       `".c[].d" is missing`,
		`{"a":"","e":[]}`:             `".e" is array, want object`,
		`{"a":"","f":"true"}`:         `".f" is string, want boolean`,
		`{"a":"","c":{"x":{"d":""}}}`: `".c[].d" is string, want number`,
		`[]`:                          `"" is array, want fields`,
	} {
		if got := strings.Join(s.faults("", decodeJSON(t, text), map[string]bool{}), "; "); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
