package fileserver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	smb2 "github.com/cloudsoda/go-smb2"

	"github.com/pai-storage/pai-storage/internal/adtest"
	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// TestStandalone is a real Samba with accounts of its own, in three settings one after the other.
func TestStandalone(t *testing.T) {
	s := standalone()
	s.Admins = []string{"Carol"}
	f := newFileServer(t, adtest.New(t).Machine(t, "pai-sm"), s, accountsOf("Alice", "bob", "Carol", ".hidden", "daemon", strings.Repeat("x", 126))...)
	f.asJob(t, `mkdir -m 700 /share/users/Alice && echo of-alice > /share/users/Alice/secret`)
	f.start(t)

	t.Run("Samba knows each parameter", func(t *testing.T) {
		r, err := f.Run(t.Context(), "", "testparm", "-s")
		if said := r.Out + r.Err; err != nil || r.Code != 0 || strings.Contains(said, "Unknown") || strings.Contains(said, "WARNING") || strings.Contains(said, "deprecated") {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Run("who may connect to what", f.whoMayConnect)
	t.Run("nobody without an account", f.nobodyElse)
	t.Run("old and weak protocols", f.weakProtocols)
	t.Run("ways out of a share", f.waysOut)
	t.Run("files of clients and jobs", f.filesOfBoth)
	t.Run("accounts", f.accountsChange)
	t.Run("a crowd in one folder", f.crowd)
	t.Run("a kill", f.killed)
	t.Run("probe", f.probes)

	t.Run("encryption required", func(t *testing.T) {
		f.smb.Encryption, f.smb.MinProtocol = "required", "SMB3_00"
		f.restart(t, "")
		f.encryptionRequired(t)
	})
	t.Run("unsigned", func(t *testing.T) {
		f.smb.Encryption = "off"
		f.restart(t, "")
		f.unsigned(t)
	})
}

func (f *fileServer) restart(t *testing.T, more string) {
	t.Helper()
	f.smbd.Kill()
	f.configure(t, more)
	f.start(t)
}

// password is what newFileServer gave an account.
func (f *fileServer) password(user string) string {
	switch strings.ToLower(user) {
	case f.smb.Shared:
		return sharedPassword
	case f.smb.Probe:
		return probePassword
	case "alice":
		return "Alice-password"
	case "carol":
		return "Carol-password"
	}
	return user + "-password"
}

func (f *fileServer) as(user string) client {
	return client{machine: f.Machine, server: "127.0.0.1", user: user, password: f.password(user)}
}

func (f *fileServer) whoMayConnect(t *testing.T) {
	denied, ok := fileserver.ErrSMBDenied, error(nil)
	for _, c := range []struct {
		user                           string
		data, users, home, root, probe error
	}{
		{"pai-probe", denied, denied, denied, denied, ok},
		{"smbuser", ok, ok, denied, denied, denied},
		{"bob", ok, denied, ok, denied, denied},
		{"Alice", ok, denied, ok, denied, denied},
		{"ALICE", ok, denied, ok, denied, denied},
		{`WORKGROUP\alice`, ok, denied, ok, denied, denied},
		{".hidden", ok, denied, ok, denied, denied},
		{"daemon", ok, denied, ok, denied, denied},
		{strings.Repeat("x", 126), ok, denied, ok, denied, denied},
		{"carol", ok, ok, ok, ok, denied},
	} {
		for share, want := range map[string]error{"data": c.data, "users": c.users, "home": c.home, "root": c.root, "probe": c.probe} {
			user, domain := c.user, ""
			if d, u, is := strings.Cut(c.user, `\`); is {
				domain, user = d, u
			}
			t.Run(fmt.Sprintf("%.20s in %s", c.user, share), func(t *testing.T) {
				session, err := f.session(t, f.Dial, domain, user, f.password(user), 0)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := session.Mount(share); status(err) != map[error]uint32{ok: 0, denied: accessDenied}[want] {
					t.Errorf("%v, want %v", err, want)
				}
			})
		}
	}
	t.Run("bob sees the shares that are for bob", func(t *testing.T) {
		session, err := f.session(t, f.Dial, "", "bob", f.password("bob"), 0)
		if err != nil {
			t.Fatal(err)
		}
		names, err := session.ListSharenames()
		if got := strings.Join(names, " "); err != nil || got != "data home IPC$" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// accessDenied is an NTSTATUS, from MS-ERREF.
const accessDenied = 0xC0000022

// status is the server's answer: 0 is success, 1 an error of another kind.
func status(err error) uint32 {
	var refused *smb2.ResponseError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, os.ErrPermission):
		return accessDenied
	case errors.As(err, &refused):
		return refused.Code
	}
	return 1
}

type dial func(ctx context.Context, network, address string) (net.Conn, error)

// session signs in. The dialect 0 is any.
func (f *fileServer) session(t *testing.T, dial dial, domain, user, password string, dialect uint16) (*smb2.Session, error) {
	t.Helper()
	conn, err := dial(t.Context(), "tcp", "127.0.0.1:445")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	d := smb2.Dialer{Negotiator: smb2.Negotiator{SpecifiedDialect: dialect}, Initiator: &smb2.NTLMInitiator{Domain: domain, User: user, Password: password}}
	return d.DialConn(t.Context(), conn, "127.0.0.1")
}

func (f *fileServer) nobodyElse(t *testing.T) {
	for name, who := range map[string]client{
		"a wrong password":              {user: "alice", password: "wrong"},
		"no password":                   {user: "alice"},
		"an unknown user":               {user: "nosuchuser", password: "x"},
		"guest":                         {user: "guest"},
		"nobody":                        {user: "nobody"},
		"root without a password":       {user: "root"},
		"the hash in place of password": {user: "alice", password: string(fileserver.NTHash("Alice-password"))},
	} {
		t.Run(name, func(t *testing.T) {
			if err := f.probe(t.Context(), who.user, who.password, "data"); !errors.Is(err, fileserver.ErrSMBPassword) {
				t.Errorf("%v, want %v", err, fileserver.ErrSMBPassword)
			}
		})
	}
	anonymous := client{machine: f.Machine, server: "127.0.0.1", options: []string{"-N"}}
	for _, share := range []string{"data", "home", "probe"} {
		t.Run("anonymous in "+share, func(t *testing.T) { refused(t, anonymous.run(t, share, "ls"), "NT_STATUS_ACCESS_DENIED") })
	}
	for _, c := range []string{"enumdomusers", "netshareenum", "querydominfo", "lsaquery", "lookupnames alice"} {
		t.Run("a null session asks "+c, func(t *testing.T) {
			r, err := f.Run(t.Context(), "", "rpcclient", "--configfile=/dev/null", "-U%", "127.0.0.1", "-c", c)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, r, "NT_STATUS_ACCESS_DENIED")
			if strings.Contains(strings.ToLower(r.Out), "alice") && c != "lookupnames alice" {
				t.Errorf("it says:\n%s", r.Out)
			}
		})
	}
}

func (f *fileServer) weakProtocols(t *testing.T) {
	for name, options := range map[string][]string{
		"SMB 1":       {"--max-protocol=NT1", "--option=client min protocol=NT1"},
		"SMB 2.0.2":   {"--max-protocol=SMB2_02"},
		"SMB 2.1":     {"--max-protocol=SMB2_10"},
		"NTLM 1":      {"--option=client ntlmv2 auth=no", "--option=client use spnego=no"},
		"LAN Manager": {"--option=client ntlmv2 auth=no", "--option=client lanman auth=yes"},
	} {
		t.Run(name, func(t *testing.T) {
			c := f.as("bob")
			c.options = options
			refused(t, c.run(t, "data", "ls"), "NT_STATUS_")
		})
	}
}

func (f *fileServer) waysOut(t *testing.T) {
	f.asJob(t, `cd /share/data && echo inside > target && ln -s target link && ln -s /etc/shadow shadow && ln -s ../users/Alice/secret secret &&
		ln -s ../users users && ln -s /share/users/Alice alice && ln -s ../.smb-server/private/smbpasswd smbpasswd && ln -s / slash && ln -s users two-steps &&
		mkdir -p /share/users/bob && cd /share/users/bob && ln -s ../Alice alice && ln -s ../../data data`)
	bob := func(t *testing.T, share string) *smb2.Share {
		session, err := f.session(t, f.Dial, "", "bob", f.password("bob"), 0)
		if err != nil {
			t.Fatal(err)
		}
		mounted, err := session.Mount(share)
		if err != nil {
			t.Fatal(err)
		}
		return mounted
	}
	for share, files := range map[string][]string{
		"data": {"shadow", "secret", `users\Alice\secret`, `alice\secret`, "smbpasswd", `slash\etc\passwd`, `two-steps\Alice\secret`, `..\users\Alice\secret`, `..\..\etc\passwd`,
			`target\..\..\users\Alice\secret`, `..`, `.\..\users\Alice\secret`, `link\..\..\users\Alice\secret`, `users\..\..\etc\passwd`},
		"home": {`alice\secret`, `data\target`, `..\Alice\secret`, `..\alice\secret`, `..\..\data\target`},
	} {
		mounted := bob(t, share)
		for _, file := range files {
			t.Run(share+" "+file, func(t *testing.T) {
				if text, err := mounted.ReadFile(file); err == nil {
					t.Errorf("bob reads %q", text)
				}
				if err := mounted.WriteFile(file, []byte("bob was here"), 0o644); err == nil {
					t.Error("bob writes it")
				}
			})
		}
	}
	if said := f.MustRun(t, "", "sh", "-c", "cat /share/users/Alice/secret; grep -rl 'bob was here' /share /etc/shadow /etc/passwd || true"); said != "of-alice\n" {
		t.Errorf("it is written all the same: %s", said)
	}
	t.Run("a link inside of the share leads on", func(t *testing.T) { worked(t, f.as("bob").run(t, "data", "get link -"), "inside") })
	t.Run("the server's state", func(t *testing.T) {
		r := f.as("carol").run(t, "root", "cd .smb-server")
		refused(t, r, "NT_STATUS_OBJECT_NAME_NOT_FOUND")
		if out := f.as("carol").run(t, "root", "ls").Out; strings.Contains(out, ".smb-server") || !strings.Contains(out, "users") {
			t.Errorf("the root shows:\n%s", out)
		}
	})
	t.Run("a home that is a link to another's", func(t *testing.T) {
		f.asJob(t, "mv /share/users/bob /share/users/bob2 && ln -s Alice /share/users/bob")
		refused(t, f.as("bob").run(t, "home", "get secret -"), "NT_STATUS_ACCESS_DENIED")
		f.asJob(t, "rm /share/users/bob && mv /share/users/bob2 /share/users/bob")
		worked(t, f.as("bob").run(t, "home", "ls"))
	})
}

func (f *fileServer) filesOfBoth(t *testing.T) {
	stat := func(path string) string {
		return strings.TrimSpace(f.MustRun(t, "", "stat", "-c", "%u:%g %a", path))
	}
	f.WriteFile(t, "/tmp/upload", "from-a-client\n", 0o644)
	for _, c := range []struct{ user, share, dir, directory, file string }{
		{"smbuser", "data", "/share/data", "1000:1000 775", "1000:1000 664"},
		{"bob", "data", "/share/data", "1000:1000 775", "1000:1000 664"},
		{"carol", "root", "/share", "1000:1000 775", "1000:1000 664"},
		{"smbuser", "users", "/share/users", "1000:1000 700", "1000:1000 600"},
		{"Alice", "home", "/share/users/Alice", "1000:1000 700", "1000:1000 600"},
		{".hidden", "home", "/share/users/.hidden", "1000:1000 700", "1000:1000 600"},
	} {
		t.Run(c.user+" in "+c.share, func(t *testing.T) {
			prefix, local := "", c.dir
			if c.share == "root" {
				prefix, local = "data/", c.dir+"/data"
			}
			dir := "of-" + c.user
			f.asJob(t, fmt.Sprintf("mkdir -p %[1]s/job-%[2]s && echo from-a-job > %[1]s/job-%[2]s/file", local, c.user))
			worked(t, f.as(c.user).run(t, c.share, fmt.Sprintf(`mkdir %[1]s%[2]s; put /tmp/upload %[1]s%[2]s/file; get %[1]sjob-%[3]s/file -; put /tmp/upload %[1]sjob-%[3]s/file;
				put /tmp/upload %[1]sjob-%[3]s/new; rm %[1]sjob-%[3]s/new`, prefix, dir, c.user)), "from-a-job")
			if got := stat(local + "/" + dir); got != c.directory {
				t.Errorf("the directory is %s, want %s", got, c.directory)
			}
			if got := stat(local + "/" + dir + "/file"); got != c.file {
				t.Errorf("the file is %s, want %s", got, c.file)
			}
			if got := f.asJob(t, fmt.Sprintf("cd %[1]s && cat job-%[2]s/file && echo more >> %[3]s/file && chmod 755 %[3]s/file && mkdir %[3]s/x && rm -r %[3]s job-%[2]s", local, c.user, dir)); got != "from-a-client\n" {
				t.Errorf("the job reads %q", got)
			}
		})
	}
	t.Run("homes are private", func(t *testing.T) {
		for _, name := range []string{"Alice", "bob", ".hidden", "daemon"} {
			if got := stat("/share/users/" + name); name != "bob" && got != "1000:1000 700" {
				t.Errorf("%s is %s", name, got)
			}
		}
	})
}

func (f *fileServer) accountsChange(t *testing.T) {
	t.Run("a password cannot be changed through SMB", func(t *testing.T) {
		before := f.MustRun(t, "", "cat", f.smb.PasswordFile())
		r, err := f.Run(t.Context(), "bob-password\nanother-password\nanother-password\n", "smbpasswd", "-s", "-r", "127.0.0.1", "-U", "bob")
		if err != nil || r.Code == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if after := f.MustRun(t, "", "cat", f.smb.PasswordFile()); after != before {
			t.Error("the account file is changed")
		}
	})
	t.Run("come and go while Samba runs", func(t *testing.T) {
		write := func(users ...fileserver.Account) {
			a, _, err := fileserver.NewAccounts(fileserver.Account{Name: "smbuser", Hash: fileserver.NTHash(sharedPassword)},
				fileserver.Account{Name: "pai-probe", Hash: fileserver.NTHash(probePassword)}, 1000, 1000, "/share/users", users)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteFile(t, "/etc/passwd", string(a.Passwd()), 0o644)
			f.WriteFile(t, f.smb.PasswordFile(), string(a.SMBPasswd()), 0o600)
		}
		ask := func(user, password string) error { return f.probe(t.Context(), user, password, "home") }
		write(append(accountsOf("Alice", "Carol", "dora"), fileserver.Account{Name: "daemon", Hash: fileserver.NTHash("changed")})...)
		for name, want := range map[string]bool{"dora": true, "bob": false, "daemon": false} {
			if err := ask(name, name+"-password"); (err == nil) != want {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := ask("daemon", "changed"); err != nil {
			t.Error(err)
		}
		write(accountsOf("Alice", "bob", "Carol", ".hidden", "daemon")...)
	})
}

// killed: what a client was told to be on the disk is there after a kill, and who the server is.
// crowd: many clients open and close the same folder at once. Samba's processes ask each other, as their users, whether the one that holds the
// folder's record lives still; one that gets no answer takes the record away from it, and neither can go on.
func (f *fileServer) crowd(t *testing.T) {
	var clients sync.WaitGroup
	for range 6 {
		session, err := f.session(t, f.Dial, "", f.smb.Shared, sharedPassword, 0)
		if err != nil {
			t.Fatal(err)
		}
		share, err := session.Mount("data")
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			for range 150 {
				if _, err := share.ReadDir("."); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	said := strings.Split(f.smbd.Log(), "\n")
	if at := slices.IndexFunc(said, func(line string) bool { return strings.Contains(line, "PANIC") }); at >= 0 {
		t.Errorf("Samba gave up:\n%s", strings.Join(said[max(at-20, 0):min(at+20, len(said))], "\n"))
	}
}

func (f *fileServer) killed(t *testing.T) {
	sid := f.MustRun(t, "", "net", "getlocalsid")
	session, err := f.session(t, f.Dial, "", "bob", f.password("bob"), 0)
	if err != nil {
		t.Fatal(err)
	}
	share, err := session.Mount("home")
	if err != nil {
		t.Fatal(err)
	}
	file, err := share.Create("durable")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1<<16)
	if _, err := io.WriteString(file, text); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	f.smbd.Kill()
	f.start(t)
	if got := f.MustRun(t, "", "cat", "/share/users/bob/durable"); got != text {
		t.Errorf("%d bytes of %d are there", len(got), len(text))
	}
	if after := f.MustRun(t, "", "net", "getlocalsid"); after != sid {
		t.Errorf("the server was %q and is %q", sid, after)
	}
	worked(t, f.as("bob").run(t, "home", "get durable /dev/null"))
}

func (f *fileServer) probes(t *testing.T) {
	expect := func(t *testing.T, want, got error) {
		t.Helper()
		if want == nil && got != nil || !errors.Is(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got != nil && strings.Contains(got.Error(), probePassword) {
			t.Errorf("the password is in %v", got)
		}
	}
	ctx := t.Context()
	t.Run("healthy", func(t *testing.T) { expect(t, nil, f.probe(ctx, "pai-probe", probePassword, "probe")) })
	t.Run("wrong password", func(t *testing.T) { expect(t, fileserver.ErrSMBPassword, f.probe(ctx, "pai-probe", "wrong", "probe")) })
	t.Run("no such share", func(t *testing.T) {
		expect(t, fileserver.ErrSMBShare, f.probe(ctx, "pai-probe", probePassword, "nosuch"))
	})
	t.Run("no access", func(t *testing.T) {
		expect(t, fileserver.ErrSMBDenied, f.probe(ctx, "pai-probe", probePassword, "data"))
	})
	t.Run("the directory is gone", func(t *testing.T) {
		f.MustRun(t, "", "mv", "/share/data", "/share/gone")
		expect(t, fileserver.ErrSMBShare, f.probe(ctx, "pai-probe", probePassword, "probe"))
		f.MustRun(t, "", "mv", "/share/gone", "/share/data")
	})
	for name, version := range map[string]string{"SMB 2 alone": "SMB2_10", "SMB 1 alone": "NT1"} {
		t.Run(name, func(t *testing.T) {
			f.smbd.Kill()
			f.configure(t, fmt.Sprintf("[global]\nserver min protocol = NT1\nserver max protocol = %s\nserver smb encrypt = off\n", version))
			f.launch()
			f.listens(t)
			expect(t, map[string]error{"SMB2_10": fileserver.ErrSMBProtocol, "NT1": fileserver.ErrSMBClosed}[version], f.probe(ctx, "pai-probe", probePassword, "probe"))
		})
	}
	t.Run("nothing listens", func(t *testing.T) {
		f.smbd.Kill()
		expect(t, syscall.ECONNREFUSED, f.probe(ctx, "pai-probe", probePassword, "probe"))
	})
	f.configure(t, "")
	f.start(t)
}
