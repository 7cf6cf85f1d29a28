// Package fileserver renders the configuration of file servers from one description.
//
// The renderers are pure: a description in, a text out, and no text for a description that the
// server would read differently. Paths and addresses are checked before they are written, because a
// quote or a newline in one of them could open a second export.
//
// Example:
//
//	text, err := fileserver.NFS{Exports: exports, RecoveryDir: "/share/.nfs-server"}.Ganesha()
//
// [SMB] is the same for Samba, with [Accounts] for who may sign in and [Homes] for their folders. Probes ask a running server:
// [ProbeNFS], [SMBProbe].
package fileserver

import (
	"fmt"
	"net/netip"
	"path"
	"strings"
	"time"
)

// NFS describes an NFSv4 server.
type NFS struct {
	Exports []Export
	// RecoveryDir survives restarts: who had files open is written there.
	RecoveryDir string
	// Lease and Grace are how long a client may be silent, and how long a restarted server waits for the ones that it knows. Zero means 13 and 20
	// seconds: a restart is felt for seconds, where the server's own defaults (60 and 90) stall every open for a minute and a half. The server
	// looks after each half of the lease, in whole seconds, whether everybody is back, and ends the waiting then. Clients try again 3 seconds
	// after a refused connection: a server that is started anew at once looks just after that. A lease below 11 seconds is refused: Linux' client
	// lets it run out, see shortestLease.
	Lease, Grace time.Duration
	// Minor40 serves NFS 4.0 as well. Its clients have to be waited for after a restart until the time is up, because they cannot say that
	// they are done; those of 4.1 and 4.2 can.
	Minor40 bool
}

// shortestLease is what a lease has at least. Linux' client (6.1, fs/nfs/nfs4renewd.c) looks whether to renew when two thirds of the lease are over
// since it last asked something, but never sooner than 5 seconds after it last looked; and when it looks and has asked something within a third of
// the lease, it leaves it at that. So it may be silent for a third of the lease and 5 seconds. The server counts in whole seconds, of which the
// first may be nearly over. Whoever comes late, and before the server has noticed, is told NFS4ERR_EXPIRED, and programs have an I/O error.
const shortestLease = 11 * time.Second

// Export is one directory that is served.
type Export struct {
	ID      int    // 1..65535; part of every file handle, so it must never change
	Path    string // on the server
	Pseudo  string // what clients mount: /data
	Clients []netip.Prefix
	UID     int // whoever asks, acts as this user and group
	GID     int
}

// Ganesha is the server's configuration for NFS-Ganesha 4.
func (n NFS) Ganesha() (string, error) {
	if err := checkPath("recovery directory", n.RecoveryDir); err != nil {
		return "", err
	}
	lease, grace := n.Lease, n.Grace
	if lease == 0 {
		lease = 13 * time.Second
	}
	if grace == 0 {
		grace = 20 * time.Second
	}
	if lease < shortestLease || grace < lease {
		return "", fmt.Errorf("lease %s, grace period %s: the lease has %s or more, and the grace period is not shorter", lease, grace, shortestLease)
	}
	minors := "1, 2"
	if n.Minor40 {
		minors = "0, 1, 2"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `NFS_CORE_PARAM {
	Protocols = 4;
	NFS_Port = 2049;
	Enable_NLM = false;
	Enable_RQUOTA = false;
	Enable_UDP = false;
	fsid_device = false;
}

NFSv4 {
	Minor_Versions = %s;
	Lease_Lifetime = %d;
	Grace_Period = %d;
	Only_Numeric_Owners = true;
	RecoveryBackend = fs;
	RecoveryRoot = "%s";
}

NFS_KRB5 {
	Active_krb5 = false;
}

MDCACHE {
	Dir_Chunk = 0;
}

EXPORT_DEFAULTS {
	Access_Type = None;
	Protocols = 4;
	Transports = TCP;
	SecType = sys;
	Attr_Expiration_Time = 0;
}
`, minors, int(lease.Seconds()), int(grace.Seconds()), n.RecoveryDir)
	for _, e := range n.Exports {
		if err := e.check(); err != nil {
			return "", err
		}
		b.WriteString(e.ganesha())
	}
	return b.String(), nil
}

func (e Export) check() error {
	if e.ID < 1 || e.ID > 65535 {
		return fmt.Errorf("export %s: id %d is not in 1..65535", e.Pseudo, e.ID)
	}
	if len(e.Clients) == 0 {
		return fmt.Errorf("export %s: no client may use it", e.Pseudo)
	}
	if err := checkPath("export", e.Path); err != nil {
		return err
	}
	return checkPath("pseudo path", e.Pseudo)
}

func (e Export) ganesha() string {
	clients := make([]string, len(e.Clients))
	for i, c := range e.Clients {
		clients[i] = c.String()
	}
	return fmt.Sprintf(`
EXPORT {
	Export_Id = %d;
	Path = "%s";
	Pseudo = "%s";
	Filesystem_Id = %d.%d;
	Squash = All_Squash;
	Anonymous_Uid = %d;
	Anonymous_Gid = %d;

	CLIENT {
		Clients = %s;
		Protocols = 4;
		Access_Type = RW;
	}

	FSAL {
		Name = VFS;
	}
}
`, e.ID, e.Path, e.Pseudo, e.ID, e.ID, e.UID, e.GID, strings.Join(clients, ", "))
}

// checkPath refuses what Ganesha's parser would not read as one string.
func checkPath(what, p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("%s %q: give an absolute path without detours", what, p)
	}
	for _, r := range p {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`"'\#%;{}$`, r) {
			return fmt.Errorf("%s %q: the character %q cannot be part of it", what, p, r)
		}
	}
	return nil
}
