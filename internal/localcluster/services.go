package localcluster

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
	"github.com/pai-storage/pai-storage/internal/pki"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// restServerIdentity is the service account that the REST server has as a pod; here it has a certificate
// in the account's name, so that it lives with the same few rights.
var restServerIdentity = pki.Request{CommonName: "system:serviceaccount:pai-system:rest-server",
	Organizations: []string{"system:serviceaccounts", "system:serviceaccounts:pai-system"}}

// restServerStep gives the REST server its rights in the cluster and starts it.
func (s *supervisor) restServerStep(life context.Context) func(context.Context, func(string)) (string, error) {
	return func(ctx context.Context, note func(string)) (string, error) {
		note("rights in the cluster")
		if err := kubeapply.Apply(ctx, s.rest, "paictl", deploy.RestServerRBAC); err != nil {
			return "", err
		}
		kubeconfig, listen, err := s.restServerAccess()
		if err != nil {
			return "", err
		}
		child := proc.New(proc.Spec{
			Name: "rest-server", Path: s.cfg.RESTServer, Log: s.cfg.path("rest-server.log"),
			Args: []string{"--kubeconfig", kubeconfig, "--listen", listen,
				"--task-init-image", "pai.local/task-init:1", "--bootstrap-admin", AdminUser, "--bootstrap-admin-password-file", s.cfg.AdminPasswordFile()},
			Ready: answersOK("http://" + listen + "/readyz"),
		})
		note("starting rest-server")
		s.keep(life, child)
		if err := child.WaitReady(ctx); err != nil {
			return "", err
		}
		if s.plane != nil {
			if err := s.forward(life, fdREST, listen); err != nil {
				return "", err
			}
		}
		return s.cfg.API(), nil
	}
}

// restServerAccess is the kubeconfig of the REST server and the address that it listens on: one in the
// cluster's network, or the final one where there is no network of ours.
func (s *supervisor) restServerAccess() (kubeconfig, listen string, err error) {
	if s.plane == nil {
		return s.cfg.Kubeconfig, fmt.Sprintf("127.0.0.1:%d", s.cfg.Port), nil
	}
	pair, err := s.plane.Authority.Issue("rest-server", restServerIdentity)
	if err != nil {
		return "", "", err
	}
	kubeconfig = s.cfg.path("rest-server.kubeconfig")
	return kubeconfig, netip.AddrPortFrom(gateway, DefaultPort).String(), s.plane.WriteKubeconfig(kubeconfig, s.plane.URL(), pair)
}

func answersOK(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, answer.Status)
		}
		return nil
	}
}

// ping answers nil when the machine's agent does.
func (g *guest) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if !g.mu.TryLock() {
		return nil // somebody is being served
	}
	defer g.mu.Unlock()
	session, err := g.open(ctx)
	if err != nil {
		return err
	}
	return session.conn.Close()
}

// siblingProgram finds a program that is installed beside this one.
func siblingProgram(name string) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(exe), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not beside %s: run \"make build\" in a checkout, which puts both into bin/", name, exe)
	}
	return path, nil
}
