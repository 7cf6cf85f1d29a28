// Package storagemanager turns a machine into an NFS and SMB server on one directory.
//
// It supervises NFS-Ganesha and Samba, renders their configurations from one section of the cluster's configuration, and follows what they
// depend on: the cluster's nodes, which may mount by NFS, and the users' SMB accounts. What can be changed without cutting a mount is.
//
// Example:
//
//	os.Exit(storagemanager.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
package storagemanager

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// restartAfter is the pause before a server that keeps dying is started again.
const restartAfter = 500 * time.Millisecond

// Known is what the cluster says: who may mount by NFS, and who may log in by SMB. It is kept on the disk, so that a server which starts
// while the cluster's API is away serves whom it served before.
type Known struct {
	Nodes    []netip.Addr  `json:"nodes"`
	Accounts []UserAccount `json:"-"` // as good as passwords: only Samba's own file has them
	// Refused are the users whom the cluster's rules give no account, with the reason.
	Refused []fileserver.Refused `json:"-"`
}

// UserAccount is a user's SMB account.
type UserAccount struct {
	fileserver.Account
	Admin bool // may use the shares users and root
}

// manager runs the servers.
type manager struct {
	layout layout
	run    string // sockets, process numbers and configurations: gone with the container
	etc    string // directory of the system's own files, which the servers read: /etc
	node   string
	log    *slog.Logger
	bus    *bus
	usage  usage

	mu       sync.Mutex
	settings clusterconfig.StorageManager
	known    Known
	read     string // revision of the files that were read last
	revision string // the one that was applied last, or refused
	unusable error  // why the newest configuration cannot be used: the one before it stays in use
	failed   error  // why what was tried last to bring the servers up to date did not succeed
	nfs, smb *server
	domain   domain
	served   []string         // users who have an account at the SMB server, besides the shared one
	refused  []RefusedAccount // users who cannot have one

	probePassword string
	heard         chan struct{} // closed when the cluster has said something
	hearOnce      sync.Once
	memberEvery   time.Duration
	changed       chan struct{}
}

// server is one of the two file servers.
type server struct {
	*proc.Child
	config string // file
	text   string // its configuration in use

	mu       sync.Mutex
	failing  time.Time // since when the probe fails; zero while it does not
	reason   string
	answered bool // since its start
}

func (m *manager) wake() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// servers that this manager runs.
func (m *manager) servers() []*server {
	if m.smb == nil {
		return []*server{m.nfs}
	}
	return []*server{m.nfs, m.smb}
}

// setNodes tells whom the NFS server may serve.
func (m *manager) setNodes(nodes []netip.Addr) {
	slices.SortFunc(nodes, netip.Addr.Compare)
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.hearOnce.Do(func() { close(m.heard) })
	if slices.Equal(nodes, m.known.Nodes) {
		return
	}
	m.known.Nodes = nodes
	if text, err := json.Marshal(m.known); err != nil || renameio.WriteFile(m.layout.state("known.json"), text, 0o600) != nil {
		m.log.Warn("the list of nodes is not kept", "error", err)
	}
	m.wake()
}

// setAccounts tells who may log in to the SMB server, and who may not although an account was asked for.
func (m *manager) setAccounts(accounts []UserAccount, refused []fileserver.Refused) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known.Accounts, m.known.Refused = accounts, refused
	m.wake()
}

