package system

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusals: what is in the way is said at once, with the way out, and nothing is left behind.
func TestRefusals(t *testing.T) {
	need(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, taken, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	paictl := filepath.Join(root(t), "bin", "paictl")
	cases := []struct {
		name  string
		code  int
		words []string
		args  []string
	}{
		{"port taken", 1, []string{"port " + taken + " of 127.0.0.1 is taken", "--port"}, []string{paictl, "up", "--name", "x", "--port", taken}},
		{"Kubernetes port taken", 1, []string{"port " + taken + " of 127.0.0.1 is taken", "--kube-port"}, []string{paictl, "up", "--name", "x", "--kube-port", taken}},
		{"unknown flag", 2, []string{"--wrokers", "--help"}, []string{paictl, "up", "--wrokers", "2"}},
		{"unknown command", 2, []string{`"upp"`, "--help"}, []string{paictl, "upp"}},
		{"unknown output", 2, []string{"xml", "json"}, []string{paictl, "status", "--output", "xml"}},
		{"superfluous argument", 2, []string{"--help"}, []string{paictl, "up", "now"}},
		{"bad name", 1, []string{`"../x"`, "lower-case"}, []string{paictl, "up", "--name", "../x"}},
		{"no workers", 1, []string{"0 workers"}, []string{paictl, "up", "--name", "x", "--workers", "0"}},
		{"too much memory", 1, []string{"memory", "--worker-memory"}, []string{paictl, "up", "--name", "x", "--worker-memory", "9999999"}},
		{"no such cluster", 4, []string{"no such cluster", "paictl up"}, []string{paictl, "status", "--name", "x"}},
		{"nothing to stop", 4, []string{"no such cluster"}, []string{paictl, "down", "--name", "x"}},
		{"no kubeconfig", 1, []string{"/no/such/file"}, []string{paictl, "up", "--name", "x", "--kubeconfig", "/no/such/file"}},
		{"no /dev/net/tun", 1, []string{"/dev/net/tun", "modprobe tun"}, []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs none /dev/net && exec \"$0\" up --name x", paictl}},
		{"disk full", 1, []string{"disk full", "--state-dir"}, []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt && exec \"$0\" up --name x --state-dir /mnt/x", paictl}},
		{"cache half there", 1, []string{"PAI_KUBE_BIN", "kubelet"}, []string{"env", "PAI_KUBE_BIN=" + halfBinaries(t), paictl, "up", "--name", "x"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "s")
			run(t, []string{"PAI_STATE_DIR=" + state}, c.args[0], c.args[1:]...).mustRefuse(t, c.name, c.code, c.words...)
			if left := leftovers(t, state); left != "" {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

// halfBinaries is a directory in which some programs are missing.
func halfBinaries(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// leftovers lists the files below a directory.
func leftovers(t *testing.T, dir string) string {
	t.Helper()
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return strings.TrimSpace(run(t, nil, "find", dir, "-type", "f").out)
}
