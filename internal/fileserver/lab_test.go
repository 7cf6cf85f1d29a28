package fileserver_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/adtest"
	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// TestMain: a copy of the test's program, under the name of the program for homes, is that program.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "make-home" {
		if err := fileserver.MakeHome(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fileServer is a machine that runs Samba as the storage manager does.
type fileServer struct {
	*adtest.Machine
	smb      fileserver.SMB
	accounts fileserver.Accounts
	smbd     *adtest.Daemon
	t        *testing.T // until it ends, the server runs
}

const (
	sharedPassword = "smbpwd-of-all"
	probePassword  = "probe-of-health"
	smbConf        = "/etc/samba/smb.conf"
)

// newFileServer writes all that Samba needs, and starts nothing.
func newFileServer(t *testing.T, m *adtest.Machine, s fileserver.SMB, users ...fileserver.Account) *fileServer {
	t.Helper()
	f := &fileServer{Machine: m, smb: s, t: t}
	var refused []fileserver.Refused
	var err error
	f.accounts, refused, err = fileserver.NewAccounts(fileserver.Account{Name: s.Shared, Hash: fileserver.NTHash(sharedPassword)},
		fileserver.Account{Name: s.Probe, Hash: fileserver.NTHash(probePassword)}, s.UID, s.GID, s.Root+"/users", users)
	if err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	m.WriteFile(t, s.HomeProgram[0], string(program), 0o755)
	m.WriteFile(t, "/etc/passwd", string(f.accounts.Passwd()), 0o644)
	m.WriteFile(t, "/etc/group", string(f.accounts.Group()), 0o644)
	var script strings.Builder
	for _, d := range s.Directories() {
		owner := "0:0"
		if d.Shared {
			owner = fmt.Sprintf("%d:%d", s.UID, s.GID)
		}
		fmt.Fprintf(&script, "mkdir -p %[1]s && chmod %[2]o %[1]s && chown %[3]s %[1]s || exit 1\n", d.Path, d.Mode, owner)
	}
	m.MustRun(t, script.String(), "sh")
	m.WriteFile(t, s.PasswordFile(), string(f.accounts.SMBPasswd()), 0o600)
	f.configure(t, "")
	return f
}

// configure writes smb.conf, and shares for the test alone.
func (f *fileServer) configure(t *testing.T, more string) {
	t.Helper()
	text, err := f.smb.Config()
	if err != nil {
		t.Fatal(err)
	}
	f.WriteFile(t, smbConf, text+more, 0o644)
}

// launch starts smbd.
func (f *fileServer) launch() {
	f.smbd = f.Start(f.t, "smbd", "--foreground", "--no-process-group", "--debug-stdout")
}

// start starts smbd, and waits until it serves the probe.
func (f *fileServer) start(t *testing.T) {
	t.Helper()
	f.launch()
	await.Promised(t, "smbd serves", 30*time.Second, func() bool {
		select {
		case <-f.smbd.Ended():
			t.Fatalf("smbd ended: %s", f.smbd.Log())
		default:
		}
		return f.probe(t.Context(), f.smb.Probe, probePassword, fileserver.ProbeShare) == nil
	})
}

func (f *fileServer) probe(ctx context.Context, user, password, share string) error {
	return fileserver.SMBProbe{Address: "127.0.0.1:445", User: user, Password: password, Share: share, Dial: f.Dial}.Ask(ctx)
}

// client runs smbclient's commands on a machine, with a name and password that no process list shows.
type client struct {
	machine        *adtest.Machine
	server         string
	user, password string
	options        []string
}

func (c client) run(t *testing.T, share, commands string) adtest.Result {
	t.Helper()
	c.machine.WriteFile(t, "/tmp/login", fmt.Sprintf("username = %s\npassword = %s\n", c.user, c.password), 0o600)
	argv := append([]string{"smbclient", "//" + c.server + "/" + share, "--configfile=/dev/null", "-A", "/tmp/login", "-c", commands}, c.options...)
	r, err := c.machine.Run(await.Context(t), "", argv...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refused wants a failure with that status, and nothing that commands could have shown.
func refused(t *testing.T, r adtest.Result, status string) {
	t.Helper()
	if said := r.Out + r.Err; r.Code == 0 && !strings.Contains(said, "NT_STATUS_") || !strings.Contains(said, status) {
		t.Errorf("code %d, want %s:\n%s", r.Code, status, said)
	}
}

// worked wants success, and that much to be seen.
func worked(t *testing.T, r adtest.Result, shows ...string) {
	t.Helper()
	said := r.Out + r.Err
	if r.Code != 0 || strings.Contains(said, "NT_STATUS_") {
		t.Errorf("code %d:\n%s", r.Code, said)
	}
	for _, text := range shows {
		if !strings.Contains(said, text) {
			t.Errorf("%q is not there:\n%s", text, said)
		}
	}
}

// asJob runs a command on the server's disk as jobs act there through NFS: everybody is the shared user.
func (f *fileServer) asJob(t *testing.T, script string) string {
	t.Helper()
	return f.MustRun(t, "", "setpriv", fmt.Sprintf("--reuid=%d", f.smb.UID), fmt.Sprintf("--regid=%d", f.smb.GID), "--clear-groups", "sh", "-c", "umask 022; "+script)
}

// listens waits until something does, whatever it speaks.
func (f *fileServer) listens(t *testing.T) {
	t.Helper()
	await.Until(t, "something listens", func() bool {
		conn, err := f.Dial(t.Context(), "tcp", "127.0.0.1:445")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
