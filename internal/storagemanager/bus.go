package storagemanager

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/pai-storage/pai-storage/internal/proc"
)

// bus is the D-Bus on which NFS-Ganesha tells of its clients and its work. It is of this container alone, in a directory of root alone.
type bus struct {
	dir string

	mu   sync.Mutex
	conn *dbus.Conn
}

func (b *bus) socket() string  { return filepath.Join(b.dir, "bus") }
func (b *bus) address() string { return "unix:path=" + b.socket() }

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
`

// child is the bus as a process.
func (b *bus) child() (*proc.Child, error) {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(b.dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, b.socket()), 0o600); err != nil {
		return nil, err
	}
	return proc.New(proc.Spec{Name: "bus", Path: "/usr/bin/dbus-daemon", Args: []string{"--nofork", "--nosyslog", "--config-file=" + config}, Backoff: restartAfter,
		Ready: func(context.Context) error { _, err := os.Stat(b.socket()); return err }}), nil
}

// nfsClient is a client as the server knows it.
type nfsClient struct {
	Address  netip.Addr
	Protocol string // the newest version that it has spoken: "NFSv41"
	LastSeen time.Time
}

// clients asks the NFS server who mounts from it.
func (b *bus) clients(ctx context.Context) ([]nfsClient, error) {
	var at struct{ Seconds, Nanoseconds uint64 }
	type spoken struct {
		Protocol string
		Ever     bool
	}
	var list []struct {
		Address   string
		Protocols struct{ NFSv3, MNT, NLMv4, RQUOTA, NFSv40, NFSv41, NFSv42, P9 spoken }
		Last      struct{ Seconds, Nanoseconds uint64 }
	}
	if err := b.call(ctx, "/org/ganesha/nfsd/ClientMgr", "org.ganesha.nfsd.clientmgr.ShowClients", nil, &at, &list); err != nil {
		return nil, err
	}
	result := make([]nfsClient, 0, len(list))
	for _, c := range list {
		address, err := netip.ParseAddr(c.Address)
		if err != nil || address.Unmap().IsLoopback() {
			continue // our own probe
		}
		protocol := ""
		for _, s := range []spoken{c.Protocols.NFSv40, c.Protocols.NFSv41, c.Protocols.NFSv42} {
			if s.Ever {
				protocol = s.Protocol
			}
		}
		result = append(result, nfsClient{Address: address.Unmap(), Protocol: protocol, LastSeen: time.Unix(int64(c.Last.Seconds), int64(c.Last.Nanoseconds))})
	}
	return result, nil
}

// ioCounts are what an export has done since its server started.
type ioCounts struct{ Operations, Errors, Bytes uint64 }

// work asks the NFS server what it has read and written of an export, over all versions of the protocol that it has spoken.
func (b *bus) work(ctx context.Context, export int) (read, written ioCounts, err error) {
	for _, version := range []string{"GetNFSv40IO", "GetNFSv41IO", "GetNFSv42IO"} {
		var ok bool
		var text string
		var at struct{ Seconds, Nanoseconds uint64 }
		type numbers struct{ Requested, Transferred, Total, Errors, Latency, Waited uint64 }
		var r, w numbers
		err := b.call(ctx, "/org/ganesha/nfsd/ExportMgr", "org.ganesha.nfsd.exportstats."+version, []any{uint16(export)}, &ok, &text, &at, &r, &w)
		if err != nil || !ok {
			continue // nobody has spoken this version yet
		}
		read = ioCounts{read.Operations + r.Total, read.Errors + r.Errors, read.Bytes + r.Transferred}
		written = ioCounts{written.Operations + w.Total, written.Errors + w.Errors, written.Bytes + w.Transferred}
	}
	return read, written, ctx.Err()
}

// call calls a method, on a new connection after the bus or the server went away.
func (b *bus) call(ctx context.Context, path, method string, args []any, results ...any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := b.connection()
	if err != nil {
		return fmt.Errorf("nfs server's bus: %w", err)
	}
	call := conn.Object("org.ganesha.nfsd", dbus.ObjectPath(path)).CallWithContext(ctx, method, 0, args...)
	if call.Err != nil {
		return fmt.Errorf("nfs server's bus: %w", call.Err)
	}
	return call.Store(results...)
}

func (b *bus) connection() (*dbus.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil && b.conn.Connected() {
		return b.conn, nil
	}
	conn, err := dbus.Connect(b.address())
	b.conn = conn
	return conn, err
}
