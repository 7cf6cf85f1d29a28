// Package controlplane describes a Kubernetes control plane as processes: etcd, API server,
// controller manager and scheduler, with their certificates and flags.
//
// Use it for a cluster of one's own on one machine: the local cluster runs all of it inside a network
// namespace, and tests run etcd and the API server alone, on loopback and without root. The package
// only describes; [proc.Keep] runs. Everything it writes lies under one directory.
//
// Example:
//
//	plane, err := controlplane.New(controlplane.Config{BinDir: bin, Dir: dir, Address: loopback, ...})
//	for _, child := range []*proc.Child{plane.Etcd, plane.APIServer} { go proc.Keep(ctx, child) }
package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pai-storage/pai-storage/internal/pki"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// ServiceCIDR is where services get their addresses, and APIServiceIP the first of them, which
// Kubernetes gives to its own API.
const (
	ServiceCIDR  = "10.96.0.0/16"
	APIServiceIP = "10.96.0.1"
)

// Config says where a control plane lives.
type Config struct {
	BinDir   string // kube-apiserver, kube-controller-manager, kube-scheduler, etcd
	Dir      string // data, certificates and logs
	Address  netip.Addr
	Ports    Ports
	Pods     string        // CIDR of the pods' network, "" = none
	SANs     []net.IP      // further addresses that clients use
	StopTime time.Duration // between TERM and KILL; zero = proc's own
	// Forgetful is for tests: etcd does not wait for the disk. What it had acknowledged outlives the processes, and not the machine.
	Forgetful bool
}

// Ports of the processes; all but API are bound to loopback.
type Ports struct{ API, Etcd, EtcdPeer, Controllers, Scheduler int }

// DefaultPorts are the ones that Kubernetes itself documents.
var DefaultPorts = Ports{API: 6443, Etcd: 2379, EtcdPeer: 2380, Controllers: 10257, Scheduler: 10259}

// Plane is a described control plane.
type Plane struct {
	Etcd, APIServer, Controllers, Scheduler *proc.Child

	Authority *pki.Authority
	Admin     pki.Pair // a member of system:masters
	cfg       Config
}

// New makes the certificates and describes the processes; it starts none.
func New(cfg Config) (*Plane, error) {
	ca, err := pki.Open(filepath.Join(cfg.Dir, "pki"))
	if err != nil {
		return nil, err
	}
	p := &Plane{Authority: ca, cfg: cfg}
	if p.Admin, err = ca.Issue("admin", pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}}); err != nil {
		return nil, err
	}
	p.Etcd = p.etcd()
	if p.APIServer, err = p.apiServer(); err != nil {
		return nil, err
	}
	if p.Controllers, err = p.controllers(); err != nil {
		return nil, err
	}
	p.Scheduler, err = p.scheduler()
	return p, err
}

// URL is the API server's address for those who can reach Address.
func (p *Plane) URL() string {
	return "https://" + netip.AddrPortFrom(p.cfg.Address, uint16(p.cfg.Ports.API)).String()
}

// RESTConfig is a client configuration with the administrator's certificate.
func (p *Plane) RESTConfig() *rest.Config {
	return &rest.Config{Host: p.URL(), TLSClientConfig: rest.TLSClientConfig{
		CAData: p.Authority.CertPEM(), CertData: p.Admin.Cert, KeyData: p.Admin.Key}}
}

// Kubeconfig is a kubeconfig for the holder of a certificate.
func (p *Plane) Kubeconfig(server string, who pki.Pair) ([]byte, error) {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["pai"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: p.Authority.CertPEM()}
	cfg.AuthInfos["pai"] = &clientcmdapi.AuthInfo{ClientCertificateData: who.Cert, ClientKeyData: who.Key}
	cfg.Contexts["pai"] = &clientcmdapi.Context{Cluster: "pai", AuthInfo: "pai"}
	cfg.CurrentContext = "pai"
	return clientcmd.Write(*cfg)
}

// WriteKubeconfig writes it to a file, with mode 0600.
func (p *Plane) WriteKubeconfig(file, server string, who pki.Pair) error {
	text, err := p.Kubeconfig(server, who)
	if err != nil {
		return err
	}
	return renameio.WriteFile(file, text, 0o600)
}

func (p *Plane) child(name string, ready func(context.Context) error, args ...string) *proc.Child {
	return proc.New(proc.Spec{
		Name: name, Path: filepath.Join(p.cfg.BinDir, name), Args: args, Ready: ready,
		Log: filepath.Join(p.cfg.Dir, "logs", name+".log"), StopAfter: p.cfg.StopTime,
	})
}

func (p *Plane) etcd() *proc.Child {
	client := fmt.Sprintf("http://127.0.0.1:%d", p.cfg.Ports.Etcd)
	peer := fmt.Sprintf("http://127.0.0.1:%d", p.cfg.Ports.EtcdPeer)
	var more []string
	if p.cfg.Forgetful {
		more = []string{"--unsafe-no-fsync"}
	}
	return p.child("etcd", httpReady(client+"/health", nil), append(more,
		"--name=pai", "--data-dir="+filepath.Join(p.cfg.Dir, "etcd"),
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=pai="+peer,
		"--log-level=warn")...)
}

