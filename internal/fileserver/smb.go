package fileserver

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SMB describes a Samba server with the shares data, users, home and root. Everybody acts as the shared user on the disk, which is whom
// jobs act as through NFS, so that each reads and writes what the other wrote; who may do what is decided by share and path. See
// docs/decisions/0005-smb-accounts.md.
type SMB struct {
	Root     string // the directory that holds data and users
	StateDir string // on a disk that stays: the machine's own account
	RunDir   string // in memory: the users' accounts, sockets, process ids, who has what open, links to the users' folders
	// HomeProgram is a program and its first arguments, for a user's first visit to the share home: it calls [MakeHome] with the others.
	HomeProgram []string

	NetbiosName string // the machine's name: at most 15 letters, digits, "-"
	Workgroup   string // "" means WORKGROUP
	MinProtocol string // SMB2_10, SMB3_00 (also ""), SMB3_02 or SMB3_11
	Encryption  string // off, desired (also ""): with clients that can, required
	Port        int    // 0 means 445

	Addresses []netip.Addr   // where to listen, beside loopback; none: everywhere
	Clients   []netip.Prefix // who may connect; none: everybody

	Shared   string // the shared user
	UID, GID int    // the shared user's, and whom everybody acts as

	Probe  string   // the account of health checks, which reaches the share "probe" alone
	Admins []string // who may use the shares users and root; in a domain as DOMAIN\user or @DOMAIN\group
	Hidden []string // names of directories that no share shows

	Domain *Domain // nil: a server of its own (AUTO); else a member of an Active Directory domain (ADS)
}

// ProbeShare is the share that health checks connect to: the directory of data, with nothing to be seen in it.
const ProbeShare = "probe"

// Accounts' and machines' names. A machine's name is also an account's in the domain.
var (
	localName   = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	workgroup   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,13}[A-Za-z0-9_])?$`)
	netbiosName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,13}[A-Za-z0-9])?$`)
	domainUser  = regexp.MustCompile(`^@?[A-Za-z0-9_][A-Za-z0-9_-]{0,14}\\[\pL\pN_.-]([\pL\pN_. -]*[\pL\pN_.-])?$`)
	plainWord   = regexp.MustCompile(`^[A-Za-z0-9_./+-]+$`)
)

// PasswordFile is where Samba reads the accounts: what [Accounts.SMBPasswd] returns, replaced in one step, mode 0600.
func (s SMB) PasswordFile() string { return path.Join(s.RunDir, "private", "smbpasswd") }

// HomeLinks is the directory that share home's path leads through, see [Homes].
func (s SMB) HomeLinks() string { return path.Join(s.RunDir, "homes") }

// Keytab is where the machine's keys in its domain lie.
func (s SMB) Keytab() string { return path.Join(s.StateDir, "private", "krb5.keytab") }

// Directory is one that has to be there before Samba starts.
type Directory struct {
	Path   string
	Mode   uint32
	Shared bool // belongs to the shared user; else to root
}

// Directories are those that Samba does not make itself, parents first.
func (s SMB) Directories() []Directory {
	list := []Directory{{s.Root, 0o755, false}, {path.Join(s.Root, "data"), 0o775, true}, {path.Join(s.Root, "users"), 0o755, true}, {s.StateDir, 0o755, false}}
	for name, mode := range map[string]uint32{"private": 0o700, "state": 0o755} {
		list = append(list, Directory{path.Join(s.StateDir, name), mode, false})
	}
	slices.SortFunc(list[4:], func(a, b Directory) int { return strings.Compare(a.Path, b.Path) })
	return append(list, Directory{s.RunDir, 0o755, false}, Directory{path.Join(s.RunDir, "pid"), 0o755, false},
		Directory{path.Join(s.RunDir, "private"), 0o700, false}, Directory{path.Join(s.RunDir, "lock"), 0o755, false}, Directory{path.Join(s.RunDir, "cache"), 0o755, false},
		Directory{path.Join(s.RunDir, "ncalrpc"), 0o755, false}, Directory{s.HomeLinks(), 0o755, false})
}

// Config is the server's smb.conf for Samba 4.17 and later.
func (s SMB) Config() (string, error) {
	s.setDefaults()
	if err := s.check(); err != nil {
		return "", err
	}
	var c smbConf
	s.global(&c)
	s.shares(&c)
	return c.String(), nil
}

func (s *SMB) setDefaults() {
	defaults := map[*string]string{&s.Workgroup: "WORKGROUP", &s.MinProtocol: "SMB3_00", &s.Encryption: "desired"}
	for field, value := range defaults {
		if *field == "" {
			*field = value
		}
	}
	if s.Port == 0 {
		s.Port = 445
	}
}

