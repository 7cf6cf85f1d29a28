package storagemanager

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/adtest"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// TestMain: a copy of the test's program, under the program's name, is the program.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "storage-manager" {
		os.Exit(Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// domainServer is a machine that runs the storage manager as a member of the lab's domain.
type domainServer struct {
	*adtest.Machine
	daemon *adtest.Daemon
}

const domainSection = `security-type: ADS
workgroup: PAI
default_realm: PAI.TEST
krb5_realms:
  PAI.TEST:
    kdc: dc1.pai.test
    default_domain: pai.test
domainuser: joiner
smb-encryption: required
`

// TestDomain is the life of a member: a wrong password, a right one, people, a controller that goes and comes, an account that is deleted.
func TestDomain(t *testing.T) {
	if os.Getuid() == 0 && os.Getenv(kubetest.EnvAll) != "" {
		if out, err := exec.Command("../../hack/install-packages", "nfs-ganesha", "nfs-ganesha-vfs", "dbus-daemon").CombinedOutput(); err != nil {
			t.Fatalf("install: %v\n%s", err, out)
		}
	}
	lab := adtest.New(t)
	controller := lab.Controller(t)
	s := &domainServer{Machine: lab.Machine(t, "pai-sm")}
	client := lab.Machine(t, "laptop")
	client.WriteFile(t, "/etc/hosts", fmt.Sprintf("127.0.0.1 localhost\n%s pai-sm.pai.test pai-sm\n", s.Address), 0o644)
	s.launch(t)

	t.Run("a wrong domain password is told", func(t *testing.T) {
		s.until(t, "told", 30*time.Second, func(d DomainStatus) bool {
			return strings.Contains(d.Reason, "does not accept domainuser and domainpwd") && !d.Joined
		})
	})
	t.Run("with the right one it joins by itself", func(t *testing.T) {
		s.password(t, adtest.JoinerPassword)
		s.until(t, "joined", time.Minute, func(d DomainStatus) bool { return d.Joined })
		s.serves(t, client, time.Minute)
	})
	t.Run("no password is to be seen", func(t *testing.T) {
		for where, text := range map[string]string{"the log": s.daemon.Log(), "processes": s.MustRun(t, "", "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' ' '"),
			"configurations": s.MustRun(t, "", "sh", "-c", "cat /run/pai-storage/*.conf /etc/krb5.conf")} {
			if strings.Contains(text, adtest.JoinerPassword) || strings.Contains(text, wrongPassword) || strings.Contains(text, localPassword) {
				t.Errorf("%s: a password is there", where)
			}
		}
	})
	t.Run("a home by Kerberos and by password", func(t *testing.T) { s.homes(t, client) })
	t.Run("a deleted machine account is made anew", func(t *testing.T) {
		controller.MustRun(t, "", "samba-tool", "computer", "delete", "PAI-SM")
		await.Promised(t, "it is made anew", time.Minute, func() bool {
			r, err := controller.Run(t.Context(), "", "samba-tool", "computer", "show", "PAI-SM")
			return err == nil && r.Code == 0
		})
		s.serves(t, client, time.Minute)
	})
	t.Run("the controller goes and comes", func(t *testing.T) {
		controller.Down()
		// Samba asks the controller until it has noticed that it is away, which may take longer than a client waits.
		await.Promised(t, "the shared account gets in without a controller", time.Minute, func() bool {
			return smbclient(t, client, `PAI-SM\smbuser`, localPassword, "data", "ls").Code == 0
		})
		if r := smbclient(t, client, `PAI\alice`, adtest.AlicePassword, "home", "ls"); r.Code == 0 {
			t.Errorf("alice was let in by nobody: %+v", r)
		}
		s.until(t, "the reason is told", time.Minute, func(d DomainStatus) bool { return strings.Contains(d.Reason, "no domain controller answers") })
		controller.Up(t)
		s.until(t, "well again", time.Minute, func(d DomainStatus) bool { return d.Joined && d.Reason == "" })
		s.serves(t, client, time.Minute)
	})
}

const (
	wrongPassword = "not-the-Joiners-1"
	localPassword = "smbpwd-of-all"
)

// launch starts the storage manager with a wrong password of the domain.
func (s *domainServer) launch(t *testing.T) {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	s.MustRun(t, "", "mkdir", "-p", "/share", "/etc/pai-storage/storage-manager", "/etc/pai-storage/passwords", "/run/samba")
	s.WriteFile(t, "/usr/bin/storage-manager", string(program), 0o755)
	s.WriteFile(t, "/etc/pai-storage/storage-manager/storage-manager.yaml", domainSection, 0o644)
	s.WriteFile(t, "/etc/pai-storage/passwords/smbpwd", localPassword, 0o600)
	s.password(t, wrongPassword)
	s.daemon = s.Start(t, "/usr/bin/storage-manager", "--no-cluster", "--node", "pai-sm", "--check-domain-every", "3s")
}

func (s *domainServer) password(t *testing.T, text string) {
	t.Helper()
	s.WriteFile(t, "/etc/pai-storage/passwords/domainpwd", text, 0o600)
}

// until waits until the storage manager says so of its domain.
func (s *domainServer) until(t *testing.T, what string, limit time.Duration, is func(DomainStatus) bool) {
	t.Helper()
	var last string
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: it says %s", what, last)
		}
	})
	await.Promised(t, what, limit, func() bool {
		r, err := s.Run(t.Context(), "", "/usr/bin/storage-manager", "status")
		last = fmt.Sprintf("%s%s, error %v", r.Out, r.Err, err)
		var status Status
		return err == nil && r.Code == 0 && json.Unmarshal([]byte(r.Out), &status) == nil && status.Domain != nil && is(*status.Domain)
	})
}

