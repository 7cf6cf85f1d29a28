package fileserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// NFSv4 numbers, from RFC 7530 and RFC 5531.
const (
	rpcCall, rpcVersion           = 0, 2
	nfsProgram, nfsVersion        = 100003, 4
	procNull, procCompound        = 0, 1
	authNone, authSys             = 0, 1
	opGetAttr, opLookup           = 9, 15
	opPutRootFH                   = 24
	lastFragment                  = 1 << 31
	maxReply                      = 1 << 16
	probeTimeout                  = 3 * time.Second
	probeXID               uint32 = 0x50414953
)

// nfsStatus names the answers that a misconfigured server gives.
var nfsStatus = map[uint32]string{1: "not permitted", 2: "no such export", 13: "access denied", 10013: "in its grace period", 10016: "wrong security flavour"}

// ProbeNFS asks an NFSv4 server at host:port for a path below its pseudo-root and returns nil when the
// server has it. One compound of minor version 0, which leaves no state behind: PUTROOTFH, LOOKUP, GETATTR.
func ProbeNFS(ctx context.Context, address, path string) error {
	return ProbeNFSFrom(ctx, netip.Addr{}, address, path)
}

// ProbeNFSFrom is ProbeNFS from one of this host's addresses: servers answer by the client's address. The
// zero address leaves the choice to the system.
func ProbeNFSFrom(ctx context.Context, from netip.Addr, address, path string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var dialer net.Dialer
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("nfs server: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if _, err := conn.Write(probeRequest(path)); err != nil {
		return fmt.Errorf("nfs server %s: %w", address, err)
	}
	reply, err := readRecord(conn)
	if err != nil {
		return fmt.Errorf("nfs server %s: %w", address, err)
	}
	if err := checkReply(reply); err != nil {
		return fmt.Errorf("nfs server %s:/%s: %w", address, path, err)
	}
	return nil
}

func probeRequest(path string) []byte {
	var x xdr
	x.u32(probeXID, rpcCall, rpcVersion, nfsProgram, nfsVersion, procCompound)
	var credentials xdr
	host, _ := os.Hostname()
	credentials.u32(0)
	credentials.text(host)
	credentials.u32(0, 0, 0) // uid, gid, no further groups
	x.u32(authSys)
	x.text(credentials.String())
	x.u32(authNone, 0)
	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	x.text("probe")
	x.u32(0, uint32(2+len(names)), opPutRootFH)
	for _, name := range names {
		x.u32(opLookup)
		x.text(name)
	}
	x.u32(opGetAttr, 1, 1<<1) // the type
	record := make([]byte, 4, 4+x.Len())
	binary.BigEndian.PutUint32(record, lastFragment|uint32(x.Len()))
	return append(record, x.Bytes()...)
}

// readRecord puts the fragments of a record together.
func readRecord(r io.Reader) ([]byte, error) {
	var record []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil, err
		}
		mark := binary.BigEndian.Uint32(head[:])
		size := int(mark &^ lastFragment)
		if len(record)+size > maxReply {
			return nil, fmt.Errorf("an answer of %d bytes", len(record)+size)
		}
		fragment := make([]byte, size)
		if _, err := io.ReadFull(r, fragment); err != nil {
			return nil, err
		}
		record = append(record, fragment...)
		if mark&lastFragment != 0 {
			return record, nil
		}
	}
}

// checkReply reads the head of the answer: accepted, successful, status of the compound.
func checkReply(reply []byte) error {
	word := func(i int) (uint32, bool) {
		if len(reply) < 4*i+4 {
			return 0, false
		}
		return binary.BigEndian.Uint32(reply[4*i:]), true
	}
	// xid, REPLY, MSG_ACCEPTED, verifier (flavour, length 0), SUCCESS, status
	expected := []uint32{probeXID, 1, 0}
	for i, want := range expected {
		if got, ok := word(i); !ok || got != want {
			return fmt.Errorf("not an accepted answer")
		}
	}
	length, ok := word(4)
	if !ok || length > 400 {
		return fmt.Errorf("an answer that is cut off")
	}
	next := 5 + int(length+3)/4
	if accepted, ok := word(next); !ok || accepted != 0 {
		return fmt.Errorf("the server does not speak NFSv4")
	}
	status, ok := word(next + 1)
	if !ok {
		return fmt.Errorf("an answer that is cut off")
	}
	if status == 0 {
		return nil
	}
	if name := nfsStatus[status]; name != "" {
		return fmt.Errorf("%s (NFS4ERR %d)", name, status)
	}
	return fmt.Errorf("NFS4ERR %d", status)
}

// xdr writes the external data representation of RFC 4506.
type xdr struct{ bytes.Buffer }

func (x *xdr) u32(values ...uint32) {
	for _, v := range values {
		_ = binary.Write(x, binary.BigEndian, v)
	}
}

func (x *xdr) text(s string) {
	x.u32(uint32(len(s)))
	x.WriteString(s)
	x.Write(make([]byte, (4-len(s)%4)%4))
}
