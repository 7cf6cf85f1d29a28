package storagemanager

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Status is what a storage server says of itself.
type Status struct {
	Node         string         `json:"node"`
	SecurityType string         `json:"securityType"` // AUTO or ADS
	LocalPath    string         `json:"localPath"`
	Capacity     Capacity       `json:"capacity"`
	Servers      []ServerStatus `json:"servers"`
	Folders      []Folder       `json:"folders"`
	Exports      []ExportStatus `json:"exports"`
	Allowed      []netip.Prefix `json:"nfsAllowedClients"` // with the cluster's nodes
	Clients      []ClientStatus `json:"clients"`
	Accounts     []string       `json:"accounts"` // names of SMB accounts that are served, besides the shared one
	// Refused are the users who have asked for an SMB account and cannot have it.
	Refused []RefusedAccount `json:"refusedAccounts,omitempty"`
	Domain  *DomainStatus    `json:"domain,omitempty"`
	// Fault is why the newest configuration is not in use; the one before it is.
	Fault string `json:"fault,omitempty"`
	// Revision of the configuration that was applied last, or that Fault speaks of.
	Revision string `json:"revision,omitempty"`
}

// RefusedAccount is a user without an SMB account, and why.
type RefusedAccount struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Capacity of the disk, in bytes.
type Capacity struct {
	Total uint64 `json:"total"`
	Free  uint64 `json:"free"` // for the shares
}

// ServerStatus is one of the servers.
type ServerStatus struct {
	Name     string    `json:"name"` // "nfs-server", "smb-server"
	Healthy  bool      `json:"healthy"`
	Reason   string    `json:"reason,omitempty"` // why it is not
	Since    time.Time `json:"since"`            // its process's start
	Restarts int       `json:"restarts"`
}

// ExportStatus is what an export of the NFS server has done since the server's start.
type ExportStatus struct {
	Path         string `json:"path"`
	Reads        uint64 `json:"reads"`
	BytesRead    uint64 `json:"bytesRead"`
	Writes       uint64 `json:"writes"`
	BytesWritten uint64 `json:"bytesWritten"`
	FailedReads  uint64 `json:"failedReads"`
	FailedWrites uint64 `json:"failedWrites"`
}

// ClientStatus is somebody who is connected.
type ClientStatus struct {
	Protocol string     `json:"protocol"` // "NFSv41", "SMB3_11"
	Address  netip.Addr `json:"address"`
	User     string     `json:"user,omitempty"`
	Seen     time.Time  `json:"seen"` // last call, or log in
}

// DomainStatus is the membership in an Active Directory domain.
type DomainStatus struct {
	Realm  string    `json:"realm"`
	Joined bool      `json:"joined"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

func (s *server) status() ServerStatus {
	state := s.State()
	s.mu.Lock()
	defer s.mu.Unlock()
	status := ServerStatus{Name: s.String(), Healthy: state.PID != 0 && s.answered && s.failing.IsZero(), Reason: s.reason, Since: state.Since, Restarts: state.Restarts}
	switch {
	case status.Healthy:
	case state.PID == 0:
		status.Reason = cmp.Or(state.LastExit, status.Reason, "not started yet")
	case status.Reason == "":
		status.Reason = "starts"
	}
	return status
}

// status collects what there is to say. What cannot be asked at the moment is left out.
func (m *manager) status(ctx context.Context) Status {
	m.mu.Lock()
	s := Status{Node: m.node, SecurityType: m.settings.SecurityType, LocalPath: m.layout.root, Allowed: m.clients(), Domain: m.domain.status(), Revision: m.revision}
	s.Accounts, s.Refused = m.served, m.refused
	s.Fault = m.fault()
	m.mu.Unlock()
	s.Capacity = m.capacity()
	for _, server := range m.servers() {
		s.Servers = append(s.Servers, server.status())
	}
	s.Folders = m.usage.list()
	for id, path := range []string{"/data", "/users"} {
		read, written, err := m.bus.work(ctx, id+1)
		if err != nil {
			break
		}
		s.Exports = append(s.Exports, ExportStatus{path, read.Operations, read.Bytes, written.Operations, written.Bytes, read.Errors, written.Errors})
	}
	if list, err := m.bus.clients(ctx); err == nil {
		for _, c := range list {
			s.Clients = append(s.Clients, ClientStatus{Protocol: c.Protocol, Address: c.Address, Seen: c.LastSeen})
		}
	}
	s.Clients = append(s.Clients, m.smbClients(ctx)...)
	slices.SortFunc(s.Clients, func(a, b ClientStatus) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.User, b.User))
	})
	return s
}

// fault is why the newest configuration is not in use, "" when it is.
func (m *manager) fault() string {
	var texts []string
	for _, err := range []error{m.unusable, m.failed} {
		if err != nil {
			texts = append(texts, err.Error())
		}
	}
	return strings.Join(texts, "; ")
}

func (m *manager) capacity() Capacity {
	var f syscall.Statfs_t
	if syscall.Statfs(m.layout.root, &f) != nil {
		return Capacity{}
	}
	return Capacity{Total: f.Blocks * uint64(f.Bsize), Free: f.Bavail * uint64(f.Bsize)}
}

// faults of the servers that keep them from serving; nil when all is well.
func (m *manager) faults() []string {
	var faults []string
	for _, s := range m.servers() {
		if status := s.status(); !status.Healthy {
			faults = append(faults, status.Name+": "+status.Reason)
		}
	}
	return faults
}

// handler answers on the loopback address: the kubelet's probes, and "storage-manager status".
func (m *manager) handler() http.Handler {
	mux := http.NewServeMux()
	// Alive: the supervisor works and no server has been silent for so long that a new container is the better try. A server that hangs is
	// ended long before.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range m.servers() {
			s.mu.Lock()
			failing, reason := s.failing, s.reason
			s.mu.Unlock()
			if !failing.IsZero() && time.Since(failing) > deadAfter {
				http.Error(w, s.String()+": "+reason, http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = w.Write([]byte("alive\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if faults := m.faults(); len(faults) > 0 {
			http.Error(w, strings.Join(faults, "; "), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(m.status(r.Context()))
	})
	return mux
}

// deadAfter is how long a server may fail before the container is given up.
const deadAfter = 5 * time.Minute