// recall reads what was known before.
func (m *manager) recall() error {
	text, err := os.ReadFile(m.layout.state("known.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m.known)
	}
	return err
}

// clients are the networks that may mount by NFS: this machine, the cluster's nodes, and what the configuration adds.
func (m *manager) clients() []netip.Prefix {
	clients := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for _, n := range m.known.Nodes {
		clients = append(clients, netip.PrefixFrom(n, n.BitLen()))
	}
	for _, p := range m.settings.NFSAllowedClients {
		if !slices.Contains(clients, p) {
			clients = append(clients, p)
		}
	}
	return clients
}

// exports of the NFS server. Their numbers are part of every file handle: they must never change.
func (m *manager) exports() fileserver.NFS {
	clients := m.clients()
	return fileserver.NFS{RecoveryDir: m.layout.state("nfs"), Minor40: m.settings.NFSMinor40, Exports: []fileserver.Export{
		{ID: 1, Path: m.layout.data(), Pseudo: "/data", Clients: clients, UID: FileOwner, GID: FileOwner},
		{ID: 2, Path: m.layout.users(), Pseudo: "/users", Clients: clients, UID: FileOwner, GID: FileOwner},
	}}
}

// applyNFS brings the NFS server's configuration up to date. A changed list of clients is read by the running server, and nobody's mount is
// cut; the rest needs a new process, which the clients wait for.
func (m *manager) applyNFS() error {
	desired := m.exports()
	text, err := desired.Ganesha()
	if err != nil {
		return err
	}
	if text == m.nfs.text {
		return nil
	}
	state := m.nfs.State()
	if state.PID != 0 && !state.Ready && time.Since(state.Since) < startLimit {
		time.AfterFunc(time.Second/2, m.wake) // it reads its exports just now: once it is there it is told
		return errLater
	}
	if err := renameio.WriteFile(m.nfs.config, []byte(text), 0o600); err != nil {
		return err
	}
	signal, how := syscall.SIGTERM, "a new process"
	if beforeExports(text) == beforeExports(m.nfs.text) {
		signal, how = syscall.SIGHUP, "without a pause"
	}
	first := m.nfs.text == ""
	m.nfs.text = text
	if first {
		return nil
	}
	m.log.Info("nfs server: new configuration", "clients", len(desired.Exports[0].Clients), "applied", how)
	return m.nfs.Signal(signal)
}

// errLater is that a server starts and is told what is new once it is there.
var errLater = errors.New("the server starts")

// startLimit is how long a starting server is left alone. One that does not come up may need the new configuration for that.
const startLimit = 10 * time.Second

// beforeExports is the part that only a new process reads.
func beforeExports(text string) string {
	head, _, _ := strings.Cut(text, "\nEXPORT {")
	return head
}

// apply brings everything up to date with what is known, and notes how that went. Only then is the revision that was read one that is in use.
func (m *manager) apply() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	nfs := m.applyNFS()
	later := errors.Is(nfs, errLater)
	if later {
		nfs = nil
	}
	m.failed = errors.Join(nfs, m.applySMB())
	if m.failed != nil {
		m.log.Error("the new configuration is not used", "cause", m.failed.Error())
	}
	if !later {
		m.revision = m.read
	}
	return m.failed
}

// prepare makes directories and the processes, which are not started yet.
func (m *manager) prepare() error {
	if err := m.layout.make(); err != nil {
		return err
	}
	if err := m.recall(); err != nil {
		m.log.Warn("who was served before is not known", "error", err)
	}
	if err := os.MkdirAll(m.run, 0o755); err != nil {
		return err
	}
	// NFS-Ganesha finds its file systems in the list of mounts that lies here.
	if _, err := os.Lstat("/etc/mtab"); errors.Is(err, fs.ErrNotExist) {
		if err := os.Symlink("/proc/self/mounts", "/etc/mtab"); err != nil {
			return err
		}
	}
	m.bus = &bus{dir: filepath.Join(m.run, "bus")}
	config := filepath.Join(m.run, "ganesha.conf")
	m.nfs = &server{config: config}
	m.nfs.Child = proc.New(proc.Spec{Name: "nfs-server", Path: "/usr/bin/ganesha.nfsd", Env: []string{"DBUS_SYSTEM_BUS_ADDRESS=" + m.bus.address()},
		Args:    []string{"-F", "-L", "STDOUT", "-f", config, "-p", filepath.Join(m.run, "ganesha.pid")},
		Backoff: restartAfter, PollEvery: 50 * time.Millisecond, Ready: m.probeNFS, StopAfter: 10 * time.Second})
	if err := m.prepareSMB(); err != nil {
		return err
	}
	return m.apply()
}

