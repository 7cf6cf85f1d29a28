package daemon

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/freeport"
	"github.com/pai-storage/pai-storage/internal/kubefake"
	"github.com/pai-storage/pai-storage/internal/openidtest"
)

// TestSignOnLife: the first administrator of a fresh cluster comes from the provider, by the group that a flag names, and the second
// start takes the external name that is there.
func TestSignOnLife(t *testing.T) {
	address := fmt.Sprintf("127.0.0.1:%d", freeport.Take(t)) // the provider must know it before the server starts
	back := "http://" + address + "/api/v2/authn/oidc/return"
	p := openidtest.Start(t, back, openidtest.Person{ID: "1", Name: "carol", Groups: []string{"admins"}})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(openidtest.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := []string{"--listen", address, "--authn", "oidc", "--oidc-issuer", p.URL, "--oidc-client-id", openidtest.ClientID,
		"--oidc-client-secret-file", secret, "--oidc-redirect-url", back}
	kubernetes := kubefake.New()
	for _, group := range []string{"admins", "others"} {
		stop := startSignOnServer(t, kubernetes, append(flags, "--oidc-admin-group", group))
		me := selfAfterSignOn(t, "http://"+address, "carol")
		log := stop()
		if !me.Admin {
			t.Errorf("with %s, carol is no administrator: %s", group, log)
		}
		if warned := strings.Contains(log, "--oidc-admin-group is not what"); warned != (group == "others") {
			t.Errorf("with %s, the log says %s", group, log)
		}
	}
}

// selfAfterSignOn is what the API says to somebody who came through the provider.
func selfAfterSignOn(t *testing.T, server, person string) client.User {
	t.Helper()
	browser := openidtest.Browser(t)
	openidtest.SignIn(t, browser, server+"/api/v2/authn/oidc/login", person)
	site, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	cookies := browser.Jar.Cookies(site)
	if len(cookies) != 1 || cookies[0].Name != "pai-session" {
		t.Fatalf("the browser keeps %v", cookies)
	}
	api, err := client.New(server, cookies[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	me, err := api.Self(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return me
}

// startSignOnServer runs a server that is ready, and returns what stops it and gives its log.
func startSignOnServer(t *testing.T, kubernetes *fake.Clientset, flags []string) (stop func() string) {
	t.Helper()
	out, in := io.Pipe()
	var log bytes.Buffer
	s := &restServer{stdout: in, log: slog.New(slog.NewJSONHandler(&log, nil))}
	if status, ok := s.parse(flags, io.Discard); !ok {
		t.Fatalf("the flags are refused with %d", status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, kubernetes) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	waitReadiness(t, strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), http.StatusOK)
	return func() string {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return log.String()
	}
}
