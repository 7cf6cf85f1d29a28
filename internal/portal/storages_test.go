package portal_test

import (
	"context"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/portal"
	"github.com/pai-storage/pai-storage/internal/servertest"
)

// fixed are services that answer the same to everybody.
type fixed struct {
	pai.TokenService
	pai.StorageService
	pai.UserService
	pai.StorageAccountService
	caller   pai.Caller
	storages []pai.Storage
	account  pai.Account
}

func (f fixed) Authenticate(context.Context, string) (pai.Caller, error) { return f.caller, nil }
func (f fixed) Storages(context.Context) ([]pai.Storage, error)          { return f.storages, nil }
func (f fixed) User(context.Context, pai.UserName) (pai.Account, error)  { return f.account, nil }
func (f fixed) StorageAccount(_ context.Context, name pai.UserName) (pai.StorageAccount, error) {
	return pai.StorageAccount{User: name}, nil
}

// page is what the services look like in a browser.
func (f fixed) page(t *testing.T, path string) string {
	t.Helper()
	p := portal.New(pai.Services{Tokens: f, Storages: f, Users: f, StorageAccounts: f}, portal.Options{Log: slog.New(slog.DiscardHandler)})
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Cookie", "pai-session=x")
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestHostileNames: whatever stands in the cluster's objects is text on the page, and one scalar of the YAML.
func TestHostileNames(t *testing.T) {
	const hostile = `"><img src=x onerror=alert(1)><script>alert(2)</script>` + "\n  - name: smuggled"
	f := fixed{
		caller: pai.Caller{User: hostile, Admin: true},
		storages: []pai.Storage{
			{Name: hostile, Type: hostile, Bound: true, Default: true, Data: map[string]string{hostile: hostile}},
			{Name: "null", Type: pai.StorageNFS, Data: map[string]string{"server": hostile, "path": hostile}, Reason: hostile},
		},
		account: pai.Account{Name: hostile, Email: hostile, Groups: []pai.GroupName{hostile}},
	}
	for _, path := range []string{"/", "/profile"} {
		text := f.page(t, path)
		if strings.Contains(text, "<script") || strings.Contains(text, "<img") || !strings.Contains(text, "&lt;script&gt;") {
			t.Errorf("%s:\n%s", path, text)
		}
	}
	_, example, _ := strings.Cut(f.page(t, "/"), "<pre>")
	example, _, _ = strings.Cut(example, "</pre>")
	var read struct {
		Extras struct {
			Storages []struct{ Name, MountPath string }
		}
	}
	if err := yaml.Unmarshal([]byte(html.UnescapeString(example)), &read); err != nil {
		t.Fatalf("%v\n%s", err, example)
	}
	if list := read.Extras.Storages; len(list) != 1 || list[0].Name != hostile || list[0].MountPath != "/mnt/"+hostile {
		t.Errorf("the example says %q:\n%s", list, example)
	}
}

func TestWhere(t *testing.T) {
	for _, c := range []struct {
		kind pai.StorageType
		data map[string]string
		want string
	}{
		{pai.StorageNFS, map[string]string{"server": "10.0.0.1", "path": "/data"}, ">10.0.0.1:/data<"},
		{pai.StorageSamba, map[string]string{"address": "//host/share"}, ">//host/share<"},
		{pai.StorageLocal, map[string]string{"path": "/disk"}, ">/disk<"},
		{pai.StorageAzureBlob, map[string]string{"containerName": "c", "accountName": "a"}, ">accountName a, containerName c<"},
		{pai.StorageOther, map[string]string{"driver": "d"}, ">driver d<"},
		{pai.StorageUnknown, nil, `<td class="where"></td>`},
	} {
		text := fixed{storages: []pai.Storage{{Name: "s", Type: c.kind, Data: c.data, Bound: true}}}.page(t, "/")
		if !strings.Contains(text, c.want) || !strings.Contains(text, "<td>"+string(c.kind)+"</td>") {
			t.Errorf("%s lacks %q:\n%s", c.kind, c.want, text)
		}
	}
}

// TestStoragesShowNoSecret: the volumes of servertest carry a canary wherever a secret could be. Only administrators see what is not usable.
func TestStoragesShowNoSecret(t *testing.T) {
	s := servertest.Start(t, nil)
	for _, user := range []string{"alice", "admin"} {
		b := open(t, s)
		b.signIn(user, "secret-"+user)
		_, text := b.ask("GET", "/", nil)
		if !strings.Contains(text, "10.0.0.1:/users") || strings.Contains(text, "CANARY") {
			t.Errorf("%s:\n%s", user, text)
		}
		if seen := strings.Contains(text, "not ready: no volume is bound"); seen != (user == "admin") {
			t.Errorf("%s sees the reason: %t", user, seen)
		}
	}
}