// serve runs the servers until ctx ends.
func (m *manager) serve(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	busProcess, err := m.bus.child()
	if err != nil {
		return err
	}
	group.Go(func() error { return proc.Keep(ctx, busProcess) })
	// The NFS server looks for the bus once. Without one it serves, and its numbers are missing.
	early, cancel := context.WithTimeout(ctx, 5*time.Second)
	if err := busProcess.WaitReady(early); err != nil {
		m.log.Warn("the NFS server's numbers will be missing", "cause", err.Error())
	}
	cancel()
	group.Go(func() error {
		m.awaitCluster(ctx)
		return proc.Keep(ctx, m.nfs.Child)
	})
	group.Go(func() error { return m.serveSMB(ctx) })
	group.Go(func() error { return m.watch(ctx, m.nfs, m.probeNFS) })
	if m.smb != nil {
		group.Go(func() error { return m.watch(ctx, m.smb, m.probeSMB) })
	}
	group.Go(func() error { return m.usage.follow(ctx, m.layout) })
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-m.changed:
			}
			_ = m.apply() // which notes how it went
		}
	})
	return group.Wait()
}

// awaitCluster gives the cluster a moment to say whom to serve, so that the server starts with that.
func (m *manager) awaitCluster(ctx context.Context) {
	select {
	case <-m.heard:
	case <-ctx.Done():
	case <-time.After(hearLimit):
	}
	_ = m.apply() // which notes how it went
}

// hearLimit is how long the servers wait for the cluster's word; then they serve whom they served before.
const hearLimit = 3 * time.Second

// Times of the probes.
const (
	probeEvery = 5 * time.Second
	// hangLimit is how long a server may be up and not answer before it is ended: it is started again at once.
	hangLimit = 45 * time.Second
)

// watch asks a server again and again, and ends one that hangs.
func (m *manager) watch(ctx context.Context, s *server, probe func(context.Context) error) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		state := s.State()
		err := probe(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if reason, waits := m.awaitsDomain(); waits && s == m.smb {
			s.waits(reason)
		} else if failing := s.note(err); !failing.IsZero() && state.PID != 0 && silent(err) && !m.withoutController(s) && time.Since(failing) > hangLimit && time.Since(state.Since) > hangLimit {
			m.log.Error("the server hangs and is ended", "server", s.String(), "cause", err.Error())
			_ = s.Signal(syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// withoutController tells whether it is the domain's controllers that a server waits for: a new process would wait as well.
func (m *manager) withoutController(s *server) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return s == m.smb && m.domain.reason != ""
}

// silent tells whether a server took a question and did not answer: one that answers "no" is not mended by a new process.
func silent(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fileserver.ErrSMBSilent)
}

// waits notes why a server is not to be there yet.
func (s *server) waits(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing, s.reason, s.answered = time.Time{}, reason, false
}

// note keeps what a probe found, and says since when probes fail.
func (s *server) note(err error) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.failing, s.reason, s.answered = time.Time{}, "", true
	case s.failing.IsZero():
		s.failing = time.Now()
		fallthrough
	default:
		s.reason = err.Error()
	}
	return s.failing
}

// probeNFS asks for both exports, as a client would.
func (m *manager) probeNFS(ctx context.Context) error {
	const address = "127.0.0.1:2049"
	return errors.Join(fileserver.ProbeNFS(ctx, address, "data"), fileserver.ProbeNFS(ctx, address, "users"))
}

// String shows the configuration in use, without passwords.
func (k Known) String() string {
	return plural.Of(len(k.Nodes), "node") + ", " + plural.Of(len(k.Accounts), "account")
}
