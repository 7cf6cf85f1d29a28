package fileserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Numbers from RFC 5531 and RFC 8881.
const (
	rpcCall, rpcVersion    = 0, 2
	nfsProgram, nfsVersion = 100003, 4
	procNull, procCompound = 0, 1
	authNone, authSys      = 0, 1

	opGetAttr, opLookup, opPutRootFH                 = 9, 15, 24
	opExchangeID, opCreateSession, opSequence        = 42, 43, 53
	opDestroySession, opDestroyClientID              = 44, 57
	lastFragment                                     = 1 << 31
	maxReply                                         = 1 << 16
	sessionID                                        = 16 // bytes
	statusMinorVersion                               = 10021
	probeTimeout                                     = 3 * time.Second
	probeXID                                  uint32 = 0x50414953
)

// nfsStatus names the answers that a misconfigured server gives.
var nfsStatus = map[uint32]string{1: "not permitted", 2: "no such export", 13: "access denied", 10013: "in its grace period", 10016: "wrong security flavour",
	statusMinorVersion: "the server does not speak NFS 4.1"}

// ProbeNFS asks an NFSv4.1 server at host:port for a path below its pseudo-root and returns nil when the server has it for this client. It
// opens a session and closes it again, which leaves no state behind.
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
	if err := (&nfsProbe{conn: conn}).look(path); err != nil {
		return fmt.Errorf("nfs server %s:/%s: %w", address, strings.TrimPrefix(path, "/"), err)
	}
	return nil
}

// nfsProbe is a client that looks once.
type nfsProbe struct {
	conn  io.ReadWriter
	calls uint32
}

func (p *nfsProbe) look(path string) error {
	var owner [8]byte
	if _, err := rand.Read(owner[:]); err != nil {
		return err
	}
	var exchange xdr
	exchange.u32(opExchangeID)
	exchange.Write(owner[:]) // verifier
	exchange.text("pai-storage probe " + hex.EncodeToString(owner[:]))
	exchange.u32(0, 0, 0) // flags, no protection of the state, no implementation's name
	answer, err := p.compound(1, exchange, opExchangeID)
	if err != nil {
		return err
	}
	client, sequence := answer.next(8), answer.next(4)

	var create xdr
	create.u32(opCreateSession)
	create.Write(client)
	create.Write(sequence)
	create.u32(0)
	for range 2 { // limits of the channel to the server, and of the one back: sizes, operations, slots, no RDMA
		create.u32(0, 4096, 4096, 1024, 16, 1, 0)
	}
	create.u32(0x40000000, 1, authNone) // where the server would call back: never
	if answer, err = p.compound(1, create, opCreateSession); err != nil {
		return err
	}
	session := answer.next(sessionID)
	if answer.short {
		return errCutOff
	}

	names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	var find xdr
	find.u32(opSequence)
	find.Write(session)
	find.u32(1, 0, 0, 0, opPutRootFH)
	operations := []uint32{opSequence, opPutRootFH}
	for _, name := range names {
		find.u32(opLookup)
		find.text(name)
		operations = append(operations, opLookup)
	}
	find.u32(opGetAttr, 1, 1<<1) // the type
	_, found := p.compound(uint32(len(operations)+1), find, operations[0])

	var end xdr
	end.u32(opDestroySession)
	end.Write(session)
	_, _ = p.compound(1, end, opDestroySession)
	end = xdr{}
	end.u32(opDestroyClientID)
	end.Write(client)
	_, _ = p.compound(1, end, opDestroyClientID)
	return found
}

var errCutOff = errors.New("an answer that is cut off")

// compound makes one call of minor version 1 and returns what follows the first operation's status. An error is the status of the compound.
func (p *nfsProbe) compound(operations uint32, arguments xdr, first uint32) (*answer, error) {
	p.calls++
	var x xdr
	x.u32(probeXID+p.calls, rpcCall, rpcVersion, nfsProgram, nfsVersion, procCompound)
	var credentials xdr
	host, _ := os.Hostname()
	credentials.u32(0)
	credentials.text(host)
	credentials.u32(0, 0, 0) // uid, gid, no further groups
	x.u32(authSys)
	x.text(credentials.String())
	x.u32(authNone, 0)
	x.text("probe")
	x.u32(1, operations)
	x.Write(arguments.Bytes())
	record := binary.BigEndian.AppendUint32(nil, lastFragment|uint32(x.Len()))
	if _, err := p.conn.Write(append(record, x.Bytes()...)); err != nil {
		return nil, err
	}
	text, err := readRecord(p.conn)
	if err != nil {
		return nil, err
	}
	return readAnswer(text, probeXID+p.calls, first)
}

// answer reads a reply from its front.
type answer struct {
	text  []byte
	short bool // more was asked for than there is
}

func (a *answer) next(size int) []byte {
	if size < 0 || len(a.text) < size {
		a.text, a.short = nil, true
		return make([]byte, min(max(size, 0), sessionID)) // the longest that anybody looks at
	}
	head := a.text[:size]
	a.text = a.text[size:]
	return head
}

func (a *answer) u32() uint32 {
	word := a.next(4)
	return binary.BigEndian.Uint32(word)
}

// opaque skips a text of variable length.
func (a *answer) opaque() {
	if length := a.u32(); length <= 1024 {
		a.next(int(length+3) &^ 3)
	} else {
		a.short = true
	}
}

// readAnswer checks the head of a reply: accepted, successful, status of the compound, the first operation and its status.
func readAnswer(text []byte, xid, first uint32) (*answer, error) {
	a := &answer{text: text}
	const reply, accepted, success = 1, 0, 0
	if a.u32() != xid || a.u32() != reply || a.u32() != accepted {
		return nil, errors.New("not an accepted answer")
	}
	a.u32()
	a.opaque() // verifier
	if a.short {
		return nil, errCutOff
	}
	if state := a.u32(); state != success || a.short {
		return nil, errors.New("the server does not speak NFSv4")
	}
	status := a.u32()
	a.opaque() // the tag, sent back
	count := a.u32()
	switch {
	case status != 0 && nfsStatus[status] != "":
		return nil, fmt.Errorf("%s (NFS4ERR %d)", nfsStatus[status], status)
	case status != 0:
		return nil, fmt.Errorf("NFS4ERR %d", status)
	case a.short || count == 0 || a.u32() != first || a.u32() != 0:
		return nil, errCutOff
	}
	return a, nil
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