func (s SMB) check() error {
	for what, p := range map[string]string{"root": s.Root, "state directory": s.StateDir, "run directory": s.RunDir} {
		if err := checkSMBPath(what, p); err != nil {
			return err
		}
	}
	if len(s.HomeProgram) == 0 || slices.ContainsFunc(s.HomeProgram, func(word string) bool { return !plainWord.MatchString(word) }) {
		return fmt.Errorf("program for homes %q: words of letters, digits and /._+- only, because a shell runs it", s.HomeProgram)
	}
	if err := checkSMBPath("program for homes", s.HomeProgram[0]); err != nil {
		return err
	}
	if !netbiosName.MatchString(s.NetbiosName) {
		return fmt.Errorf("NetBIOS name %q: 1 to 15 letters, digits and '-', neither first nor last a '-'", s.NetbiosName)
	}
	if err := CheckWorkgroup(s.Workgroup); err != nil {
		return fmt.Errorf("workgroup %w", err)
	}
	if !slices.Contains([]string{"SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"}, s.MinProtocol) {
		return fmt.Errorf("lowest protocol %q: give SMB3_11, SMB3_02, SMB3_00 or SMB2_10", s.MinProtocol)
	}
	if !slices.Contains([]string{"off", "desired", "required"}, s.Encryption) {
		return fmt.Errorf("encryption %q: give required, desired or off", s.Encryption)
	}
	if s.Port < 1 || s.Port > 65535 {
		return fmt.Errorf("port %d is not in 1..65535", s.Port)
	}
	if slices.ContainsFunc(s.Addresses, func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" }) ||
		slices.ContainsFunc(s.Clients, func(p netip.Prefix) bool { return !p.IsValid() }) {
		return fmt.Errorf("an address to listen on or a client's network is not valid")
	}
	return s.checkNames()
}

func (s SMB) checkNames() error {
	for what, name := range map[string]string{"shared user": s.Shared, "probe user": s.Probe} {
		if err := checkLocalName(name); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := checkIDs(s.UID, s.GID); err != nil {
		return err
	}
	if strings.EqualFold(s.Shared, s.Probe) {
		return fmt.Errorf("the shared user and the probe's are both called %q", s.Shared)
	}
	for _, name := range s.Hidden {
		if !localName.MatchString(name) || name == "." || name == ".." {
			return fmt.Errorf("hidden directory %q: letters, digits, '_', '-' and '.' only", name)
		}
	}
	for _, name := range s.Admins {
		if s.Domain != nil {
			if err := CheckDomainAdmin(name); err != nil {
				return err
			}
		} else if err := checkLocalName(name); err != nil {
			return fmt.Errorf("administrator: %w", err)
		} else if strings.EqualFold(name, s.Probe) {
			return fmt.Errorf("administrator %q is the probe's account", name)
		}
	}
	if s.Domain != nil {
		return s.Domain.check()
	}
	return nil
}

// CheckDomainAdmin refuses what cannot be among [SMB.Admins] in a domain.
func CheckDomainAdmin(name string) error {
	if !domainUser.MatchString(name) {
		return fmt.Errorf(`administrator %q: in a domain give DOMAIN\user or @DOMAIN\group`, name)
	}
	return nil
}

// CheckWorkgroup refuses what is not the name of a workgroup or the short name of a domain.
func CheckWorkgroup(name string) error {
	if !workgroup.MatchString(name) {
		return fmt.Errorf("%q: 1 to 15 letters, digits, '-' and '_', neither first nor last a '-'", name)
	}
	return nil
}

// ProbeAccount is the account of health checks.
const ProbeAccount = "pai-storage-probe"

// CheckShared refuses what cannot be the name of the shared account.
func CheckShared(name string) error {
	if strings.EqualFold(name, ProbeAccount) {
		return fmt.Errorf("%s is the account that health checks use; give the shared account another name", name)
	}
	if strings.EqualFold(name, nobodyGroup) { // the shared account has a group of its name
		return fmt.Errorf("%s is a group of the system; give the shared account another name", name)
	}
	return checkLocalName(name)
}

// checkSMBPath refuses what Samba or a shell would not read as one path.
func checkSMBPath(what, p string) error {
	if err := checkPath(what, p); err != nil {
		return err
	}
	if p == "/" || !utf8.ValidString(p) {
		return fmt.Errorf("%s %q cannot be used", what, p)
	}
	for _, r := range p {
		if unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune("[]=,*?<>|&()!~`@:", r) {
			return fmt.Errorf("%s %q: the character %q cannot be part of it", what, p, r)
		}
	}
	return nil
}

// local is an account of this server's own, as Samba's lists name it.
func (s SMB) local(name string) string {
	if s.Domain != nil {
		return s.NetbiosName + `\` + name
	}
	return name
}

// administrators is a list for "valid users": the shared user and the administrators, or the latter alone.
func (s SMB) administrators(others ...string) string {
	var list []string
	for _, name := range append(others, s.Admins...) {
		if group, is := strings.CutPrefix(name, "@"); is {
			list = append(list, `@"`+group+`"`)
		} else {
			list = append(list, `"`+name+`"`)
		}
	}
	if len(list) == 0 {
		return `"` + s.local("root") + `"` // an empty list would mean everybody, and root is nobody's account
	}
	return strings.Join(list, " ")
}

// smbConf is the text of an smb.conf. Values are checked before they come here.
type smbConf struct{ strings.Builder }

func (c *smbConf) section(name string) {
	if c.Len() > 0 {
		c.WriteByte('\n')
	}
	fmt.Fprintf(c, "[%s]\n", name)
}

// set writes pairs of a parameter and its value.
func (c *smbConf) set(pairs ...string) {
	for pair := range slices.Chunk(pairs, 2) {
		fmt.Fprintf(c, "\t%s = %s\n", pair[0], pair[1])
	}
}