// serves waits until alice reaches her home by her password.
func (s *domainServer) serves(t *testing.T, client *adtest.Machine, limit time.Duration) {
	t.Helper()
	await.Promised(t, "alice gets in", limit, func() bool { return smbclient(t, client, `PAI\alice`, adtest.AlicePassword, "home", "ls").Code == 0 })
}

func (s *domainServer) homes(t *testing.T, client *adtest.Machine) {
	client.WriteFile(t, "/etc/krb5.conf", "[libdefaults]\n\tdefault_realm = PAI.TEST\n\tdns_lookup_kdc = true\n\trdns = false\n", 0o644)
	client.MustRun(t, adtest.AlicePassword+"\n", "kinit", "alice@PAI.TEST")
	client.WriteFile(t, "/tmp/note", "of alice\n", 0o644)
	kerberos := func(share, commands string) adtest.Result {
		r, err := client.Run(t.Context(), "", "smbclient", "//pai-sm.pai.test/"+share, "--configfile=/dev/null", "--use-kerberos=required", "-c", commands)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := kerberos("home", "put /tmp/note note; ls"); r.Code != 0 || !strings.Contains(r.Out, "note") {
		t.Errorf("by Kerberos: %+v", r)
	}
	client.MustRun(t, "", "kdestroy")
	if r := kerberos("home", "ls"); r.Code == 0 {
		t.Errorf("without a ticket: %+v", r)
	}
	if r := smbclient(t, client, `PAI\alice`, adtest.AlicePassword, "home", "get note /tmp/back"); r.Code != 0 {
		t.Errorf("by password: %+v", r)
	}
	if r := smbclient(t, client, `PAI\bob`, adtest.BobPassword, "home", "ls; get note /tmp/bobs"); strings.Contains(r.Out, "note ") || !strings.Contains(r.Out+r.Err, "NT_STATUS_OBJECT_NAME_NOT_FOUND") {
		t.Errorf("bob's home shows alice's: %+v", r)
	}
	for share, commands := range map[string]string{"users": "ls alice\\*", "root": "ls", "home": `cd ..; cd alice; get note /tmp/bobs`} {
		if r := smbclient(t, client, `PAI\bob`, adtest.BobPassword, share, commands); r.Code == 0 || strings.Contains(r.Out, "note ") {
			t.Errorf("bob in %s: %+v", share, r)
		}
	}
	for _, share := range []string{"root", "users"} {
		if r := smbclient(t, client, `PAI\`+adtest.Admin, adtest.AdminPassword, share, "ls"); r.Code != 0 {
			t.Errorf("an administrator of the domain in %s: %+v", share, r)
		}
	}
	if r := smbclient(t, client, `PAI\alice`, "wrong", "home", "ls"); r.Code == 0 || !strings.Contains(r.Out+r.Err, "LOGON_FAILURE") {
		t.Errorf("a wrong password: %+v", r)
	}
	owner := strings.TrimSpace(s.MustRun(t, "", "stat", "-c", "%U %g %a", "/share/users/alice"))
	if owner != `PAI\alice 1000 770` {
		t.Errorf("alice's folder is %q", owner)
	}
}

// smbclient runs commands on a share, with a name and a password that no process list shows.
func smbclient(t *testing.T, m *adtest.Machine, user, password, share, commands string) adtest.Result {
	t.Helper()
	domain, name, _ := strings.Cut(user, `\`)
	m.WriteFile(t, "/tmp/login", fmt.Sprintf("username = %s\npassword = %s\ndomain = %s\n", name, password, domain), 0o600)
	r, err := m.Run(await.Context(t), "", "smbclient", "//pai-sm.pai.test/"+share, "--configfile=/dev/null", "-A", "/tmp/login", "-c", commands)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
