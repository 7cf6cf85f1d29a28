package mount_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// fakeObjectMount is a program that keeps object-mount's promises with a tmpfs in the place of a store. Files in dir steer it:
//
//	behave   "die": it ends before it serves; "hang": it never serves; otherwise the error that it says
//	pending  how many files it has not uploaded; it ends when that is 0 and the mount is gone
//	fault    of the last upload
//	settles  it says at its end that everything is uploaded
func fakeObjectMount(dir, command string) int {
	read := func(name string) string {
		text, _ := os.ReadFile(filepath.Join(dir, name))
		return strings.TrimSpace(string(text))
	}
	pending := func() mount.Pending {
		n, _ := strconv.Atoi(read("pending"))
		return mount.Pending{Pending: n, Bytes: int64(n) * 100, Fault: read("fault")}
	}
	if command == "pending" && read("settles") == "" { // else nobody should have to ask, and it does not know
		_ = json.NewEncoder(os.Stdout).Encode(pending())
		return 0
	}
	line, err := bufio.NewReader(os.Stdin).ReadBytes('\n')
	var r mount.ServeRequest
	if err != nil || json.Unmarshal(line, &r) != nil {
		return 3
	}
	_ = os.WriteFile(filepath.Join(dir, "request"), line, 0o600)
	ready := os.NewFile(3, "ready")
	switch b := read("behave"); b {
	case "":
	case "die":
		fmt.Fprintln(os.Stderr, "last words of the program")
		return 1
	case "hang":
		for {
			time.Sleep(time.Hour) // not select: the runtime would take it for a deadlock
		}
	default:
		_ = json.NewEncoder(ready).Encode(mount.ServeAnswer{Error: b})
		return 1
	}
	listener, err := net.Listen("unix", filepath.Join(filepath.Dir(r.Cache), "control.sock"))
	if err != nil {
		_ = os.Remove(filepath.Join(filepath.Dir(r.Cache), "control.sock")) // of one that was killed
		if listener, err = net.Listen("unix", filepath.Join(filepath.Dir(r.Cache), "control.sock")); err != nil {
			return 4
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = json.NewEncoder(conn).Encode(pending())
			_ = conn.Close()
		}
	}()
	var flags uintptr
	if r.Volume.ReadOnly {
		flags = unix.MS_RDONLY
	}
	if err := unix.Mount(r.Volume.Source, r.Target, "tmpfs", flags, ""); err != nil {
		_ = json.NewEncoder(ready).Encode(mount.ServeAnswer{Error: err.Error()})
		return 1
	}
	_ = json.NewEncoder(ready).Encode(mount.ServeAnswer{Ready: true})
	_ = ready.Close()
	for mounted(r.Target) || pending().Pending > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if read("settles") != "" {
		_ = os.WriteFile(filepath.Join(filepath.Dir(r.Cache), mount.SettledFile), nil, 0o600)
	}
	return 0
}

func mounted(target string) bool {
	text, err := os.ReadFile("/proc/self/mountinfo")
	return err != nil || strings.Contains(string(text), " "+target+" ")
}
