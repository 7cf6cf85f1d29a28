package fileserver_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
)

func (f *fileServer) encryptionRequired(t *testing.T) {
	t.Run("healthy", func(t *testing.T) {
		if err := f.probe(t.Context(), "pai-probe", probePassword, "probe"); err != nil {
			t.Error(err)
		}
		worked(t, f.as("bob").run(t, "home", "ls"))
	})
	t.Run("a client that cannot encrypt", func(t *testing.T) {
		changed := 0
		plain := f.through(t, func(message []byte) {
			if binary.LittleEndian.Uint16(message[12:]) == 0 { // NEGOTIATE: without the capability
				message[72] &^= 0x40
				changed++
			}
		})
		session, err := f.session(t, plain, "", "bob", f.password("bob"), 0x0300)
		if err == nil {
			_, err = session.Mount("home")
		}
		if status(err) != accessDenied || changed != 1 {
			t.Errorf("%v, with %d changes", err, changed)
		}
	})
}

// unsigned: a session is fine as it is, and refused when an attacker takes the signature from one of its requests.
func (f *fileServer) unsigned(t *testing.T) {
	for _, strip := range []bool{false, true} {
		changed := 0
		way := f.through(t, func(message []byte) {
			const create, signed = 5, 8
			if strip && binary.LittleEndian.Uint16(message[12:]) == create {
				message[16] &^= signed
				clear(message[48:64])
				changed++
			}
		})
		session, err := f.session(t, way, "", "bob", f.password("bob"), 0)
		if err != nil {
			t.Fatal(err)
		}
		share, err := session.Mount("data")
		if err != nil {
			t.Fatal(err)
		}
		_, err = share.ReadFile("target")
		if strip && (status(err) != accessDenied || changed == 0) || !strip && err != nil {
			t.Errorf("unsigned %v: %v", strip, err)
		}
	}
}

// through is a way to the server that lets change each SMB 2 message of the client.
func (f *fileServer) through(t *testing.T, change func(message []byte)) dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		server, err := f.Dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		client, ours := net.Pipe()
		t.Cleanup(func() { server.Close(); ours.Close() })
		go func() { _, _ = io.Copy(ours, server); ours.Close() }()
		go func() {
			defer server.Close()
			for {
				head := make([]byte, 4)
				if _, err := io.ReadFull(ours, head); err != nil {
					return
				}
				message := make([]byte, binary.BigEndian.Uint32(head)&0xffffff)
				if _, err := io.ReadFull(ours, message); err != nil {
					return
				}
				if len(message) > 76 && string(message[:4]) == "\xfeSMB" {
					change(message)
				}
				if _, err := server.Write(append(head, message...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}
}
