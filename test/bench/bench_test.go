// Package bench measures the REST server as a whole program, beside a bare HTTP server that sends the same bytes and beside the Kubernetes
// API itself. What counts are the ratios: the three take turns on one machine in one run.
//
// "make bench" runs it at full size. Without flags it is a smoke test of a few seconds, which asserts no times; what it does assert is that
// reads make no request to Kubernetes.
package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

var (
	users    = flag.Int("users", 40, "how many users there are in the end")
	fewer    = flag.Int("fewer", 10, "how many users there are at first")
	groups   = flag.Int("groups", 10, "how many groups there are")
	storages = flag.Int("storages", 20, "how many storages there are")
	clients  = flag.Int("clients", 64, "how many connections ask at once")
	rounds   = flag.Int("rounds", 1, "how often the three take turns")
	turn     = flag.Duration("turn", 200*time.Millisecond, "how long a turn takes")
	output   = flag.String("output", "table", "table or json")
)

func TestMain(m *testing.M) {
	if file := os.Getenv(envBare); file != "" {
		serveBare(file) // does not return
	}
	flag.Parse()
	os.Exit(m.Run())
}

// result is everything that was measured.
type result struct {
	Users    int     `json:"users"`
	Groups   int     `json:"groups"`
	Storages int     `json:"storages"`
	Clients  int     `json:"clients"`
	Reads    []read  `json:"reads"`
	Ready    seconds `json:"readySeconds"`   // from the start of the program
	Resident int     `json:"residentMiB"`    // at its highest, after the load
	Revoked  seconds `json:"revokedSeconds"` // until another replica refuses a revoked token; the median of several
	OnReads  float64 `json:"requestsOnRead"` // to the Kubernetes API, while nothing but reads was asked for
}

type seconds float64

// read is one operation at the full size.
type read struct {
	Path   string  `json:"path"`
	Bytes  int     `json:"bytes"`
	Server figures `json:"server"`
	Bare   figures `json:"bare"`
	Direct figures `json:"kubernetes"` // GET of one claim
	Few    float64 `json:"cpuWithFewerUsers"`
}

// TestReads measures. See the flags.
func TestReads(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	api := kubetest.Run(t)
	bed := &testbed{t: t, config: api.Config, program: build(t), kubeconfig: writeKubeconfig(t, api.Config)}
	bed.seed(*fewer, *groups, *storages)
	few := bed.start()
	bed.makeCaller(few)
	paths := bed.paths()
	fewCost := map[string]float64{}
	for _, path := range paths {
		ask(t, few.target(path), *clients, *turn) // warm
		fewCost[path] = few.costOf(t, path)
	}
	few.stop()

	bed.seed(*users, 0, 0)
	server := bed.start()
	r := result{Users: *users, Groups: *groups, Storages: *storages, Clients: *clients, Ready: seconds(server.ready.Seconds())}
	bare := startBare(t, server, paths)
	direct := bed.direct()
	for _, path := range paths {
		one := measure(t, server, bare, direct, path)
		one.Few = fewCost[path]
		r.Reads = append(r.Reads, one)
	}
	r.OnReads = bed.requestsOnRead(server, paths)
	r.Resident = server.peak(t) >> 20
	r.Revoked = bed.revocation(server, bed.start())
	r.print(t)
	if r.OnReads != 0 {
		t.Errorf("reads made %v requests to the Kubernetes API", r.OnReads)
	}
}

// build compiles the program as "make build" does.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "rest-server")
	cmd := exec.Command("go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-o", program, "github.com/pai-storage/pai-storage/cmd/rest-server")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

