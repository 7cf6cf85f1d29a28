package clusterconfig

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/pai-storage/pai-storage/internal/fileserver"
)

// Ways in which the SMB server knows its users.
const (
	Auto = "AUTO" // one shared account, and one for each user who has set a password
	ADS  = "ADS"  // an Active Directory domain
)

// Secret is a password. It prints as "******".
type Secret string

const masked = "******"

// String hides the password.
func (Secret) String() string { return masked }

// GoString hides the password.
func (Secret) GoString() string { return masked }

// MarshalText hides the password.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue hides the password.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// StorageManager is the section storage-manager, with its defaults filled in.
type StorageManager struct {
	LocalPath         string         // the directory of the shares on the storage server
	SecurityType      string         // Auto or ADS
	Workgroup         string         // also the domain's short name
	SMBUser           string         // the shared account
	SMBPassword       Secret         //
	NFSAllowedClients []netip.Prefix // besides the cluster's nodes
	SMBEncryption     string         // required, desired or off
	SMBMinimum        string         // SMB3_00, SMB3_02 or SMB3_11
	NFSMinor40        bool           // NFS 4.0 beside 4.1 and 4.2
	DefaultRealm      string
	Krb5Realms        map[string]Realm
	DomainRealm       map[string]string // DNS domain -> realm
	DomainUser        string            // who may join machines to the domain
	DomainPassword    Secret
	IDMap             []string // "idmap config EXAMPLE : backend = rid"
	SMBAdministrators []string // of the domain, who may use the shares root and users: EXAMPLE\user, @EXAMPLE\group
}

// Realm is a Kerberos realm.
type Realm struct {
	KDC           []string
	DefaultDomain string
}

// storageKeys of the section, in the order in which they are shown.
var storageKeys = []string{"localpath", "security-type", "workgroup", "smbuser", "smbpwd", "nfs-allowed-clients", "smb-encryption", "smb-minimum-protocol", "nfs-4.0",
	"default_realm", "krb5_realms", "domain_realm", "domainuser", "domainpwd", "idmap", "smb-administrators"}

// Values that a section leaves out.
func storageDefaults() StorageManager {
	return StorageManager{LocalPath: "/share", SecurityType: Auto, Workgroup: "WORKGROUP", SMBUser: "smbuser", SMBEncryption: "required", SMBMinimum: "SMB3_00"}
}

// readStorageManager reads the section and tells note the values in effect: path, value for people, key.
func readStorageManager(section value, note func(path, shown, key string)) StorageManager {
	s := storageDefaults()
	read := map[string]func(value){
		"localpath":            func(v value) { s.LocalPath = v.sharePath() },
		"security-type":        func(v value) { s.SecurityType = v.oneOf(Auto, ADS) },
		"workgroup":            func(v value) { s.Workgroup = v.checked(fileserver.CheckWorkgroup) },
		"smbuser":              func(v value) { s.SMBUser = v.checked(fileserver.CheckShared) },
		"smbpwd":               func(v value) { s.SMBPassword = v.password() },
		"nfs-allowed-clients":  func(v value) { s.NFSAllowedClients = v.networks() },
		"smb-encryption":       func(v value) { s.SMBEncryption = v.oneOf("required", "desired", "off") },
		"smb-minimum-protocol": func(v value) { s.SMBMinimum = v.oneOf("SMB3_00", "SMB3_02", "SMB3_11") },
		"nfs-4.0":              func(v value) { s.NFSMinor40 = v.truth() },
		"default_realm":        func(v value) { s.DefaultRealm = v.plain() },
		"krb5_realms":          func(v value) { s.Krb5Realms = v.realms() },
		"domain_realm":         func(v value) { s.DomainRealm = v.domainRealm() },
		"domainuser":           func(v value) { s.DomainUser = v.plain() },
		"domainpwd":            func(v value) { s.DomainPassword = v.password() },
		"idmap":                func(v value) { s.IDMap = v.idmap() },
		"smb-administrators":   func(v value) { s.SMBAdministrators = v.domainAdmins() },
	}
	section.each(func(key string, v value) {
		switch f := read[key]; {
		case f == nil:
			v.unknown(key, storageKeys)
		case v.misread():
		case !v.isNull() || key == "smbpwd" || key == "domainpwd": // an empty one is one that is left out
			f(v)
		}
	})
	s.require(section)
	if s.SecurityType == ADS {
		s.checkDomain(section)
		if _, ok := section.find("smb-administrators"); !ok {
			s.SMBAdministrators = []string{"@" + s.Workgroup + `\Domain Admins`}
		}
	} else if v, ok := section.find("smb-administrators"); ok && len(s.SMBAdministrators) > 0 {
		v.place.fault("smb-administrators: with security-type %s the administrators are those of this cluster: paictl user edit NAME --admin", s.SecurityType)
	}
	for _, key := range storageKeys {
		note(key, s.show(key), key)
	}
	return s
}

