package fileserver_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

func TestNTHash(t *testing.T) {
	for password, want := range map[string]string{
		"":          "31D6CFE0D16AE931B73C59D7E0C089C0",
		"password":  "8846F7EAEE8FB117AD06BDD830B7586C", // MS-NLMP's examples use it
		"smbpwd":    "",
		"пароль-密码": "",
	} {
		got := fileserver.NTHash(password)
		if len(got) != 32 || want != "" && string(got) != want {
			t.Errorf("%q: %s, want %s", password, string(got), want)
		}
		if said := fmt.Sprintf("%v %s %#v", got, got, fileserver.Account{Name: "a", Hash: got}); strings.Contains(said, string(got)) {
			t.Errorf("the hash is shown: %s", said)
		}
	}
}

func account(name string) fileserver.Account {
	return fileserver.Account{Name: name, Hash: fileserver.NTHash(name + "-password")}
}

func accountsOf(names ...string) (list []fileserver.Account) {
	for _, name := range names {
		list = append(list, account(name))
	}
	return list
}

func TestAccountsRefuse(t *testing.T) {
	long := strings.Repeat("x", 127)
	names := []string{"alice", "Bob", "bob", "root", "ROOT2", "Nobody", "SMBUSER", "pai-probe", ".hidden", "daemon", "..", ".", "", "a:b", "a\nb", "a/b", "a b", "ä", long, long[1:]}
	users := append(accountsOf(names...), fileserver.Account{Name: "unhashed", Hash: "x"})
	a, refused, err := fileserver.NewAccounts(account("smbuser"), account("pai-probe"), 1000, 1000, "/share/users", users)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range refused {
		out = append(out, r.Name)
		if r.Err == nil || strings.Contains(r.Err.Error(), string(account(r.Name).Hash)) {
			t.Errorf("%q: %v", r.Name, r.Err)
		}
	}
	want := []string{"Bob", "bob", "root", "Nobody", "SMBUSER", "pai-probe", "..", ".", "", "a:b", "a\nb", "a/b", "a b", "ä", long, "unhashed"}
	if !slices.Equal(out, want) {
		t.Errorf("refused %q, want %q", out, want)
	}
	good := []string{"root", "nobody", "smbuser", "pai-probe", ".hidden", "alice", "daemon", "ROOT2", long[1:]}
	if got := firstFields(a.Passwd()); !slices.Equal(got, good) {
		t.Errorf("passwd has %q, want %q", got, good)
	}
	if got := firstFields(a.SMBPasswd()); !slices.Equal(got, good[2:]) {
		t.Errorf("smbpasswd has %q, want %q", got, good[2:])
	}
	for line := range strings.Lines(string(a.SMBPasswd())) {
		if len(line) > 255 { // Samba's buffer
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

func firstFields(text []byte) (list []string) {
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		list = append(list, name)
	}
	return list
}

func TestAccountsRefuseTheirOwn(t *testing.T) {
	cases := map[string]struct {
		shared, probe fileserver.Account
		uid           int
		homes         string
	}{
		"the same name":        {account("x"), account("X"), 1000, "/share/users"},
		"root is shared":       {account("root"), account("p"), 1000, "/share/users"},
		"root's uid":           {account("s"), account("p"), 0, "/share/users"},
		"nobody's uid":         {account("s"), account("p"), 65534, "/share/users"},
		"an account's uid":     {account("s"), account("p"), 1 << 28, "/share/users"},
		"no hash":              {fileserver.Account{Name: "s"}, account("p"), 1000, "/share/users"},
		"a colon in the homes": {account("s"), account("p"), 1000, "/share:x"},
		"a relative path":      {account("s"), account("p"), 1000, "share"},
	}
	for name, c := range cases {
		if _, _, err := fileserver.NewAccounts(c.shared, c.probe, c.uid, 1000, c.homes, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A user's uid stays when others come and go, and no two have the same.
func TestAccountsUIDs(t *testing.T) {
	uids := func(names ...string) map[string]string {
		a, _, err := fileserver.NewAccounts(account("smbuser"), account("pai-probe"), 1000, 1000, "/share/users", accountsOf(names...))
		if err != nil {
			t.Fatal(err)
		}
		found, seen := map[string]string{}, map[string]bool{}
		for line := range strings.Lines(string(a.Passwd())) {
			fields := strings.Split(line, ":")
			if seen[fields[2]] {
				t.Errorf("uid %s is there twice", fields[2])
			}
			seen[fields[2]] = true
			found[fields[0]] = fields[2]
		}
		return found
	}
	many := []string{"Alice"}
	for i := range 5000 {
		many = append(many, fmt.Sprintf("user-%d", i))
	}
	if few, all := uids("Alice"), uids(many...); few["Alice"] != all["Alice"] {
		t.Errorf("Alice was %s alone, and is %s among others", few["Alice"], all["Alice"])
	}
}

// FuzzAccounts: each line is one account with the right number of fields, and nobody becomes root.
func FuzzAccounts(f *testing.F) {
	f.Add("alice", "Bob")
	f.Add("a:0:0::/:/bin/sh\nb", "x\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		a, refused, err := fileserver.NewAccounts(account("smbuser"), account("pai-probe"), 1000, 1000, "/share/users", accountsOf(first, second))
		if err != nil {
			t.Fatal(err)
		}
		passwd := regexp.MustCompile(`^[A-Za-z0-9_.-]+:x:[0-9]+:[0-9]+::/[^:\n]*:/usr/sbin/nologin\n$`)
		smbpasswd := regexp.MustCompile(`^[A-Za-z0-9_.-]+:[1-9][0-9]*:X{32}:[0-9A-F]{32}:\[U {10}\]:LCT-7FFFFFFF:\n$`)
		for text, form := range map[string]*regexp.Regexp{string(a.Passwd()): passwd, string(a.SMBPasswd()): smbpasswd} {
			lines := 0
			for line := range strings.Lines(text) {
				lines++
				if !form.MatchString(line) {
					t.Errorf("%q", line)
				}
			}
			if form == smbpasswd && lines+len(refused) != 4 {
				t.Errorf("%d accounts and %d refused", lines, len(refused))
			}
		}
		if strings.Count(string(a.Passwd()), ":x:0:") != 1 {
			t.Errorf("two roots:\n%s", a.Passwd())
		}
	})
}

func TestHomes(t *testing.T) {
	if os.Getuid() != 0 {
		kubetest.Skip(t, "unit", "folders are given to others here, which needs root: sudo make unit")
	}
	dir := t.TempDir()
	h := fileserver.Homes{Dir: filepath.Join(dir, "users"), Links: filepath.Join(dir, "links"), UID: 1000, GID: 1000}
	for _, d := range []string{h.Dir, h.Links, filepath.Join(h.Dir, "Dora"), filepath.Join(h.Dir, "DORA"), filepath.Join(h.Dir, "Job")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	give := func(name string, uid int) {
		if err := os.Chown(filepath.Join(h.Dir, name), uid, 1000); err != nil {
			t.Fatal(err)
		}
	}
	give("Job", 1000)
	if err := os.Symlink("/etc", filepath.Join(h.Dir, "planted")); err != nil {
		t.Fatal(err)
	}
	bad := map[string]fileserver.Owner{
		"a way up":          {Login: ".."},
		"a way out":         {Login: "x", Folder: "../etc"},
		"a planted link":    {Login: "planted"},
		"two that are same": {Login: "dora"},
	}
	for name, o := range bad {
		if err := h.Make(o); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	cases := []struct {
		name   string
		owner  fileserver.Owner
		folder string
		uid    uint32
		mode   os.FileMode
	}{
		{"a user's first visit", fileserver.Owner{Login: "alice", Folder: "Alice"}, "Alice", 1000, 0o700},
		{"the second", fileserver.Owner{Login: "alice", Folder: "Alice"}, "Alice", 1000, 0o700},
		{"a domain user's first visit", fileserver.Owner{Login: "eve", UID: 2001}, "eve", 2001, 0o770},
		{"the second", fileserver.Owner{Login: "eve", UID: 2001}, "eve", 2001, 0o770},
		{"a job was first", fileserver.Owner{Login: "job", UID: 2002}, "Job", 2002, 0o770},
	}
	for _, c := range cases {
		if err := h.Make(c.owner); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		info, err := os.Stat(filepath.Join(h.Links, c.owner.Login))
		if err != nil {
			t.Fatal(err)
		}
		target, _ := os.Readlink(filepath.Join(h.Links, c.owner.Login))
		stat := info.Sys().(*syscall.Stat_t)
		if target != filepath.Join(h.Dir, c.folder) || stat.Uid != c.uid || stat.Gid != 1000 || info.Mode().Perm() != c.mode {
			t.Errorf("%s: %s, %d:%d %v", c.name, target, stat.Uid, stat.Gid, info.Mode())
		}
	}
	if err := h.Make(fileserver.Owner{Login: "eve", UID: 2003}); err == nil {
		t.Error("somebody else of that name has got eve's folder")
	}
}

func TestLocalOwner(t *testing.T) {
	a, _, err := fileserver.NewAccounts(account("smbuser"), account("pai-probe"), 1000, 1000, "/share/users", accountsOf("Alice"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(file, a.Passwd(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"root", "nobody", "smbuser", "bob", "", "pai-probe"} {
		if o, err := fileserver.LocalOwner(file, login); err == nil {
			t.Errorf("%q has folder %q", login, o.Folder)
		}
	}
	if o, err := fileserver.LocalOwner(file, "alice"); err != nil || o.Folder != "Alice" || o.Login != "alice" {
		t.Errorf("alice: %+v, %v", o, err)
	}
}