func writeKubeconfig(t *testing.T, c *rest.Config) string {
	t.Helper()
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["a"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	k.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "a"}
	k.CurrentContext = "x"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// measure lets the three take turns, and takes the median of each.
func measure(t *testing.T, server *program, bare *program, direct target, path string) read {
	t.Helper()
	of := map[string][]figures{}
	var size int
	for range *rounds {
		for name, p := range map[string]*program{"server": server, "bare": bare} {
			before := p.cpu(t)
			f := ask(t, p.target(path), *clients, *turn)
			f.CPU = (p.cpu(t) - before).Seconds() * 1e6 / float64(f.requests)
			f.Alone = ask(t, p.target(path), 1, *turn/4).P50
			of[name], size = append(of[name], f), f.bytes
		}
		f := ask(t, direct, *clients, *turn)
		f.Alone = ask(t, direct, 1, *turn/4).P50
		of["direct"] = append(of["direct"], f)
	}
	return read{Path: path, Bytes: size, Server: median(of["server"]), Bare: median(of["bare"]), Direct: median(of["direct"])}
}

// printedJSON prints what was measured as JSON, if that is wanted, and tells whether it is.
func printedJSON(t *testing.T, measured any) bool {
	t.Helper()
	if *output != "json" {
		return false
	}
	text, err := json.MarshalIndent(measured, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(text))
	return true
}

func (r result) print(t *testing.T) {
	t.Helper()
	if printedJSON(t, r) {
		return
	}
	fmt.Printf("\n%d users, %d groups, %d storages; %d connections; medians of %d turns of %s\n\n", r.Users, r.Groups, r.Storages, r.Clients, *rounds, *turn)
	fmt.Printf("%-32s %7s %18s %18s %13s %20s %16s\n", "", "BYTES", "OF BARE'S REQ/S", "OF KUBERNETES'", "P99 TO BARE'S", "CPU µs (BARE'S)", "FEWER USERS")
	for _, x := range r.Reads {
		fmt.Printf("%-32s %7d %9.0f %6.0f %% %9.0f %6.1f ×  %5.1f ms %2.1f × %12.1f (%4.1f) %9.1f %4.2f ×\n", x.Path, x.Bytes,
			x.Server.Rate, 100*x.Server.Rate/x.Bare.Rate, x.Direct.Rate, x.Server.Rate/x.Direct.Rate,
			x.Server.P99*1e3, x.Server.P99/x.Bare.P99, x.Server.CPU, x.Bare.CPU, x.Few, x.Server.CPU/x.Few)
	}
	fmt.Printf("\n%-32s %12s %12s %12s\n", "ONE CONNECTION, MEDIAN", "SERVER", "BARE", "KUBERNETES")
	for _, x := range r.Reads {
		fmt.Printf("%-32s %9.0f µs %9.0f µs %9.0f µs\n", x.Path, x.Server.Alone*1e6, x.Bare.Alone*1e6, x.Direct.Alone*1e6)
	}
	fmt.Printf("\nready after %.1f s, at most %d MiB resident, %.0f requests to Kubernetes on reads; a revoked token dies on another replica within %.0f ms\n",
		r.Ready, r.Resident, r.OnReads, r.Revoked*1000)
}

// makeCaller adds the user who asks, a member of three groups, and signs in.
func (b *testbed) makeCaller(p *program) {
	b.t.Helper()
	admin := connect(b.t, p, signIn(b.t, p, "admin", adminPassword))
	ctx := b.t.Context()
	if _, err := admin.CreateUser(ctx, client.NewUser{Username: "caller", Password: "secret-caller"}); err != nil {
		b.t.Fatal(err)
	}
	if err := admin.SetGroups(ctx, "caller", []pai.GroupName{groupName(0), groupName(1), groupName(2)}); err != nil {
		b.t.Fatal(err)
	}
	b.token = signIn(b.t, p, "caller", "secret-caller")
	p.token = b.token
}

func connect(t *testing.T, p *program, token string) *client.Client {
	t.Helper()
	c, err := client.New(p.url, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signIn(t *testing.T, p *program, user pai.UserName, password pai.Password) string {
	t.Helper()
	session, err := connect(t, p, "").Login(t.Context(), user, password, 0)
	if err != nil {
		t.Fatal(err)
	}
	return session.Token
}

// self asks who the token belongs to.
func self(t *testing.T, p *program, token string) error {
	t.Helper()
	_, err := connect(t, p, token).Self(t.Context())
	return err
}

// revocation is how long after the answer to a logout another replica still takes the token. It asks that one without a pause.
func (b *testbed) revocation(here, there *program) seconds {
	b.t.Helper()
	var took []float64
	for range 11 {
		token := signIn(b.t, here, "caller", "secret-caller")
		until := func(code pai.Code) {
			for began := time.Now(); pai.CodeOf(self(b.t, there, token)) != code; {
				if time.Since(began) > time.Minute {
					b.t.Fatalf("the other replica never answers %q", code)
				}
			}
		}
		until("") // it has seen the token
		if err := connect(b.t, here, token).Logout(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		began := time.Now()
		until(pai.UnauthorizedUserError)
		took = append(took, time.Since(began).Seconds())
	}
	slices.Sort(took)
	return seconds(took[len(took)/2])
}

func (b *testbed) paths() []string {
	return []string{"/api/v2/storages", "/api/v2/storages/" + storageName(0), "/api/v2/groups/" + string(groupName(0)), "/api/v2/users/me"}
}

// get is one request with an ordinary client.
func get(t *testing.T, url, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}