// require checks what depends on the security type.
func (s StorageManager) require(section value) {
	missing := func(key, why string) {
		at := section.place
		if v, ok := section.find(key); ok {
			if at = v.place; at.faulty() { // why it cannot be read is told
				return
			}
		}
		at.fault("%s is missing: %s", key, why)
	}
	if s.SMBPassword == "" {
		missing("smbpwd", "the password of the shared account "+s.SMBUser)
	}
	if s.SecurityType != ADS {
		return
	}
	if s.DefaultRealm == "" {
		missing("default_realm", "the domain's Kerberos realm, like EXAMPLE.COM")
	}
	if s.DomainUser == "" {
		missing("domainuser", "an account that may join machines to the domain")
	}
	if s.DomainPassword == "" {
		missing("domainpwd", "the password of domainuser")
	}
	if _, given := section.find("workgroup"); !given {
		missing("workgroup", "the domain's short name, like EXAMPLE")
	}
}

// checkDomain applies the rules of the programs that make the server a member of its domain.
func (s StorageManager) checkDomain(section value) {
	tell := func(at place, err error) {
		if err != nil && !at.faulty() {
			at.fault("%v", err)
		}
	}
	if v, ok := section.find("default_realm"); ok && s.DefaultRealm != "" {
		tell(v.place, fileserver.CheckRealm(s.DefaultRealm))
	}
	if v, ok := section.find("krb5_realms"); ok {
		v.each(func(name string, v value) {
			r := s.Krb5Realms[name]
			tell(v.place, fileserver.Realm{Name: name, KDCs: r.KDC, DefaultDomain: r.DefaultDomain}.Check())
		})
	}
	if v, ok := section.find("domain_realm"); ok {
		v.each(func(domain string, v value) {
			if realm, ours := s.DomainRealm[domain]; ours {
				tell(v.place, fileserver.CheckDomainRealm(domain, realm))
			}
		})
	}
	if v, ok := section.find("idmap"); ok && !v.isNull() {
		if items := v.list(); len(items) == len(s.IDMap) { // else a line is at fault already
			if at, err := fileserver.CheckIDMap(s.IDMap); err != nil && at >= 0 {
				tell(items[at].place, err)
			} else {
				tell(v.place, err)
			}
		}
	}
}

