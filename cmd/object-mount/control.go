package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// listen tells whoever connects to the socket beside the cache what is left to be uploaded.
func listen(cache string, left func() (mount.Pending, error)) (net.Listener, error) {
	path := filepath.Join(filepath.Dir(filepath.Clean(cache)), "control.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w; the path of the cache may be too long", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			p, err := left()
			if err != nil {
				p.Fault = err.Error()
			}
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			_ = json.NewEncoder(conn).Encode(p)
			_ = conn.Close()
		}
	}()
	return l, nil
}
