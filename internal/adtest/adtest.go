// Package adtest is a laboratory for tests of file servers: throw-away machines on a network of their own, and an Active Directory domain.
//
// A machine is a process in mount, UTS, network, PID and IPC namespaces of its own. It sees the files of the real machine, and what it
// writes lies in memory and goes with it. Its first process ends when the test's process does, however that ends, and with it the kernel
// removes everything: there is nothing to clean up. Nothing listens on the real machine, and nothing of it is changed.
//
// It needs root, and Debian packages that "make test" installs. Where they are missing the test is skipped and says so; with
// PAI_TEST_ALL=1 that is a failure.
//
// Example:
//
//	lab := adtest.New(t)
//	server := lab.Machine(t, "server")
//	server.MustRun(t, "", "hostname")
//	controller := lab.Controller(t) // realm PAI.TEST with the users alice, bob and joiner
package adtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// packages are Debian's, each with a program that shows that it is there.
var packages = [][2]string{
	{"samba", "smbd"}, {"samba-ad-dc", "/usr/share/doc/samba-ad-dc"}, {"samba-ad-provision", "/usr/share/samba/setup"},
	{"samba-dsdb-modules", "/usr/lib/*/samba/ldb/acl.so"}, {"samba-vfs-modules", "/usr/lib/*/samba/vfs/acl_xattr.so"},
	{"winbind", "winbindd"}, {"libnss-winbind", "/usr/lib/*/libnss_winbind.so.2"}, {"krb5-user", "kinit"}, {"smbclient", "smbclient"},
	{"acl", "getfacl"}, {"attr", "getfattr"}, {"faketime", "faketime"}, {"iproute2", "ip"}, {"procps", "pgrep"}, {"util-linux", "nsenter"},
}

// Lab is one network with machines.
type Lab struct {
	hub        *Machine // has the bridge
	controller *Controller
	next       int // of the addresses
}

// New makes a network until the test ends.
func New(t testing.TB) *Lab {
	t.Helper()
	if os.Getuid() != 0 {
		kubetest.Skip(t, "samba", "its machines are namespaces, which needs root: sudo make unit")
	}
	install(t)
	l := &Lab{next: 20}
	l.hub = start(t, "hub")
	l.hub.host(t, "ip", "link", "add", "br0", "type", "bridge")
	l.hub.host(t, "ip", "link", "set", "br0", "up")
	return l
}

func install(t testing.TB) {
	t.Helper()
	var missing []string
	for _, p := range packages {
		if _, err := exec.LookPath(p[1]); err == nil {
			continue
		}
		if files, _ := filepath.Glob(p[1]); !strings.HasPrefix(p[1], "/") || len(files) == 0 {
			missing = append(missing, p[0])
		}
	}
	if len(missing) == 0 {
		return
	}
	program := installer(t)
	if os.Getenv(kubetest.EnvAll) == "" {
		kubetest.Skip(t, "samba", "Debian packages are missing: "+program+" "+strings.Join(missing, " "))
	}
	if out, err := exec.Command(program, missing...).CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v\n%s", strings.Join(missing, " "), err, out)
	}
}

// installer is hack/install-packages, from wherever in the module the test runs.
func installer(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		program := filepath.Join(dir, "hack", "install-packages")
		if _, err := os.Stat(program); err == nil {
			return program
		}
	}
	t.Fatal("hack/install-packages is in none of the directories above the test's")
	return ""
}

// Machine adds a machine with an address on the lab's network until the test ends.
func (l *Lab) Machine(t testing.TB, name string) *Machine {
	t.Helper()
	l.next++
	return l.machine(t, name, l.next)
}

func (l *Lab) machine(t testing.TB, name string, number int) *Machine {
	t.Helper()
	m := start(t, name)
	m.Address = fmt.Sprintf("10.99.0.%d", number)
	port := fmt.Sprintf("port%d", number)
	l.hub.host(t, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(m.pid))
	l.hub.host(t, "ip", "link", "set", port, "master", "br0", "up")
	m.host(t, "ip", "address", "add", m.Address+"/24", "dev", "eth0")
	m.host(t, "ip", "link", "set", "eth0", "up")
	m.WriteFile(t, "/etc/hosts", fmt.Sprintf("127.0.0.1 localhost\n%s %s.%s %s\n", m.Address, name, Domain, name), 0o644)
	m.WriteFile(t, "/etc/resolv.conf", "nameserver "+controllerAddress+"\nsearch "+Domain+"\noptions timeout:1 attempts:2\n", 0o644)
	m.WriteFile(t, "/etc/nsswitch.conf", "passwd: files winbind\ngroup: files winbind\nhosts: files dns\n", 0o644)
	return m
}
