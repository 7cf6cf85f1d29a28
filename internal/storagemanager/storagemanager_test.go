package storagemanager

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/kube/fileaccess"
	"github.com/pai-storage/pai-storage/internal/proc"
)

func TestNetbiosName(t *testing.T) {
	for node, want := range map[string]string{
		"worker1": "WORKER1", "gpu-node-0123456789": "GPU-NODE-0-7664", "pai-storage-worker-1": "PAI-STORAG-B5F6", "pai-storage-worker-2": "PAI-STORAG-3A0B",
		"pai-storage-worker-1.example.org": "PAI-STORAG-358D", "a.example.org": "A", "node_7": "NODE-7", "": "PAI-STORAGE", "---": "PAI-STORAGE",
		"exactly15chars-": "EXACTLY15CHARS", "fifteen-chars-a": "FIFTEEN-CHARS-A", "fifteen-chars-a-b": "FIFTEEN-CH-AD19",
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
	m := &manager{layout: layout{root}, run: t.TempDir(), log: slog.New(slog.DiscardHandler), changed: make(chan struct{}, 1), heard: make(chan struct{}),
		settings: clusterconfig.StorageManager{LocalPath: root}}
	if err := os.MkdirAll(m.layout.state(), 0o700); err != nil {
		t.Fatal(err)
	}
	m.nfs = &server{Child: proc.New(proc.Spec{Name: "nfs-server"}), config: filepath.Join(m.run, "ganesha.conf")}
	return m
}

// servingSMB is a manager whose servers are not run, with the system's files in a directory of its own.
func servingSMB(t *testing.T) *manager {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("directories of others take root")
	}
	m := serving(t)
	m.etc, m.bus = t.TempDir(), &bus{dir: t.TempDir()}
	m.settings.SMBUser, m.settings.SMBPassword, m.settings.Workgroup, m.settings.SMBEncryption, m.settings.SMBMinimum = "smbuser", "a-password", "PAI", "required", "SMB3_00"
	m.smb = &server{Child: proc.New(proc.Spec{Name: "smb-server"}), config: filepath.Join(m.run, "smb.conf")}
	if err := m.layout.make(); err != nil {
		t.Fatal(err)
	}
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

// TestWhatTheClusterSays: nodes become addresses, and accounts keep their hashes and their rights.
func TestWhatTheClusterSays(t *testing.T) {
	a, b, c := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.0.0.2")
	if got := addresses([]fileaccess.Node{{Name: "n1", Addresses: []netip.Addr{a, b}}, {Name: "none"}, {Name: "n2", Addresses: []netip.Addr{c}}}); !slices.Equal(got, []netip.Addr{a, b, c}) {
		t.Errorf("addresses %v", got)
	}
	hash := strings.Repeat("A", 32)
	got, refused := userAccounts([]fileaccess.Account{{Name: "Alice", Refused: "alice is older"}, {Name: "alice", NTHash: pai.PasswordHash(hash), Admin: true},
		{Name: "bob", NTHash: pai.PasswordHash(hash)}})
	want := []UserAccount{{fileserver.Account{Name: "alice", Hash: fileserver.Hash(hash)}, true}, {fileserver.Account{Name: "bob", Hash: fileserver.Hash(hash)}, false}}
	if !slices.Equal(got, want) {
		t.Errorf("accounts %v", got)
	}
	if len(refused) != 1 || refused[0].Name != "Alice" || refused[0].Err.Error() != "alice is older" {
		t.Errorf("refused %v", refused)
	}
}

// TestRefusedAccounts: who has no account is told with the reason, and is not among those who have one. The log says it once.
func TestRefusedAccounts(t *testing.T) {
	m := servingSMB(t)
	var log bytes.Buffer
	m.log = slog.New(slog.NewTextHandler(&log, nil))
	users := []fileaccess.Account{{Name: "Alice", Refused: "alice is older"}}
	for _, name := range []pai.UserName{"alice", "smbuser"} {
		users = append(users, fileaccess.Account{Name: name, NTHash: pai.PasswordHash(strings.Repeat("A", 32))})
	}
	m.setAccounts(userAccounts(users))
	for range 2 {
		if err := m.applySMB(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(m.status(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	const want = `"accounts":["alice"],"refusedAccounts":[{"name":"Alice","reason":"alice is older"},{"name":"smbuser","reason":"smbuser is the name of the shared user; ` +
		`change smbuser, or give the user another name"}]`
	if !strings.Contains(string(text), want) {
		t.Errorf("the status %s lacks %s", text, want)
	}
	if n := strings.Count(log.String(), "users who cannot have SMB accounts"); n != 1 || !strings.Contains(log.String(), "alice is older") {
		t.Errorf("it is logged %d times:\n%s", n, &log)
	}
	m.setAccounts(userAccounts(users[:2]))
	if err := m.applySMB(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "users who cannot have SMB accounts"); n != 2 {
		t.Errorf("after a change it is logged %d times:\n%s", n, &log)
	}
	m.settings.SecurityType, m.settings.DefaultRealm, m.settings.Workgroup = clusterconfig.ADS, "PAI.TEST", "PAI"
	m.settings.IDMap = []string{"idmap config * : backend = tdb", "idmap config * : range = 100000-199999", "idmap config PAI : backend = rid", "idmap config PAI : range = 200000-299999"}
	if err := m.applySMB(); err != nil {
		t.Fatal(err)
	}
	if s := m.status(t.Context()); len(s.Accounts) > 0 || len(s.Refused) > 0 {
		t.Errorf("in a domain: %v, %v", s.Accounts, s.Refused)
	}
}

// TestFaultsStay: a configuration that cannot be used is a fault until there is another one, whatever is applied in between. A revision counts
// once its configuration is in use, or is refused.
func TestFaultsStay(t *testing.T) {
	m := servingSMB(t)
	is := func(when, revision, fault string) {
		t.Helper()
		if s := m.status(t.Context()); s.Revision != revision || !strings.Contains(s.Fault, fault) || fault == "" && s.Fault != "" {
			t.Errorf("%s: revision %q, fault %q; want %q, %q", when, s.Revision, s.Fault, revision, fault)
		}
	}
	apply := func(succeeds bool) {
		t.Helper()
		select {
		case <-m.changed:
		default:
			t.Error("nothing is to be applied")
		}
		if err := m.apply(); succeeds != (err == nil) {
			t.Errorf("applied: %v", err)
		}
	}
	good := m.settings
	m.configure(good, nil, "1")
	is("before it is applied", "", "")
	apply(true)
	is("after", "1", "")
	m.configure(clusterconfig.StorageManager{}, errors.New("smbpwd is missing"), "2")
	apply(true)
	is("one that cannot be used", "2", "smbpwd is missing")
	m.setNodes([]netip.Addr{netip.MustParseAddr("10.0.0.1")})
	apply(true)
	is("another node came", "2", "smbpwd is missing")
	m.configure(good, nil, "3")
	is("the next one is read", "2", "")
	m.revise("4")
	etc := m.etc
	m.etc = filepath.Join(etc, "missing")
	apply(false)
	is("it cannot be applied", "4", "no such file or directory")
	m.etc = etc
	m.wake()
	apply(true)
	is("now it can", "4", "")
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
		if err := os.MkdirAll(l.state("samba"), 0o700); err != nil { // of an earlier version
			t.Fatal(err)
		}
		if err := l.make(); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{l.state(), l.state("samba")} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o711 {
				t.Errorf("Samba's processes cannot pass through %s as their users: %v, %v", path, info.Mode(), err)
			}
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
