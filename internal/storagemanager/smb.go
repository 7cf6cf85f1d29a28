package storagemanager

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// probeUser is the account of our own probe. Its password is made anew with each container and known to nobody else.
const probeUser = fileserver.ProbeAccount

// prepareSMB makes the SMB server's process, which is not started yet.
func (m *manager) prepareSMB() error {
	m.probePassword = rand.Text()
	m.smb = &server{config: filepath.Join(m.run, "smb.conf")}
	m.smb.Child = proc.New(proc.Spec{Name: "smb-server", Path: "/usr/sbin/smbd", Args: []string{"--foreground", "--no-process-group", "--debug-stdout", "--configfile=" + m.smb.config},
		Backoff: restartAfter, PollEvery: 50 * time.Millisecond, Ready: m.probeSMB, StopAfter: 10 * time.Second})
	return nil
}

var notNetbios = regexp.MustCompile(`[^A-Z0-9-]+`)

// maxNetbiosName is how many letters SMB has for a machine's name.
const maxNetbiosName = 15

// netbiosName is a machine's name as SMB has it. It is also the name of the machine's account in a domain, which two machines must not share: one
// that is too long ends in four digits of the node's whole name.
func netbiosName(node string) string {
	short, _, _ := strings.Cut(strings.ToUpper(node), ".")
	short = strings.Trim(notNetbios.ReplaceAllString(short, "-"), "-")
	if len(short) > maxNetbiosName {
		sum := sha256.Sum256([]byte(node))
		short = fmt.Sprintf("%s-%X", short[:maxNetbiosName-5], sum[:2])
	}
	return cmp.Or(short, "PAI-STORAGE")
}

// samba describes the SMB server.
func (m *manager) samba() fileserver.SMB {
	s := fileserver.SMB{
		Root: m.layout.root, StateDir: m.layout.state("samba"), RunDir: filepath.Join(m.run, "samba"), HomeProgram: []string{programFile, "make-home"},
		NetbiosName: netbiosName(m.node), Workgroup: m.settings.Workgroup, MinProtocol: m.settings.SMBMinimum, Encryption: m.settings.SMBEncryption,
		Shared: m.settings.SMBUser, UID: FileOwner, GID: FileOwner, Probe: probeUser,
		Hidden: []string{".pai-storage"},
	}
	if m.settings.SecurityType == clusterconfig.ADS {
		s.Domain, s.Admins = m.domain.describe(m.settings), m.settings.SMBAdministrators
		return s
	}
	for _, a := range m.known.Accounts {
		if a.Admin {
			s.Admins = append(s.Admins, a.Name)
		}
	}
	return s
}

// programFile is this program, for Samba to call.
const programFile = "/usr/bin/storage-manager"

// applySMB brings the SMB server's configuration and accounts up to date. Samba reads both without cutting a connection; what only a new
// process reads is rare.
func (m *manager) applySMB() error {
	s := m.samba()
	for _, d := range s.Directories() {
		if err := makeDirectory(d.Path, fs.FileMode(d.Mode), owner(d)); err != nil {
			return err
		}
	}
	accounts, refused, err := m.accounts(s)
	if err != nil {
		return err
	}
	s.Admins = withoutRefused(s.Admins, refused)
	text, err := s.Config()
	if err != nil {
		return err
	}
	for _, file := range []struct {
		path string
		text []byte
		mode fs.FileMode
	}{
		{filepath.Join(m.etc, "passwd"), accounts.Passwd(), 0o644},
		{filepath.Join(m.etc, "group"), accounts.Group(), 0o644},
		{filepath.Join(m.etc, "nsswitch.conf"), []byte(nsswitch(s.Domain != nil)), 0o644},
		{s.PasswordFile(), accounts.SMBPasswd(), 0o600},
	} {
		if err := replaceFile(file.path, file.text, file.mode); err != nil {
			return err
		}
	}
	m.tellAccounts(s.Domain == nil, refused)
	if s.Domain != nil {
		krb5, err := s.Krb5()
		if err != nil {
			return err
		}
		if err := replaceFile(filepath.Join(m.etc, "krb5.conf"), []byte(krb5), 0o644); err != nil {
			return err
		}
	}
	if text == m.smb.text {
		return nil
	}
	if err := replaceFile(m.smb.config, []byte(text), 0o600); err != nil {
		return err
	}
	first := m.smb.text == ""
	m.smb.text = text
	if first {
		return nil
	}
	m.log.Info("smb server: new configuration")
	return m.smb.Signal(syscall.SIGHUP)
}