// show is a value for people.
func (s StorageManager) show(key string) string {
	hide := func(p Secret) string {
		if p == "" {
			return ""
		}
		return masked
	}
	switch key {
	case "localpath":
		return s.LocalPath
	case "security-type":
		return s.SecurityType
	case "workgroup":
		return s.Workgroup
	case "smbuser":
		return s.SMBUser
	case "smbpwd":
		return hide(s.SMBPassword)
	case "nfs-allowed-clients":
		return strings.Join(append([]string{"the cluster's nodes"}, prefixes(s.NFSAllowedClients)...), ", ")
	case "smb-encryption":
		return s.SMBEncryption
	case "smb-minimum-protocol":
		return s.SMBMinimum
	case "nfs-4.0":
		return fmt.Sprint(s.NFSMinor40)
	case "default_realm":
		return s.DefaultRealm
	case "krb5_realms":
		return strings.Join(slices.Sorted(maps.Keys(s.Krb5Realms)), ", ")
	case "domain_realm":
		return strings.Join(slices.Sorted(maps.Keys(s.DomainRealm)), ", ")
	case "domainuser":
		return s.DomainUser
	case "domainpwd":
		return hide(s.DomainPassword)
	case "smb-administrators":
		return strings.Join(s.SMBAdministrators, ", ")
	default:
		return strings.Join(s.IDMap, ", ")
	}
}

func prefixes(list []netip.Prefix) []string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return texts
}

// Section is the section without its passwords, and these apart, by their keys. [LoadStorageManager] puts them together again.
func (s StorageManager) Section() (section []byte, passwords map[string]string, err error) {
	realms := yaml.MapSlice{}
	for _, name := range slices.Sorted(maps.Keys(s.Krb5Realms)) {
		r := s.Krb5Realms[name]
		realms = append(realms, yaml.MapItem{Key: name, Value: yaml.MapSlice{{Key: "kdc", Value: r.KDC}, {Key: "default_domain", Value: r.DefaultDomain}}})
	}
	domains := yaml.MapSlice{}
	for _, name := range slices.Sorted(maps.Keys(s.DomainRealm)) {
		domains = append(domains, yaml.MapItem{Key: name, Value: s.DomainRealm[name]})
	}
	section, err = yaml.Marshal(yaml.MapSlice{
		{Key: "localpath", Value: s.LocalPath}, {Key: "security-type", Value: s.SecurityType}, {Key: "workgroup", Value: s.Workgroup},
		{Key: "smbuser", Value: s.SMBUser}, {Key: "nfs-allowed-clients", Value: prefixes(s.NFSAllowedClients)},
		{Key: "smb-encryption", Value: s.SMBEncryption}, {Key: "smb-minimum-protocol", Value: s.SMBMinimum}, {Key: "nfs-4.0", Value: s.NFSMinor40},
		{Key: "default_realm", Value: s.DefaultRealm}, {Key: "krb5_realms", Value: realms}, {Key: "domain_realm", Value: domains},
		{Key: "domainuser", Value: s.DomainUser}, {Key: "idmap", Value: s.IDMap},
		{Key: "smb-administrators", Value: s.SMBAdministrators},
	})
	return section, map[string]string{"smbpwd": string(s.SMBPassword), "domainpwd": string(s.DomainPassword)}, err
}

// LoadStorageManager reads what [StorageManager.Section] wrote. The error is [Faults].
func LoadStorageManager(section []byte, passwords map[string]string) (StorageManager, error) {
	faults := &Faults{}
	d := parse("storage-manager.yaml", section, faults)
	if d == nil {
		return StorageManager{}, faults.Err()
	}
	// What is missing is judged with the passwords in place.
	quiet := &Faults{}
	d.faults = quiet
	s := readStorageManager(d.root, func(string, string, string) {})
	s.SMBPassword, s.DomainPassword = Secret(passwords["smbpwd"]), Secret(passwords["domainpwd"])
	for _, f := range quiet.List {
		if !strings.HasPrefix(f.Text, "smbpwd is missing") && !strings.HasPrefix(f.Text, "domainpwd is missing") {
			faults.Add(f)
		}
	}
	for key, missing := range map[string]bool{"smbpwd": s.SMBPassword == "", "domainpwd": s.SecurityType == ADS && s.DomainPassword == ""} {
		if missing {
			faults.Add(Fault{File: "passwords", Text: key + " is missing"})
		}
	}
	return s, faults.Err()
}

// unsafe are characters that the servers' own configuration files read as something else.
const unsafe = "\"'`%;#[]{}()<>|&$*?=,:\\/"

