package fileserver_test

import (
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/fileserver"
)

func standalone() fileserver.SMB {
	return fileserver.SMB{
		Root: "/share", StateDir: "/share/.smb-server", RunDir: "/run/pai-smb", HomeProgram: []string{"/usr/local/bin/make-home"},
		NetbiosName: "PAI-SM", Shared: "smbuser", UID: 1000, GID: 1000, Probe: "pai-probe", Admins: []string{"admin", "Carol"}, Hidden: []string{".nfs-server"},
	}
}

func member() fileserver.SMB {
	s := standalone()
	s.Workgroup, s.Encryption, s.MinProtocol, s.Port = "PAI", "required", "SMB3_11", 1445
	s.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	s.Clients = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("2001:db8::/64")}
	s.Admins = []string{`PAI\carol`, `@PAI\Storage Admins`}
	s.Domain = &fileserver.Domain{
		Realm: "PAI.TEST", IDMap: []string{"idmap config * : backend = tdb", "idmap config *:range=3000-7999", "idmap config PAI : backend = rid", "idmap config PAI : range = 10000 - 999999"},
		Realms: []fileserver.Realm{{Name: "PAI.TEST", KDCs: []string{"dc1.pai.test", "10.0.0.7:88"}}, {Name: "OTHER.TEST", DefaultDomain: "other.example.com"}},
	}
	return s
}

func golden(t *testing.T, file, got string, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), go test -update writes it:\n%s", file, diff)
	}
}

func TestSMBGolden(t *testing.T) {
	text, err := standalone().Config()
	golden(t, "testdata/smb-auto.conf", text, err)
	text, err = member().Config()
	golden(t, "testdata/smb-ads.conf", text, err)
	text, err = member().Krb5()
	golden(t, "testdata/krb5.conf", text, err)
}

// texts are the fields that people fill in.
func texts(s *fileserver.SMB) map[string]*string {
	return map[string]*string{
		"root": &s.Root, "state directory": &s.StateDir, "run directory": &s.RunDir, "program": &s.HomeProgram[0], "netbios name": &s.NetbiosName,
		"workgroup": &s.Workgroup, "protocol": &s.MinProtocol, "encryption": &s.Encryption, "shared user": &s.Shared, "probe": &s.Probe,
		"administrator": &s.Admins[0], "hidden": &s.Hidden[0],
	}
}

func domainTexts(s *fileserver.SMB) map[string]*string {
	d := s.Domain
	if d.DomainRealm == nil {
		d.DomainRealm = map[string]string{}
	}
	return map[string]*string{
		"realm": &d.Realm, "idmap": &d.IDMap[0], "realm's name": &d.Realms[0].Name, "kdc": &d.Realms[0].KDCs[0], "default domain": &d.Realms[0].DefaultDomain,
	}
}

// Whatever a field is, what Samba, Kerberos or a shell would read as more than a value is refused, in each of the fields.
func TestSMBRefusesInEachField(t *testing.T) {
	junk := []string{"\n", "\r", "\x00", `"`, "'", "%", "%U", ";", "#", "[", "]", "\\\n", "=", "{", "}", "$(id)", "`id`", "\u2028", "\u0085", "\xff", " ", "\t", "x\n[evil]\n\tpath = /", "/../x", "a b|c"}
	for _, evil := range junk {
		for field := range texts(clean()) {
			for _, placed := range []func(string) string{func(v string) string { return v + evil }, func(v string) string { return v[:len(v)/2] + evil + v[len(v)/2:] }} {
				s := standalone()
				f := texts(&s)[field]
				*f = placed(*f)
				if text, err := s.Config(); err == nil {
					t.Errorf("%s = %q is rendered:\n%s", field, *f, grep(text, *f))
				}
			}
		}
		for field := range domainTexts(cleanMember()) {
			s := member()
			f := domainTexts(&s)[field]
			if *f += evil; field == "idmap" && evil == "/../x" {
				continue // a value may have them
			}
			for name, render := range map[string]func() (string, error){"smb.conf": s.Config, "krb5.conf": s.Krb5} {
				if text, err := render(); err == nil {
					t.Errorf("%s = %q is in %s:\n%s", field, *f, name, grep(text, *f))
				}
			}
		}
	}
}

func clean() *fileserver.SMB       { s := standalone(); return &s }
func cleanMember() *fileserver.SMB { s := member(); return &s }

func grep(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return text
}

