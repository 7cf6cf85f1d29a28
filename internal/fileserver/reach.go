package fileserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
)

// ErrVersion is that a server answers and does not speak the version that it was asked in.
var ErrVersion = errors.New("the server does not speak this version of NFS")

// ReachNFS asks the NFS server at host:port whether it is there, in the given version of NFS. It is the call that does nothing, so that
// every server answers it to everybody, whatever it exports. [ErrVersion] when it speaks other versions only.
func ReachNFS(ctx context.Context, address string, version int) error {
	conn, err := dial(ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	var x xdr
	x.u32(probeXID, rpcCall, rpcVersion, nfsProgram, uint32(version), procNull, authNone, 0, authNone, 0)
	record := make([]byte, 4, 4+x.Len())
	binary.BigEndian.PutUint32(record, lastFragment|uint32(x.Len()))
	if _, err := conn.Write(append(record, x.Bytes()...)); err != nil {
		return fmt.Errorf("nfs server %s: %w", address, err)
	}
	reply, err := readRecord(conn)
	if err != nil {
		return fmt.Errorf("nfs server %s takes the connection and does not answer: %w", address, err)
	}
	// xid, REPLY, MSG_ACCEPTED, verifier (flavour, length 0), PROG_MISMATCH
	const accepted, mismatch = 20, 2
	if len(reply) >= accepted+4 && binary.BigEndian.Uint32(reply[accepted:]) == mismatch {
		return fmt.Errorf("nfs server %s, version %d: %w", address, version, ErrVersion)
	}
	return nil
}

// ReachTCP asks whether anything listens at host:port.
func ReachTCP(ctx context.Context, address string) error {
	conn, err := dial(ctx, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// dial connects for as long as the context may take.
func dial(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	return conn, nil
}
