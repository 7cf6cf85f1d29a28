package adtest

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
)

// The domain, and who is in it. Joiner is an account operator, who may add machines; the others are plain users.
const (
	Realm     = "PAI.TEST"
	Domain    = "pai.test"
	Workgroup = "PAI"

	Alice, AlicePassword   = "alice", "Al1ce-pw"
	Bob, BobPassword       = "bob", "B0b-pw-x"
	Joiner, JoinerPassword = "joiner", "J0in-pw-x"
	Admin, AdminPassword   = "Administrator", "Adm1n-Passw0rd" // in the group Domain Admins
)

const controllerAddress = "10.99.0.10"

// Controller is the domain's controller.
type Controller struct {
	*Machine
	daemon *Daemon
}

// users adds them in one process: samba-tool takes most of a second for each.
const users = `
from samba.samdb import SamDB
from samba.auth import system_session
from samba.param import LoadParm
import sys
lp = LoadParm(); lp.load_default()
db = SamDB(session_info=system_session(), lp=lp)
for line in sys.stdin:
    name, password = line.split()
    db.newuser(name, password)
db.add_remove_group_members("Account Operators", ["joiner"], add_members_operation=True)
db.newgroup("Storage Admins")
db.add_remove_group_members("Storage Admins", ["bob"], add_members_operation=True)
`

// Controller makes the domain and starts its controller dc1.pai.test, which takes about ten seconds. There is one in a lab.
func (l *Lab) Controller(t testing.TB) *Controller {
	t.Helper()
	if l.controller != nil {
		return l.controller
	}
	c := &Controller{Machine: l.machine(t, "dc1", 10)}
	l.controller = c
	c.MustRun(t, "", "samba-tool", "domain", "provision", "--realm="+Realm, "--domain="+Workgroup, "--server-role=dc", "--dns-backend=SAMBA_INTERNAL",
		"--adminpass="+AdminPassword, "--host-name=dc1", "--host-ip="+controllerAddress, "--option=interfaces=lo eth0",
		"--option=bind interfaces only=yes", "--option=tls enabled=no", "--option=prefork children=1", "--option=dns update command=/bin/true",
		"--option=samba kcc command=/bin/true", "--option=gpo update command=/bin/true", "--option=log level=1")
	c.MustRun(t, fmt.Sprintf("%s %s\n%s %s\n%s %s\n", Alice, AlicePassword, Bob, BobPassword, Joiner, JoinerPassword), "/usr/bin/python3", "-c", users)
	c.Up(t)
	return c
}

// Down stops the controller as a power cut would.
func (c *Controller) Down() { c.daemon.Kill() }

// Up starts the controller and waits until it answers.
func (c *Controller) Up(t testing.TB) {
	t.Helper()
	c.daemon = c.Start(t, "samba", "--interactive", "--no-process-group", "--debug-stdout")
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return c.Dial(ctx, network, controllerAddress+":53")
	}}
	await.Promised(t, "the domain controller answers", time.Minute, func() bool {
		select {
		case <-c.daemon.Ended():
			t.Fatalf("the domain controller ended: %s", c.daemon.Log())
		default:
		}
		return c.answers(t.Context(), &resolver)
	})
}

// answers: DNS, Kerberos, RPC, LDAP, SMB, password changes.
func (c *Controller) answers(ctx context.Context, resolver *net.Resolver) bool {
	for _, port := range []string{"53", "88", "135", "389", "445", "464"} {
		conn, err := c.Dial(ctx, "tcp", controllerAddress+":"+port)
		if err != nil {
			return false
		}
		conn.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // it is asked again
	defer cancel()
	_, err := resolver.LookupHost(ctx, "dc1."+Domain+".")
	return err == nil
}