// tellAccounts notes who has an account, and who has none, and says so once. In a domain these are the domain's.
func (m *manager) tellAccounts(local bool, refused []fileserver.Refused) {
	var served []string
	var without []RefusedAccount
	if local {
		for _, a := range m.known.Accounts {
			if !containsRefused(refused, a.Name) {
				served = append(served, a.Name)
			}
		}
		for _, r := range slices.Concat(m.known.Refused, refused) {
			without = append(without, RefusedAccount{Name: r.Name, Reason: r.Err.Error()})
		}
		slices.SortFunc(without, func(a, b RefusedAccount) int { return cmp.Compare(a.Name, b.Name) })
	}
	if len(without) > 0 && !slices.Equal(without, m.refused) {
		m.log.Warn("users who cannot have SMB accounts", "accounts", without)
	}
	m.served, m.refused = served, without
}

func owner(d fileserver.Directory) int {
	if d.Shared {
		return FileOwner
	}
	return 0
}

// accounts of the server itself: the shared user, the probe's, and, without a domain, the users'.
func (m *manager) accounts(s fileserver.SMB) (fileserver.Accounts, []fileserver.Refused, error) {
	var users []fileserver.Account
	if s.Domain == nil {
		for _, a := range m.known.Accounts {
			users = append(users, a.Account)
		}
	}
	shared := fileserver.Account{Name: s.Shared, Hash: fileserver.NTHash(string(m.settings.SMBPassword))}
	probe := fileserver.Account{Name: s.Probe, Hash: fileserver.NTHash(m.probePassword)}
	return fileserver.NewAccounts(shared, probe, FileOwner, FileOwner, m.layout.users(), users)
}

func withoutRefused(names []string, refused []fileserver.Refused) []string {
	var good []string
	for _, n := range names {
		if !containsRefused(refused, n) {
			good = append(good, n)
		}
	}
	return good
}

func containsRefused(refused []fileserver.Refused, name string) bool {
	for _, r := range refused {
		if r.Name == name {
			return true
		}
	}
	return false
}

func nsswitch(domain bool) string {
	source := "files"
	if domain {
		source = "files winbind"
	}
	return fmt.Sprintf("passwd: %[1]s\ngroup: %[1]s\nhosts: files dns\n", source)
}

// replaceFile writes a file in one step, unless it has this content.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	now, err := os.ReadFile(path)
	if err == nil && string(now) == string(text) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return renameio.WriteFile(path, text, mode)
}

// serveSMB runs the server, and what it needs in a domain.
func (m *manager) serveSMB(ctx context.Context) error {
	if m.settings.SecurityType == clusterconfig.ADS {
		return m.serveDomain(ctx)
	}
	return proc.Keep(ctx, m.smb.Child)
}

// probeSMB logs in as a client would.
func (m *manager) probeSMB(ctx context.Context) error {
	return fileserver.SMBProbe{Address: "127.0.0.1:445", Share: fileserver.ProbeShare, User: probeUser, Password: m.probePassword}.Ask(ctx)
}

// smbClients asks Samba who is logged in.
func (m *manager) smbClients(ctx context.Context) []ClientStatus {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, "smbstatus", "--configfile="+m.smb.config, "--processes", "--json").Output()
	if err != nil {
		return nil
	}
	return parseSMBStatus(text)
}

// parseSMBStatus reads what "smbstatus --json" prints.
func parseSMBStatus(text []byte) []ClientStatus {
	var said struct {
		Sessions map[string]struct {
			Username string `json:"username"`
			Machine  string `json:"remote_machine"`
			Hostname string `json:"hostname"`
			Dialect  string `json:"session_dialect"`
		} `json:"sessions"`
	}
	if json.Unmarshal(text, &said) != nil {
		return nil
	}
	var list []ClientStatus
	for _, s := range said.Sessions {
		if s.Username == probeUser {
			continue
		}
		list = append(list, ClientStatus{Protocol: s.Dialect, Address: smbAddress(s.Hostname, s.Machine), User: s.Username})
	}
	return list
}

// smbAddress finds the address in "ipv4:10.0.0.2:40000".
func smbAddress(texts ...string) netip.Addr {
	for _, t := range texts {
		_, rest, found := strings.Cut(t, ":")
		if port, err := netip.ParseAddrPort(rest); found && err == nil {
			return port.Addr()
		}
		if address, err := netip.ParseAddr(t); err == nil {
			return address
		}
	}
	return netip.Addr{}
}
