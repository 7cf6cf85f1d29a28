package fileserver

import (
	"fmt"
	"path"
	"strings"
)

// global writes what holds for the whole server.
func (s SMB) global(c *smbConf) {
	c.section("global")
	s.identity(c)
	c.set(
		// Who may speak with it, and how.
		"disable netbios", "yes",
		"smb ports", fmt.Sprint(s.Port),
		"server min protocol", s.MinProtocol,
		"server signing", "mandatory",
		"server smb encrypt", s.Encryption,
		"ntlm auth", "ntlmv2-only",
		"map to guest", "never",
		"restrict anonymous", "2",
		"access based share enum", "yes",
		"invalid users", fmt.Sprintf(`"%s" "%s"`, s.local("root"), s.local(s.Probe)),
	)
	s.network(c)
	c.set(
		// Where things lie. What this server is to its clients and its domain outlives a restart. The accounts, which are as good as passwords and are written
		// anew at each start, are in memory. So is what is only known of those who are connected: on a full disk Samba could not open it, and would serve nobody.
		"private dir", path.Join(s.StateDir, "private"),
		"lock directory", path.Join(s.RunDir, "lock"),
		"state directory", path.Join(s.StateDir, "state"),
		"cache directory", path.Join(s.RunDir, "cache"),
		"pid directory", path.Join(s.RunDir, "pid"),
		"ncalrpc dir", path.Join(s.RunDir, "ncalrpc"),
		"passdb backend", "smbpasswd:"+s.PasswordFile(),
		"log level", "1",
		"max log size", "0",

		// Nothing but files.
		"load printers", "no",
		"printing", "bsd",
		"printcap name", "/dev/null",
		"disable spoolss", "yes",
		"usershare max shares", "0",

		// Links lead nowhere outside of a share.
		"unix extensions", "no",
		"wide links", "no",
		"allow insecure wide links", "no",

		// Files are the shared user's, whatever clients want to say about rights.
		"unix charset", "UTF-8",
		"nt acl support", "no",
		"acl allow execute always", "yes",
		"map archive", "no",
		"map hidden", "no",
		"map system", "no",
		"store dos attributes", "yes",

		// What a client was told to be on the disk, is.
		"strict sync", "yes",

		// The NFS server serves the same files. So clients may keep nothing of a file in memory, and locks are the kernel's. Leases, oplocks and
		// handles that outlive a connection are Samba's own, of which NFS knows nothing: with them a client goes on reading what it had, whatever
		// jobs have written since. The kernel's oplocks would be told, but cost a client half a minute when its server dies while it asks.
		"oplocks", "no",
		"level2 oplocks", "no",
		"kernel oplocks", "no",
		"smb2 leases", "no",
		"durable handles", "no",
		"posix locking", "yes",
	)
}

// identity writes who the server is, and who knows its users.
func (s SMB) identity(c *smbConf) {
	c.set(
		"netbios name", s.NetbiosName,
		"workgroup", s.Workgroup,
		"server string", "PAI Storage",
	)
	if s.Domain == nil {
		c.set("server role", "standalone server", "idmap config * : backend", "tdb", "idmap config * : range", "100000-199999")
		return
	}
	c.set(
		"server role", "member server",
		"security", "ads",
		"realm", s.Domain.Realm,
		"kerberos method", "secrets and keytab",
		"winbind use default domain", "no",
		"winbind enum users", "no",
		"winbind enum groups", "no",
		"winbind refresh tickets", "no",
		// A controller that is gone is noticed soon, and so is its return.
		"winbind request timeout", "10",
		"winbind reconnect delay", "5",
		"ldap connection timeout", "2",
		"ldap timeout", "10",
		"template homedir", path.Join(s.Root, "users")+"/%U",
		"template shell", "/usr/sbin/nologin",
	)
	for _, line := range s.Domain.idmap(s.Workgroup) {
		c.set(line[0], line[1])
	}
}

func (s SMB) network(c *smbConf) {
	if len(s.Addresses) > 0 {
		c.set("interfaces", "127.0.0.1 "+join(s.Addresses), "bind interfaces only", "yes")
	}
	if len(s.Clients) > 0 {
		c.set("hosts allow", "127.0.0.1 "+join(s.Clients))
	}
}

func join[T fmt.Stringer](list []T) string {
	words := make([]string, len(list))
	for i, item := range list {
		words[i] = item.String()
	}
	return strings.Join(words, " ")
}

// shares writes the shares. Modes are those of new files: in data anybody's, elsewhere the owner's alone.
func (s SMB) shares(c *smbConf) {
	share := func(name, dir string, open bool, pairs ...string) {
		c.section(name)
		c.set("path", dir, "read only", "no", "force user", s.Shared, "force group", s.Shared)
		file, directory := "0600", "0700"
		if open {
			file, directory = "0664", "0775"
		}
		c.set("create mask", file, "force create mode", file, "directory mask", directory, "force directory mode", directory)
		c.set(pairs...)
	}
	data := path.Join(s.Root, "data")
	share("data", data, true, "comment", "Data of everybody")
	share("users", path.Join(s.Root, "users"), false, "comment", "The folders of all users", "valid users", s.administrators(s.local(s.Shared)))
	share("home", s.HomeLinks()+"/%U", false,
		"comment", "Your own folder",
		"invalid users", fmt.Sprintf(`"%s" "%s" "%s"`, s.local("root"), s.local(s.Probe), s.local(s.Shared)),
		"root preexec", fmt.Sprintf(`%s "%s" "%s" %d %d "%%D" "%%U"`, strings.Join(s.HomeProgram, " "), path.Join(s.Root, "users"), s.HomeLinks(), s.UID, s.GID),
		"root preexec close", "yes",
	)
	share("root", s.Root, true, "comment", "Everything, for administrators", "valid users", s.administrators(), "veto files", s.hidden())

	c.section(ProbeShare)
	c.set(
		"comment", "For health checks",
		"path", data,
		"read only", "yes",
		"browseable", "no",
		"force user", s.Shared,
		"valid users", `"`+s.local(s.Probe)+`"`,
		"invalid users", `"`+s.local("root")+`"`,
		"veto files", "/*/",
	)
}

// hidden lists what the share root does not show: the server's own state.
func (s SMB) hidden() string {
	names := s.Hidden
	if inside, is := strings.CutPrefix(s.StateDir, s.Root+"/"); is {
		names = append([]string{strings.Split(inside, "/")[0]}, names...)
	}
	if len(names) == 0 {
		return ""
	}
	return "/" + strings.Join(names, "/") + "/"
}
