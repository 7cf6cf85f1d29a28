// Package pki issues the certificates of a local cluster: one authority, and leaves signed by it.
//
// Files are PEM, written with mode 0600, and kept: what is still good for a month is used again, so
// that starting a cluster twice changes nothing. The keys are ECDSA P-256.
//
// Example:
//
//	ca, err := pki.Open("state/pki")
//	pair, err := ca.Issue("admin", pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}})
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

const (
	lifetime = 10 * 365 * 24 * time.Hour
	// renewBefore is the rest of its life at which a kept certificate is made anew.
	renewBefore = 30 * 24 * time.Hour
)

// Authority signs certificates and keeps them in a directory.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// Pair is a certificate with its key, as files and as PEM.
type Pair struct {
	CertFile, KeyFile string
	Cert, Key         []byte
}

// Request names the holder of a certificate. A leaf is good for both ends of a connection.
type Request struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
}

// Open reads the authority in dir, or makes it.
func Open(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	a := &Authority{dir: dir}
	if pair, cert, key, err := a.load("ca"); err == nil {
		a.cert, a.key, a.pem = cert, key, pair.Cert
		return a, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	template, err := newTemplate(pkix.Name{CommonName: "pai-storage local cluster"})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	a.cert, a.key = template, key
	pair, err := a.sign("ca", template, key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = parseCert(pair.Cert); err != nil {
		return nil, err
	}
	a.pem = pair.Cert
	return a, nil
}

// CertFile is the file with the authority's own certificate.
func (a *Authority) CertFile() string { return filepath.Join(a.dir, "ca.crt") }

// CertPEM is the authority's own certificate.
func (a *Authority) CertPEM() []byte { return a.pem }

// Issue returns the certificate kept under name, or makes it when there is none that says the same
// as the request and lives for another month.
func (a *Authority) Issue(name string, r Request) (Pair, error) {
	if pair, cert, _, err := a.load(name); err == nil && a.serves(cert, r) {
		return pair, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	template, err := newTemplate(pkix.Name{CommonName: r.CommonName, Organization: r.Organizations})
	if err != nil {
		return Pair{}, err
	}
	template.DNSNames, template.IPAddresses = r.DNSNames, r.IPs
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	return a.sign(name, template, key)
}

// Key returns the private key kept under name, or makes one: for signing, without a certificate.
func (a *Authority) Key(name string) (file string, err error) {
	pair, err := a.Issue(name, Request{CommonName: name})
	return pair.KeyFile, err
}

func (a *Authority) serves(cert *x509.Certificate, r Request) bool {
	if cert.CheckSignatureFrom(a.cert) != nil || cert.Subject.CommonName != r.CommonName ||
		!slices.Equal(cert.Subject.Organization, r.Organizations) || !slices.Equal(cert.DNSNames, r.DNSNames) {
		return false
	}
	return slices.EqualFunc(cert.IPAddresses, r.IPs, net.IP.Equal)
}

func (a *Authority) files(name string) (cert, key string) {
	return filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
}

// load reads a pair that belongs together and lives long enough.
func (a *Authority) load(name string) (Pair, *x509.Certificate, *ecdsa.PrivateKey, error) {
	var p Pair
	var err error
	p.CertFile, p.KeyFile = a.files(name)
	if p.Cert, err = os.ReadFile(p.CertFile); err != nil {
		return p, nil, nil, err
	}
	if p.Key, err = os.ReadFile(p.KeyFile); err != nil {
		return p, nil, nil, err
	}
	cert, err := parseCert(p.Cert)
	if err != nil {
		return p, nil, nil, err
	}
	block, _ := pem.Decode(p.Key)
	if block == nil {
		return p, nil, nil, fmt.Errorf("%s: no PEM", p.KeyFile)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return p, nil, nil, fmt.Errorf("%s: %w", p.KeyFile, err)
	}
	switch {
	case time.Until(cert.NotAfter) < renewBefore:
		return p, nil, nil, fmt.Errorf("%s: expires %s", p.CertFile, cert.NotAfter)
	case !key.PublicKey.Equal(cert.PublicKey):
		return p, nil, nil, fmt.Errorf("%s: not the certificate's key", p.KeyFile)
	}
	return p, cert, key, nil
}

func (a *Authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	p := Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}
	p.CertFile, p.KeyFile = a.files(name)
	if err := renameio.WriteFile(p.KeyFile, p.Key, 0o600); err != nil {
		return Pair{}, fmt.Errorf("certificate %s: %w", name, err)
	}
	return p, renameio.WriteFile(p.CertFile, p.Cert, 0o600)
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("certificate serial: %w", err)
	}
	now := time.Now()
	// An hour back: a worker's clock may lag behind.
	return &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime)}, nil
}

func parseCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(bytes.TrimSpace(text))
	if block == nil {
		return nil, fmt.Errorf("certificate: no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}