// checked is a plain text that a rule of the servers has nothing against.
func (v value) checked(rule func(string) error) string {
	text := v.plain()
	if err := rule(text); err != nil && !v.faulty() {
		v.fault("%s: %v", v.key, err)
	}
	return text
}

// plain is a name that ends up in the servers' configuration files.
func (v value) plain() string {
	text := v.text()
	for _, r := range text {
		if unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(unsafe, r) {
			v.fault("%s: the character %q cannot be part of it", v.key, r)
			return ""
		}
	}
	return text
}

// beforeComment is what a comment behind a plain value begins with.
var beforeComment = regexp.MustCompile(`[ \t]+#`)

// withoutComment refuses a comment behind a password that looks like a part of it, and says whether it is none.
func (v value) withoutComment(comment string) bool {
	text := strings.TrimLeft(comment, "#")
	if text == "" || strings.ContainsAny(text[:1], " \t") {
		return true
	}
	v.fault("%s: YAML takes everything from the '#' on for a comment: put the password in single quotes, or leave a space behind the '#'", v.key)
	return false
}

// maxPassword is the longest password that SMB clients can send, in characters.
const maxPassword = 127

// password is a text as it is typed. What YAML would make something else of has to be in quotes: nobody sees what a password came to.
func (v value) password() Secret {
	written := v.written()
	switch {
	case (written == "" || strings.ContainsAny(written[:1], "|>#")) && !v.isNull():
		v.fault("%s: a password has to be on the line of its key, and the key at the line's beginning", v.key)
		return ""
	case written == "" || strings.HasPrefix(written, "#"):
		v.withoutComment(written)
		return ""
	case !strings.ContainsAny(written[:1], `"'`):
		plain, comment := written, ""
		if i := strings.IndexFunc(written, unicode.IsSpace); i >= 0 {
			if m := beforeComment.FindStringIndex(written); m != nil {
				plain, comment = written[:m[0]], strings.TrimLeft(written[m[0]:], " \t")
			}
		}
		if !v.withoutComment(comment) {
			return ""
		}
		if !v.isScalar() || v.text() != plain {
			v.misreadFault()
			return ""
		}
	}
	text := v.text()
	if strings.ContainsFunc(text, unicode.IsControl) {
		v.fault("%s: a password of one line, without control characters", v.key)
		return ""
	}
	if n := len([]rune(text)); n > maxPassword {
		v.fault("%s: %d characters; SMB clients can send %d", v.key, n, maxPassword)
	}
	return Secret(text)
}

func (v value) oneOf(words ...string) string {
	text := v.text()
	for _, w := range words {
		if strings.EqualFold(text, w) {
			return w
		}
	}
	v.fault("%s: %q; choose %s", v.key, text, strings.Join(words, ", "))
	return words[0]
}

// systemPaths are directories that a system, or a node of Kubernetes, needs for itself.
var systemPaths = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libexec", "/libx32", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr",
	"/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/pai-storage", "/var/run"}

// ofTheSystem tells whether a directory is one of the system's own, lies in one, or has one in it.
func ofTheSystem(directory string) bool {
	return directory == "/home" || slices.ContainsFunc(systemPaths, func(own string) bool {
		return strings.HasPrefix(directory+"/", own+"/") || strings.HasPrefix(own, directory+"/")
	})
}

func (v value) sharePath() string {
	text := v.text()
	switch {
	case !path.IsAbs(text) || path.Clean(text) != text || text == "/":
		v.fault("%s: %q; give an absolute path without detours, like /share", v.key, text)
	case ofTheSystem(text):
		v.fault("%s: %s is the system's own; choose a directory that is for the shares alone", v.key, text)
	case strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune(strings.ReplaceAll(unsafe, "/", "")+"~@!", r)
	}):
		v.fault("%s: %q; letters, digits, '/', '-', '_' and '.' only", v.key, text)
	default:
		return text
	}
	return storageDefaults().LocalPath
}

