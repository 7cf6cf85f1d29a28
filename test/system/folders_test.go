package system

import (
	"fmt"
	"strings"
	"testing"
)

// personalFolders: the folder is there, with the right owner and mode, for a task that is root and for one that is not, on servers that
// trust root, on one that squashes root and on one that squashes all; for every legal name.
func (f *faultLab) personalFolders(t *testing.T) {
	for name, path := range map[string]string{"p-trusted": "/trusted", "p-sticky": "/sticky", "p-all": "/users"} {
		f.declare(t, claim{name: name, source: nfs(path), options: version41, labels: `share: "false"`})
		f.bound(t, name)
	}
	long := "long." + strings.Repeat("x", 90)
	owners := []struct {
		user, image string
		uid         int
		sticky      int // who owns the folder where root is nobody
	}{
		{"a.b-c_d", "pai.local/busybox:1", 0, 65534},
		{"UPPER", "pai.local/busybox-user:1", 1000, 1000},
		{long, "pai.local/busybox-user:1", 1000, 1000},
	}
	for _, who := range owners {
		password := "secret of " + who.user
		f.asAdmin(t, "user", "create", who.user, "--password-file", writeFile(t, "p", password+"\n")).mustSucceed(t, "user create")
		t.Cleanup(func() { f.asAdmin(t, "user", "delete", "--yes", who.user) })
		f.signIn(t, who.user, password)
		x := task{storages: []string{"p-trusted", "p-sticky", "p-all"}, image: who.image,
			command: `set -e; for d in /mnt/p-*; do echo "of $PAI_USER_NAME" > $d/note; cat $d/note; ls $d; done; id -u`}
		f.paictl(t, "--user", who.user, "job", "submit", writeFile(t, "job.yaml", x.document("folders"))).mustSucceed(t, "submit")
	}
	for _, who := range owners { // their jobs run at the same time, as far as there is room
		r := f.paictl(t, "--user", who.user, "job", "wait", "folders")
		if r.code != 0 {
			t.Errorf("%s: %s%s%s", who.user, r.out, r.err, f.paictl(t, "--user", who.user, "job", "explain", "folders").out)
		}
		said := f.paictl(t, "--user", who.user, "job", "logs", "folders").out
		if want := strings.Repeat("of "+who.user+"\nnote\n", 3) + fmt.Sprintf("%d\n", who.uid); said != want {
			t.Errorf("%s: the task saw %q, want %q", who.user, said, want)
		}
		f.paictl(t, "--user", who.user, "job", "delete", "--yes", "folders").mustSucceed(t, "delete")
		got := f.on(t, "worker1", fmt.Sprintf("cd /share; stat -c '%%u %%a' trusted/%[1]s sticky/%[1]s users/%[1]s", who.user))
		if want := fmt.Sprintf("%d 700\n%d 700\n1000 700\n", who.uid, who.sticky); got != want {
			t.Errorf("%s: owners and modes on the server are %q, want %q", who.user, got, want)
		}
	}
	f.signIn(t, "alice", alicePassword)
}
