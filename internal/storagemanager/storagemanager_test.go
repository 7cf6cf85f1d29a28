package storagemanager

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/proc"
	"github.com/pai-storage/pai-storage/internal/smbaccount"
)

func TestNetbiosName(t *testing.T) {
	for node, want := range map[string]string{
		"worker1": "WORKER1", "gpu-node-0123456789": "GPU-NODE-012345", "a.example.org": "A", "node_7": "NODE-7", "": "PAI-STORAGE", "---": "PAI-STORAGE",
		"exactly15chars-": "EXACTLY15CHARS", "fifteen-chars-a-b": "FIFTEEN-CHARS-A",
	} {
		if got := netbiosName(node); got != want {
			t.Errorf("netbiosName(%q) = %q, want %q", node, got, want)
		}
	}
}

func TestParseSMBStatus(t *testing.T) {
	const said = `{"sessions": {"1": {"username": "smbuser", "remote_machine": "10.0.0.2", "hostname": "ipv4:10.0.0.2:37762", "session_dialect": "SMB3_11"},
		"2": {"username": "pai-storage-probe", "remote_machine": "127.0.0.1", "hostname": "ipv4:127.0.0.1:1", "session_dialect": "SMB3_11"}}, "tcons": {}}`
	want := []ClientStatus{{Protocol: "SMB3_11", Address: netip.MustParseAddr("10.0.0.2"), User: "smbuser"}}
	if got := parseSMBStatus([]byte(said)); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	if got := parseSMBStatus([]byte("not JSON")); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

// serving is a manager whose NFS server is not run.
func serving(t *testing.T) *manager {
	t.Helper()
	root := t.TempDir()
	m := &manager{layout: layout{root}, run: t.TempDir(), log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1),
		settings: clusterconfig.StorageManager{LocalPath: root}}
	if err := os.MkdirAll(m.layout.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	m.nfs = &server{Child: proc.New(proc.Spec{Name: "nfs-server"}), config: filepath.Join(m.run, "ganesha.conf")}
	return m
}

// TestClientsFollowTheNodes: who may mount are the nodes of now, whom the configuration adds, and nobody else; also after a restart while the
// cluster's API is away.
func TestClientsFollowTheNodes(t *testing.T) {
	m := serving(t)
	config := func() string {
		t.Helper()
		if err := m.applyNFS(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(m.nfs.config)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := config(); !strings.Contains(text, "Clients = 127.0.0.1/32;") {
		t.Errorf("before the cluster is known:\n%s", text)
	}
	m.settings.NFSAllowedClients = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	m.setNodes([]netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")})
	if text := config(); strings.Count(text, "Clients = 127.0.0.1/32, 10.0.0.1/32, 10.0.0.2/32, 192.0.2.0/24;") != 2 {
		t.Errorf("with two nodes and a network:\n%s", text)
	}
	again := &manager{layout: m.layout, log: m.log}
	if err := again.recall(); err != nil || !slices.Equal(again.known.Nodes, m.known.Nodes) {
		t.Errorf("after a restart it knows %v, error %v", again.known.Nodes, err)
	}
	m.setNodes([]netip.Addr{netip.MustParseAddr("10.0.0.1")})
	if text := config(); strings.Contains(text, "10.0.0.2") {
		t.Errorf("a node that has left may still mount:\n%s", text)
	}
	head := beforeExports(m.nfs.text)
	m.settings.NFSMinor40 = true
	config()
	if beforeExports(m.nfs.text) == head {
		t.Error("another version of NFS does not need a new process")
	}
}

func TestFollowCluster(t *testing.T) {
	record := smbaccount.Record{User: "alice", Hash: strings.Repeat("A", 32), Set: time.Unix(1, 0), Admin: true}
	client := fake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.1"}, {Type: corev1.NodeInternalIP, Address: "fd00::1"}}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: smbaccount.Namespace, Name: smbaccount.Name("alice")}, Data: record.Data()},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: smbaccount.Namespace, Name: "damaged"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: smbaccount.Name("bob")}, Data: smbaccount.Record{User: "bob", Hash: record.Hash}.Data()})
	m := serving(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.followClient(ctx, client) }()
	defer func() { cancel(); <-ended }()
	want := []UserAccount{{fileserver.Account{Name: "alice", Hash: fileserver.Hash(record.Hash)}, true}}
	known := func() (nodes []netip.Addr, accounts []UserAccount) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.known.Nodes, m.known.Accounts
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		nodes, accounts := known()
		if len(nodes) == 2 && slices.Equal(accounts, want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it knows %v and %v", nodes, accounts)
		}
	}
	if err := client.CoreV1().Nodes().Delete(ctx, "n1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if nodes, _ := known(); len(nodes) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("a node that has left is still known")
		}
	}
}

// TestSettingsOfTwoRevisions: the kubelet replaces the configuration and the passwords one after the other; what is of two times is not used.
func TestSettingsOfTwoRevisions(t *testing.T) {
	dir := t.TempDir()
	o := options{config: filepath.Join(dir, "config", "storage-manager.yaml"), passwords: filepath.Join(dir, "passwords")}
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(o.config, "localpath: /share\n")
	write(filepath.Join(o.passwords, "smbpwd"), "not-this\n")
	write(filepath.Join(dir, "config", revisionFile), "1")
	write(filepath.Join(o.passwords, revisionFile), "2")
	if _, err := o.revision(); err != errHalf {
		t.Errorf("of two revisions: %v", err)
	}
	write(filepath.Join(o.passwords, revisionFile), "1")
	revision, err := o.revision()
	settings, err2 := o.read()
	if revision != "1" || err != nil || err2 != nil || settings.SMBPassword != "not-this" || settings.LocalPath != "/share" {
		t.Errorf("revision %q, settings %+v, errors %v, %v", revision, settings, err, err2)
	}
	write(filepath.Join(o.passwords, "smbpwd"), strings.Repeat("x", maxPassword+1))
	if _, err := o.read(); err == nil || strings.Contains(err.Error(), "xxx") {
		t.Errorf("a password without end: %v", err)
	}
}

func TestDirectoriesKeepTheirOwners(t *testing.T) {
	l := layout{t.TempDir()}
	if os.Geteuid() == 0 {
		if err := l.make(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(l.users())
		if err != nil || info.Mode().Perm() != 0o771 {
			t.Errorf("users: %v, %v", info, err)
		}
	}
	if err := os.MkdirAll(l.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(l.data(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := makeDirectory(l.data(), 0o775, FileOwner); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(l.data()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("what an administrator set is changed: %v, %v", info.Mode(), err)
	}
	file := filepath.Join(l.root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeDirectory(file, 0o700, 0); err == nil || !strings.Contains(err.Error(), "in the way") {
		t.Errorf("a file in the way: %v", err)
	}
}

func TestCountPassesHardLinks(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	one, err := count(t.Context(), root)
	if err != nil || one.Files != 1 || one.Bytes < 64<<10 {
		t.Fatalf("one file: %+v, %v", one, err)
	}
	if err := os.Link(file, filepath.Join(root, "c")); err != nil {
		t.Fatal(err)
	}
	two, err := count(t.Context(), root)
	if err != nil || two.Files != 2 || two.Bytes != one.Bytes {
		t.Errorf("with another name for it: %+v, was %+v, %v", two, one, err)
	}
}
