package daemon

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		stderr string
	}{
		{[]string{"--help"}, 0, "-kubeconfig"},
		{[]string{"--nonsense"}, 2, "flag provided but not defined"},
		{[]string{"extra"}, 2, `unexpected argument "extra"`},
		{[]string{"--bootstrap-admin", "admin"}, 2, "go together"},
		{[]string{"--drain", "-1s"}, 2, "--drain -1s: from 0s"},
		{[]string{"--trusted-proxies", "10.0.0.0/8,proxy"}, 2, `"proxy" is neither an address nor a network`},
		{[]string{"--authn", "ldap"}, 2, "expected basic or oidc"},
		{[]string{"--authn", "oidc"}, 2, "the client's id is missing; "},
		{[]string{"--authn", "oidc", "--bootstrap-admin", "a", "--bootstrap-admin-password-file", "f"}, 2, "--oidc-admin-group says"},
		{[]string{"--authn", "oidc", "--oidc-client-id", "x", "--oidc-issuer", "http://example.org", "--oidc-redirect-url", "https://pai/return"}, 2,
			`issuer: expected an https URL, got "http://example.org"`},
		{[]string{"--kubeconfig", "/nonexistent"}, 1, "--kubeconfig FILE"},
	} {
		var stderr bytes.Buffer
		if got := RestServer(t.Context(), c.args, io.Discard, &stderr); got != c.status || !strings.Contains(stderr.String(), c.stderr) {
			t.Errorf("%q: got %d %s", c.args, got, stderr.String())
		}
	}
}

// TestLife starts the server twice on one cluster: the second start finds what the first one made.
func TestLife(t *testing.T) {
	kubernetes := kubefake.New()
	var token string
	for range 2 {
		url, stop, ended := startServer(t, kubernetes, func(*restServer) {})
		if token != "" { // of the first life: the signing key is the same
			checkToken(t, url, token)
		}
		token = signIn(t, url)
		checkToken(t, url, token)
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	}
}

func passwordFile(t *testing.T, password string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// signIn asks until the server has started and bootstrapped.
func signIn(t *testing.T, url string) string {
	t.Helper()
	c, err := client.New(url, "")
	if err != nil {
		t.Fatal(err)
	}
	var session client.Session
	await.Until(t, "the administrator signs in", func() bool {
		session, err = c.Login(t.Context(), "admin", "secret-admin", 0)
		return err == nil
	})
	if !session.Admin {
		t.Error("the administrator is none")
	}
	return session.Token
}

func checkToken(t *testing.T, url, token string) {
	t.Helper()
	c, err := client.New(url, token)
	if err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the server has started", func() bool {
		g, _, err := c.Group(t.Context(), "default")
		if err != nil && strings.Contains(err.Error(), "starting") {
			return false
		}
		if acls := g.ACLs(); err != nil || acls.Admin || len(acls.VirtualClusters) != 1 {
			t.Errorf("got %+v, %v", g, err)
		}
		return true
	})
}

// TestShortSigningKey: a key that can be guessed signs nothing, unless somebody says so.
func TestShortSigningKey(t *testing.T) {
	short := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "pai-system", Name: signingKeyName}, Data: map[string][]byte{"key": []byte("pai-secret")}}
	s := &restServer{listen: "127.0.0.1:0", systemNamespace: "pai-system", jobsNamespace: "default", stdout: io.Discard, log: slog.New(slog.DiscardHandler)}
	if err := s.run(t.Context(), kubefake.New(short)); err == nil || !strings.Contains(err.Error(), "has 10 bytes") || strings.Contains(err.Error(), "pai-secret") {
		t.Errorf("got %v", err)
	}
	s.acceptShortKey = true
	if err := s.checkKey([]byte("pai-secret")); err != nil {
		t.Errorf("accepted, and yet %v", err)
	}
}
