package pki_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/pai-storage/pai-storage/internal/pki"
)

var server = pki.Request{CommonName: "server", Organizations: []string{"people"}, DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(10, 0, 0, 254)}}

func issue(t *testing.T, dir, name string, r pki.Request) pki.Pair {
	t.Helper()
	ca, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(name, r)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestIssuedCertificateVerifies(t *testing.T) {
	dir := t.TempDir()
	pair := issue(t, dir, "server", server)
	if _, err := tls.X509KeyPair(pair.Cert, pair.Key); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.CertPEM())
	loaded, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "10.0.0.254"} {
		if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "example.org"}); err == nil {
		t.Error("verified for a name that was not asked for")
	}
}

func TestKeptAndRenewed(t *testing.T) {
	dir := t.TempDir()
	first := issue(t, dir, "server", server)
	if again := issue(t, dir, "server", server); !bytes.Equal(first.Cert, again.Cert) {
		t.Error("the same request made a new certificate")
	}
	changed := server
	changed.IPs = append(changed.IPs, net.IPv4(10, 0, 0, 1))
	if other := issue(t, dir, "server", changed); bytes.Equal(first.Cert, other.Cert) {
		t.Error("a further address changed nothing")
	}
	if err := os.WriteFile(filepath.Join(dir, "server.crt"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if healed := issue(t, dir, "server", server); bytes.Equal(healed.Cert, []byte("damaged")) {
		t.Error("a damaged certificate was kept")
	}
	// A new authority: what the old one signed is worth nothing.
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	before := issue(t, t.TempDir(), "x", server)
	if after := issue(t, dir, "server", server); bytes.Equal(before.Cert, after.Cert) {
		t.Error("two authorities signed the same certificate")
	}
}

func TestKeysArePrivate(t *testing.T) {
	dir := t.TempDir()
	pair := issue(t, dir, "server", server)
	for _, file := range []string{pair.KeyFile, filepath.Join(dir, "ca.key")} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v", file, info.Mode(), err)
		}
	}
}