func TestSMBRefuses(t *testing.T) {
	faults := map[string]func(*fileserver.SMB){
		"the whole disk":                  func(s *fileserver.SMB) { s.Root = "/" },
		"no root":                         func(s *fileserver.SMB) { s.Root = "" },
		"no shared user":                  func(s *fileserver.SMB) { s.Shared = "" },
		"no program":                      func(s *fileserver.SMB) { s.HomeProgram = nil },
		"root's uid":                      func(s *fileserver.SMB) { s.UID = 0 },
		"nobody's gid":                    func(s *fileserver.SMB) { s.GID = 65534 },
		"root is shared":                  func(s *fileserver.SMB) { s.Shared = "Root" },
		"the probe is the shared user":    func(s *fileserver.SMB) { s.Probe = "SMBUSER" },
		"the probe is an administrator":   func(s *fileserver.SMB) { s.Admins = []string{"PAI-Probe"} },
		"root is an administrator":        func(s *fileserver.SMB) { s.Admins = []string{"root"} },
		"a group without a domain":        func(s *fileserver.SMB) { s.Admins = []string{"@staff"} },
		"SMB1":                            func(s *fileserver.SMB) { s.MinProtocol = "NT1" },
		"SMB 2.0":                         func(s *fileserver.SMB) { s.MinProtocol = "SMB2_02" },
		"encryption of another kind":      func(s *fileserver.SMB) { s.Encryption = "maybe" },
		"a machine's name of 16":          func(s *fileserver.SMB) { s.NetbiosName = "ABCDEFGHIJKLMNOP" },
		"a port that is none":             func(s *fileserver.SMB) { s.Port = 65536 },
		"no address":                      func(s *fileserver.SMB) { s.Addresses = []netip.Addr{{}} },
		"no network":                      func(s *fileserver.SMB) { s.Clients = []netip.Prefix{{}} },
		"a domain's administrator, bare":  func(s *fileserver.SMB) { *s = member(); s.Admins = []string{"carol"} },
		"a realm in lower case":           func(s *fileserver.SMB) { *s = member(); s.Domain.Realm = "pai.test" },
		"a realm twice":                   func(s *fileserver.SMB) { *s = member(); s.Domain.Realms[1].Name = "PAI.TEST" },
		"idmap of something else":         func(s *fileserver.SMB) { *s = member(); s.Domain.IDMap[0] = "idmap config XXX1" },
		"idmap over the shared user":      func(s *fileserver.SMB) { *s = member(); s.Domain.IDMap[1] = "idmap config * : range = 500-9999" },
		"idmap backwards":                 func(s *fileserver.SMB) { *s = member(); s.Domain.IDMap[1] = "idmap config * : range = 9999-3000" },
		"another parameter in idmap":      func(s *fileserver.SMB) { *s = member(); s.Domain.IDMap[0] = "guest ok = yes" },
		"a DNS domain that is none":       func(s *fileserver.SMB) { *s = member(); s.Domain.DomainRealm = map[string]string{"x y": "PAI.TEST"} },
		"a DNS domain's realm that is no": func(s *fileserver.SMB) { *s = member(); s.Domain.DomainRealm = map[string]string{"pai.test": "}"} },
	}
	for name, fault := range faults {
		s := standalone()
		fault(&s)
		if text, err := s.Config(); err == nil {
			t.Errorf("%s: rendered\n%s", name, text)
		}
	}
	if _, err := standalone().Krb5(); err == nil {
		t.Error("a krb5.conf without a domain")
	}
}

// structure is what Samba reads: the sections, and the names of the parameters in each.
func structure(t *testing.T, text string) (names []string) {
	t.Helper()
	section, parameter := regexp.MustCompile(`^\[([a-z]+)\]$`), regexp.MustCompile(`^\t([A-Za-z0-9 *:-]+) = ([^\n\r\x00]*)$`)
	where := ""
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if m := section.FindStringSubmatch(line); m != nil {
			where = m[1]
			names = append(names, "["+where+"]")
		} else if m := parameter.FindStringSubmatch(line); m != nil && !strings.HasSuffix(m[2], `\`) {
			if slices.Contains(names, where+"/"+m[1]) {
				t.Errorf("%s is there twice in %s", m[1], where)
			}
			names = append(names, where+"/"+m[1])
		} else if line != "" {
			t.Errorf("a line that is neither section nor parameter: %q", line)
		}
	}
	return names
}

// FuzzSMB: whatever the fields are, the text has the sections and parameters that it always has, or there is no text.
func FuzzSMB(f *testing.F) {
	f.Add("/share", "/share/.smb", "/run/smb", "/bin/home", "PAI-SM", "WORKGROUP", "smbuser", "probe", "admin", ".nfs")
	f.Add("/a\nb", "/x;y", "/z]", "/q %U", "a[b", "x=y", "a\"b", "c\\", "d\x00", "e/f")
	f.Fuzz(func(t *testing.T, root, state, run, program, netbios, workgroup, shared, probe, admin, hidden string) {
		s := standalone()
		s.Root, s.StateDir, s.RunDir, s.HomeProgram, s.NetbiosName, s.Workgroup = root, state, run, []string{program}, netbios, workgroup
		s.Shared, s.Probe, s.Admins, s.Hidden = shared, probe, []string{admin}, []string{hidden}
		text, err := s.Config()
		if err != nil {
			return
		}
		always, err := standalone().Config()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(structure(t, always), structure(t, text)); diff != "" {
			t.Errorf("other parameters than always (-want +got):\n%s\n%s", diff, text)
		}
		if n := strings.Count(text, "%"); n != strings.Count(always, "%") {
			t.Errorf("%d substitutions:\n%s", n, text)
		}
	})
}

// FuzzDomain does the same for what a domain adds.
func FuzzDomain(f *testing.F) {
	f.Add("PAI.TEST", "OTHER.TEST", "dc1", "pai.test", ".pai.test", "idmap config PAI : backend = rid", `PAI\carol`)
	f.Add("A\n", "}", "x = y", "#", "[libdefaults]", "idmap config * : range = 1-2\n", `@PAI\a b`)
	f.Fuzz(func(t *testing.T, realm, other, kdc, domain, mapped, idmap, admin string) {
		s := member()
		s.Admins = []string{admin}
		s.Domain = &fileserver.Domain{
			Realm: realm, IDMap: []string{idmap}, DomainRealm: map[string]string{mapped: realm},
			Realms: []fileserver.Realm{{Name: other, KDCs: []string{kdc}, DefaultDomain: domain}},
		}
		if text, err := s.Config(); err == nil {
			names := structure(t, text)
			if n := len(slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "[") })); n != 6 {
				t.Errorf("%d sections:\n%s", n, text)
			}
		}
		text, err := s.Krb5()
		if err != nil {
			return
		}
		if lines := strings.Count(text, "\n"); lines != 16 || strings.Count(text, "{") != 1 || strings.Count(text, "}") != 1 || strings.ContainsAny(text, "\r#;%\\\x00") {
			t.Errorf("%d lines:\n%s", lines, text)
		}
	})
}