// The widest networks that may be clients: wider ones are most likely a mistake.
const (
	widestIPv4 = 8
	widestIPv6 = 16
)

var mappedIPv4, loopbackIPv4, loopbackIPv6 = netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")

// checkNetwork refuses networks that cannot be those of machines that mount. The error does not say which network it is.
func checkNetwork(n netip.Prefix) error {
	widest := widestIPv4
	if n.Addr().Is6() {
		widest = widestIPv6
	}
	switch mapped := n.Addr().Is4In6(); {
	case n.Bits() == 0:
		return errors.New("is everybody: anybody who reaches the server could read and write every user's files")
	case mapped && n.Bits() > mappedIPv4.Bits():
		return fmt.Errorf("is an IPv4 address or network written as IPv6; write %s", netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-mappedIPv4.Bits()).Masked())
	case mapped:
		return errors.New("is all of IPv4 written as IPv6; write an IPv4 network like 192.0.2.0/24")
	case n.Addr().IsMulticast():
		return errors.New("is for multicast: no machine mounts from such an address")
	case n.Bits() < widest:
		return fmt.Errorf("is wider than /%d: give the networks of the machines that are to mount", widest)
	case n.Overlaps(loopbackIPv4), n.Overlaps(loopbackIPv6):
		return errors.New("has loopback addresses: the server itself may mount anyway, and others do not come from there")
	case n != n.Masked():
		return fmt.Errorf("has bits after the network's; did you mean %s?", n.Masked())
	}
	return nil
}

// networks are addresses and networks.
func (v value) networks() []netip.Prefix {
	var list []netip.Prefix
	for _, item := range v.list() {
		text := item.text()
		network, err := netip.ParsePrefix(text)
		if address, isNone := netip.ParseAddr(text); isNone == nil && address.Zone() == "" {
			network, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			item.fault("%s: %q is neither an address nor a network like 192.0.2.0/24", v.key, text)
		} else if err := checkNetwork(network); err != nil {
			item.fault("%s: %s %v", v.key, text, err)
		} else {
			list = append(list, network)
		}
	}
	return list
}

// realms of Kerberos. The key kdc has one host, or a list.
func (v value) realms() map[string]Realm {
	realms := map[string]Realm{}
	v.each(func(name string, item value) {
		var r Realm
		item.each(func(key string, field value) {
			switch key {
			case "kdc":
				hosts := []value{field}
				if !field.isNull() && field.isList() {
					hosts = field.list()
				}
				for _, h := range hosts {
					if text := h.text(); text != "" {
						r.KDC = append(r.KDC, text)
					}
				}
			case "default_domain":
				r.DefaultDomain = field.text()
			default:
				field.unknown(key, []string{"kdc", "default_domain"})
			}
		})
		realms[name] = r
	})
	return realms
}

// domainRealm maps DNS domains to realms. The original's template has the keys of a realm here, which say nothing.
func (v value) domainRealm() map[string]string {
	domains := map[string]string{}
	v.each(func(domain string, item value) {
		if domain == "kdc" || domain == "default_domain" {
			return
		}
		domains[domain] = item.text()
	})
	return domains
}

// domainAdmins are users and groups of a domain.
func (v value) domainAdmins() []string {
	var list []string
	for _, item := range v.list() {
		if text := item.text(); fileserver.CheckDomainAdmin(text) != nil {
			item.fault("%s: %v", v.key, fileserver.CheckDomainAdmin(text))
		} else {
			list = append(list, text)
		}
	}
	return list
}

func (v value) idmap() []string {
	var lines []string
	for _, item := range v.list() {
		text := item.text()
		if !strings.HasPrefix(text, "idmap config ") || strings.ContainsFunc(text, unicode.IsControl) {
			item.fault(`idmap: %q; give lines like "idmap config EXAMPLE : backend = rid"`, text)
			continue
		}
		lines = append(lines, text)
	}
	return lines
}