func (p *Plane) apiServer() (*proc.Child, error) {
	ips := append([]net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(APIServiceIP), p.cfg.Address.AsSlice()}, p.cfg.SANs...)
	serving, err := p.Authority.Issue("apiserver", pki.Request{CommonName: "kube-apiserver", IPs: ips,
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}})
	if err != nil {
		return nil, err
	}
	toKubelet, err := p.Authority.Issue("apiserver-kubelet", pki.Request{
		CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}})
	if err != nil {
		return nil, err
	}
	signing, err := p.Authority.Key("service-accounts")
	if err != nil {
		return nil, err
	}
	return p.child("kube-apiserver", p.apiReady(),
		fmt.Sprintf("--etcd-servers=http://127.0.0.1:%d", p.cfg.Ports.Etcd),
		fmt.Sprintf("--secure-port=%d", p.cfg.Ports.API),
		"--bind-address="+p.bindAddress(), "--advertise-address="+p.advertiseAddress(),
		"--cert-dir="+filepath.Join(p.cfg.Dir, "pki"),
		"--tls-cert-file="+serving.CertFile, "--tls-private-key-file="+serving.KeyFile,
		"--client-ca-file="+p.Authority.CertFile(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+signing, "--service-account-signing-key-file="+signing,
		"--service-cluster-ip-range="+ServiceCIDR,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-certificate-authority="+p.Authority.CertFile(),
		"--kubelet-client-certificate="+toKubelet.CertFile, "--kubelet-client-key="+toKubelet.KeyFile,
	), nil
}

// advertiseAddress must not be loopback, which the API server refuses. A server on loopback has no
// pods that would use the address.
func (p *Plane) advertiseAddress() string {
	if p.cfg.Address.IsLoopback() {
		return APIServiceIP
	}
	return p.cfg.Address.String()
}

// bindAddress: the controllers reach the API server over loopback, the workers at its address.
func (p *Plane) bindAddress() string {
	if p.cfg.Address.IsLoopback() {
		return p.cfg.Address.String()
	}
	return "0.0.0.0"
}

func (p *Plane) controllers() (*proc.Child, error) {
	config, err := p.componentKubeconfig("kube-controller-manager")
	if err != nil {
		return nil, err
	}
	signing, err := p.Authority.Key("service-accounts")
	if err != nil {
		return nil, err
	}
	ready, err := p.componentReady(p.cfg.Ports.Controllers)
	if err != nil {
		return nil, err
	}
	args := []string{"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", p.cfg.Ports.Controllers),
		"--cert-dir=" + filepath.Join(p.cfg.Dir, "pki", "controllers"),
		"--service-account-private-key-file=" + signing, "--root-ca-file=" + p.Authority.CertFile(),
		// Without credentials of their own RBAC forbids the controllers to bind volumes and make pods.
		"--use-service-account-credentials=true", "--leader-elect=false",
		// A worker that is switched off shall be seen within half a minute.
		"--node-monitor-grace-period=20s",
		// A claim is bound when the binder looks again: 15 s by default, felt by everyone who declares a storage.
		"--pvclaimbinder-sync-period=2s"}
	return p.child("kube-controller-manager", ready, args...), nil
}

func (p *Plane) scheduler() (*proc.Child, error) {
	config, err := p.componentKubeconfig("kube-scheduler")
	if err != nil {
		return nil, err
	}
	ready, err := p.componentReady(p.cfg.Ports.Scheduler)
	if err != nil {
		return nil, err
	}
	return p.child("kube-scheduler", ready,
		"--kubeconfig="+config, "--authentication-kubeconfig="+config, "--authorization-kubeconfig="+config,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", p.cfg.Ports.Scheduler),
		"--cert-dir="+filepath.Join(p.cfg.Dir, "pki", "scheduler"), "--leader-elect=false"), nil
}

func (p *Plane) componentKubeconfig(name string) (string, error) {
	pair, err := p.Authority.Issue(name, pki.Request{CommonName: "system:" + name})
	if err != nil {
		return "", err
	}
	file := filepath.Join(p.cfg.Dir, name+".kubeconfig")
	return file, p.WriteKubeconfig(file, fmt.Sprintf("https://127.0.0.1:%d", p.cfg.Ports.API), pair)
}

// apiReady asks the API server as the administrator, so that a readiness means that TLS and
// authentication work, too.
func (p *Plane) apiReady() func(context.Context) error {
	client, err := rest.HTTPClientFor(p.RESTConfig())
	if err != nil {
		return func(context.Context) error { return err }
	}
	return httpReady(p.URL()+"/readyz", client)
}

// componentReady asks /healthz of a component that serves with a certificate of its own making: what
// counts is that it answers on its loopback port, so the certificate is not checked.
func (p *Plane) componentReady(port int) (func(context.Context) error, error) {
	pair, err := tls.X509KeyPair(p.Admin.Cert, p.Admin.Key)
	if err != nil {
		return nil, fmt.Errorf("administrator's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.Authority.CertPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, InsecureSkipVerify: true}}
	return httpReady(fmt.Sprintf("https://127.0.0.1:%d/healthz", port), &http.Client{Transport: transport}), nil
}

func httpReady(url string, client *http.Client) func(context.Context) error {
	if client == nil {
		client = http.DefaultClient
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, answer.Status)
		}
		return nil
	}
}
