package fileserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	smb2 "github.com/cloudsoda/go-smb2"
)

// What an SMB server can answer to a probe, beside that nothing listens (syscall.ECONNREFUSED).
var (
	ErrSMBSilent   = errors.New("no answer in time")
	ErrSMBProtocol = errors.New("the server does not speak SMB 3.0 or later")
	ErrSMBClosed   = errors.New("the server closes the connection: it does not speak SMB 3, or not with this client's address")
	ErrSMBPassword = errors.New("the name or the password is wrong")
	ErrSMBShare    = errors.New("there is no such share, or its directory is missing")
	ErrSMBDenied   = errors.New("access denied")
)

// SMBProbe is a question to an SMB server: is the share there for this account?
type SMBProbe struct {
	Address        string // host:port
	Share          string
	User, Password string
	Dial           func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer's
}

// NTSTATUS codes, from MS-ERREF.
const (
	statusLogonFailure   = 0xC000006D
	statusAccountRefused = 0xC000006E // STATUS_ACCOUNT_RESTRICTION
	statusDisabled       = 0xC0000072
	statusNotSupported   = 0xC00000BB
	statusBadNetworkName = 0xC00000CC
)

// The versions that are asked for, best first: each server of version 3 speaks one of them.
var smbDialects = []uint16{0x0311, 0x0300}

// Ask makes a session as a client would, in at most three seconds: negotiates SMB 3 with signing, signs in, connects to the share. It
// returns nil, or an error that wraps one of those above.
func (p SMBProbe) Ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var err error
	for _, dialect := range smbDialects {
		if err = classify(ctx, p.ask(ctx, dialect)); !errors.Is(err, ErrSMBProtocol) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("smb server %s, share %s, as %s: %w", p.Address, p.Share, p.User, err)
	}
	return nil
}

func (p SMBProbe) ask(ctx context.Context, dialect uint16) error {
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", p.Address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	dialer := smb2.Dialer{
		Negotiator: smb2.Negotiator{RequireMessageSigning: true, SpecifiedDialect: dialect},
		Initiator:  &smb2.NTLMInitiator{User: p.User, Password: p.Password},
	}
	session, err := dialer.DialConn(ctx, conn, p.Address)
	if err != nil {
		return err
	}
	session = session.WithContext(ctx)
	share, err := session.Mount(p.Share)
	if err != nil {
		return err
	}
	if err := share.WithContext(ctx).Umount(); err != nil {
		return err
	}
	return session.Logoff()
}

func classify(ctx context.Context, err error) error {
	var refused *smb2.ResponseError
	var invalid *smb2.InvalidResponseError
	var broken *smb2.TransportError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		switch refused.Code {
		case statusLogonFailure, statusAccountRefused, statusDisabled:
			return ErrSMBPassword
		case statusBadNetworkName:
			return ErrSMBShare
		case statusNotSupported:
			return ErrSMBProtocol
		}
	case errors.Is(err, os.ErrPermission): // the library's for STATUS_ACCESS_DENIED
		return ErrSMBDenied
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %w", ErrSMBProtocol, err)
	case errors.Is(err, syscall.ECONNREFUSED):
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrSMBSilent, err)
	case errors.As(err, &broken) && (errors.Is(broken.Err, io.EOF) || errors.Is(broken.Err, syscall.ECONNRESET)):
		return ErrSMBClosed
	}
	return err
}
