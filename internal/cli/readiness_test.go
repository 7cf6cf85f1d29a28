package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

// runReadiness runs paictl as an administrator at a server that answers requests, as PATH?QUERY, with a text; one that begins with "!" is
// the code of a refusal.
func runReadiness(t *testing.T, answers map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := strings.TrimPrefix(r.URL.RequestURI(), "/api/v2")
		answer, ok := answers[request]
		if !ok {
			t.Errorf("unexpected request %s", request)
		}
		if code, refused := strings.CutPrefix(answer, "!"); refused {
			w.WriteHeader(http.StatusForbidden)
			answer = `{"code":"` + code + `","message":"no"}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	if err := remember(canonicalServer(server.URL), "admin", login{Token: "token", Admin: true}); err != nil {
		t.Fatal(err)
	}
	var out, said strings.Builder
	status = Main(t.Context(), append(args, "--server", server.URL), Streams{In: strings.NewReader(""), Out: &out, Err: &said})
	return status, out.String(), said.String()
}

// ago is a time in JSON.
func ago(d time.Duration) string { return time.Now().Add(-d).UTC().Format(time.RFC3339) }

func okCell(node, storage string) string {
	return fmt.Sprintf(`{"node":%q,"storage":%q,"state":"ok","at":%q,"latencySeconds":0.1204,"freeBytes":1610612736,"sizeBytes":2147483648}`, node, storage, ago(20*time.Hour+30*time.Minute))
}

func failedCell(node, storage string) string {
	return fmt.Sprintf(`{"node":%q,"storage":%q,"state":"failed","at":%q,"latencySeconds":3,"freeBytes":-1,"sizeBytes":-1,"finding":{"code":"STO-302","object":"storage %s",
		"message":"the server of %s refuses\u001b[31m","fix":"start it","who":"administrator","tasks":[],"evidence":"mount.nfs: Connection refused\n","since":null,"line":"STO-302: x"}}`,
		node, storage, ago(5*time.Hour+30*time.Minute), storage, storage)
}

func pendingCell(node, storage string) string {
	return fmt.Sprintf(`{"node":%q,"storage":%q,"state":"pending","latencySeconds":0,"freeBytes":-1,"sizeBytes":-1}`, node, storage)
}

func healthJSON(counts string, cells ...string) string {
	return `{"storage":"data","counts":` + counts + `,"cells":[` + strings.Join(cells, ",") + `]}`
}

const lacksNFS = `{"code":"STO-201","object":"node worker2","message":"worker2 lacks mount.nfs","fix":"run: paictl node prepare worker2","who":"administrator","tasks":[],"evidence":"","since":null,"line":"x"}`

// nodeJSON is a worker of a matrix; without cells it is one of a summary.
func nodeJSON(name, counts, missing string, cells ...string) string {
	list := ""
	if cells != nil {
		list = `,"cells":[` + strings.Join(cells, ",") + `]`
	}
	return fmt.Sprintf(`{"node":%q,"ready":true,"reported":%q,"canMount":{"nfs":%t,"hostPath":true},"missing":[%s],"counts":%s%s}`,
		name, ago(3*time.Hour+30*time.Minute), missing == "", missing, counts, list)
}

func nodesJSON(nodes ...string) string { return `{"nodes":[` + strings.Join(nodes, ",") + `]}` }

const healthPath, allPath, summaryPath = "/storages/data/health", "/nodes/readiness", "/nodes/readiness?summary=true"

const refusedText = `
data on worker2: STO-302: the server of data refuses?[31m (seen 5h ago)
  to do     start it
  by        an administrator
  about     storage data
  evidence  mount.nfs: Connection refused
`

// TestStorageCheck: refusals first, then what is said of a storage and the exit status.
func TestStorageCheck(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		args         []string
		status       int
		out, said    string // said is what standard error has in it
	}{
		{name: "a bad name", args: []string{"Bad_Name"}, status: exitUsage, said: "Bad_Name"},
		{name: "no patience", args: []string{"data", "--timeout", "0s"}, status: exitUsage, said: "--timeout 0s"},
		{name: "not allowed", answer: "!ForbiddenUserError", args: []string{"data"}, status: exitForbidden, said: " storage list\n"},
		{name: "absent", answer: "!NoStorageError", args: []string{"data", "--wait"}, status: exitNotFound, said: " storage list\n"},
		{name: "nobody looks", answer: healthJSON(`{}`), args: []string{"data"}, out: "no worker checks storage data: workers check what a group holds, see: paictl storage grant --help\n"},
		{name: "well", answer: healthJSON(`{"ok":1,"pending":1}`, okCell("worker1", "data"), pendingCell("worker2", "data")), args: []string{"data"},
			out: "NODE     STATE    AGE  LATENCY  FREE                CODE\nworker1  ok       20h  120ms    1.5 GiB of 2.0 GiB\nworker2  pending\n"},
		{name: "one failed", answer: healthJSON(`{"ok":1,"failed":1}`, okCell("worker1", "data"), failedCell("worker2", "data")), args: []string{"data", "--wait"}, status: exitFailed,
			out:  "NODE     STATE   AGE  LATENCY  FREE                CODE\nworker1  ok      20h  120ms    1.5 GiB of 2.0 GiB\nworker2  failed  5h   3s                           STO-302\n" + refusedText,
			said: "1 ok, 1 failed\n"},
		{name: "late", answer: healthJSON(`{"pending":1}`, pendingCell("worker2", "data")), args: []string{"data", "--wait", "--timeout", "1ms"}, status: exitFailed, said: "--timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			answers := map[string]string{}
			if c.answer != "" {
				answers[healthPath] = c.answer
			}
			status, out, said := runReadiness(t, answers, append([]string{"storage", "check"}, c.args...)...)
			if status != c.status || (out != c.out && c.name != "late") || !strings.Contains(said, c.said) {
				t.Errorf("got %d\n%s\n%s\nwant %d\n%s\n%s", status, out, said, c.status, c.out, c.said)
			}
		})
	}
}

// TestStorageCheckWaits: until no worker is pending; a server that is away for a while is asked again, and who is late is named.
func TestStorageCheckWaits(t *testing.T) {
	pending := client.StorageHealth{Storage: "data", Counts: map[pai.CellState]int{pai.CellPending: 1, pai.CellOK: 1},
		Cells: []client.Cell{{Node: "worker1", State: pai.CellOK}, {Node: "worker2", State: pai.CellPending}}}
	done := client.StorageHealth{Storage: "data", Counts: map[pai.CellState]int{pai.CellOK: 2}, Cells: []client.Cell{{Node: "worker1"}, {Node: "worker2"}}}
	steps := []func() (client.StorageHealth, error){
		func() (client.StorageHealth, error) { return client.StorageHealth{Storage: "data"}, nil },
		func() (client.StorageHealth, error) { return pending, nil },
		func() (client.StorageHealth, error) { return client.StorageHealth{}, errors.New("connection refused") },
		func() (client.StorageHealth, error) { return done, nil },
	}
	for _, c := range []struct {
		name       string
		answers    int // how many pauses there are time for
		late, said string
		user       bool // who is no administrator
	}{
		{name: "no worker is asked, of a user", answers: 0, late: "storage data: ask an administrator: enough", said: "no worker is to look at it yet\n", user: true},
		{name: "no worker is asked", answers: 0, late: "paictl storage grant GROUP data", said: "no worker is to look at it yet\n"},
		{name: "late", answers: 1, late: "worker2 have not looked at storage data: enough", said: "1 ok, 1 pending\n"},
		{name: "away", answers: 2, late: "worker2 have not looked", said: "1 ok, 1 pending\nthe server does not answer; asking again\n"},
		{name: "in time", answers: 3, said: "asking again\n2 ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said strings.Builder
			ctx, cancel := context.WithCancelCause(t.Context())
			asked := 0
			w := healthWait{live: term.NewLive(&said), admin: !c.user,
				health: func(context.Context, pai.StorageName) (client.StorageHealth, error) { asked++; return steps[asked-1]() },
				pause: func(ctx context.Context, _ time.Duration) error {
					if asked > c.answers {
						cancel(errors.New("enough"))
					}
					return ctx.Err()
				}}
			health, late, err := w.until(ctx, "data", time.Minute)
			if err != nil || health.Storage != "data" || (late == nil) != (c.late == "") || (late != nil && !strings.Contains(late.Error(), c.late)) || !strings.HasSuffix(said.String(), c.said) {
				t.Errorf("got %v, %v, %v, said %q", health, late, err, said.String())
			}
		})
	}
}

// TestReadinessJSON: what scripts get has the fields of the API.
func TestReadinessJSON(t *testing.T) {
	for _, c := range []struct {
		args []string
		in   map[string]string
		path string
	}{
		{[]string{"storage", "check", "data"}, map[string]string{healthPath: healthJSON(`{"failed":1}`, failedCell("worker2", "data"))}, healthPath},
		{[]string{"node", "check"}, map[string]string{allPath: nodesJSON(nodeJSON("worker2", `{"failed":1}`, lacksNFS, failedCell("worker2", "data")))}, allPath},
	} {
		status, out, _ := runReadiness(t, c.in, append(c.args, "--output", "json")...)
		var got, want any
		if err := errors.Join(json.Unmarshal([]byte(out), &got), json.Unmarshal([]byte(c.in[c.path]), &want)); err != nil || status != exitFailed {
			t.Fatalf("%v: %d %v", c.args, status, err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v: got\n%v\nwant\n%v", c.args, got, want)
		}
	}
}
