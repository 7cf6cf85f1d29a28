package clusterconfig_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
)

var update = flag.Bool("update", false, "write the golden files")

const goodLayout = `machine-sku:
  GENERIC-WORKER: {mem: 2, gpu: {type: generic, count: 1}, cpu: {vcore: 2}, os: ubuntu16.04}
machine-list:
  - {hostname: master, hostip: 10.0.0.9, machine-type: GENERIC-WORKER, etcdid: etcd1, zkid: "1", dashboard: "true", pai-master: "true", username: op, sshport: 22}
  - hostname: worker1
    nodename: worker1.example.org
    hostip: 10.0.0.1
    machine-type: GENERIC-WORKER
    pai-worker: "true"
    pai-storage: "true"  # this line is newly added
`

const goodServices = `cluster:
  common: {cluster-id: pai}
rest-server:
  default-pai-admin-username: admin
webportal: {server-port: 9286}
storage-manager:
  localpath: /share
#  security-type: AUTO
#  workgroup: WORKGROUP
  smbuser: smbuser
  smbpwd: smbpwd
`

func parse(layout, services string) (clusterconfig.Configuration, error) {
	return clusterconfig.Parse(map[string][]byte{"layout.yaml": []byte(layout), "services-configuration.yaml": []byte(services)})
}

func TestFilesOfAnOriginal(t *testing.T) {
	cfg, err := parse(goodLayout, goodServices)
	if err != nil {
		t.Fatal(err)
	}
	servers := cfg.StorageServers()
	if len(servers) != 1 || servers[0].NodeName != "worker1.example.org" || len(cfg.Workers()) != 1 || len(cfg.Masters()) != 1 || cfg.Masters()[0].NodeName != "master" {
		t.Errorf("machines: %+v", cfg.Machines)
	}
	s := cfg.StorageManager
	if s == nil || s.SMBPassword != "smbpwd" || s.LocalPath != "/share" || s.SecurityType != clusterconfig.Auto || s.SMBMinimum != "SMB3_00" || s.SMBEncryption != "required" || s.NFSMinor40 {
		t.Errorf("storage manager: %+v", s)
	}
	origins := map[string]string{}
	for _, setting := range cfg.Settings() {
		origins[setting.Path] = setting.Value + " from " + setting.Origin
	}
	for path, want := range map[string]string{
		"storage-manager.localpath": "/share from services-configuration.yaml:7", "storage-manager.workgroup": "WORKGROUP from default",
		"storage-manager.smbpwd": "****** from services-configuration.yaml:11", "machine-list.worker1.pai-storage": "true from layout.yaml:10",
		"machine-list.master.nodename": "master from default",
	} {
		if origins[path] != want {
			t.Errorf("%s is %q, want %q", path, origins[path], want)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", *s, *s, *s); strings.Contains(text, `"smbpwd"`) || strings.Contains(text, "SMBPassword:smbpwd") {
		t.Errorf("the password prints: %s", text)
	}
}

// TestDomainSection is the section of a domain, which goes to the storage manager without its passwords and comes together there.
func TestDomainSection(t *testing.T) {
	cfg, err := parse(goodLayout, `storage-manager:
  workgroup: PAI
  security-type: ADS
  default_realm: PAI.TEST
  krb5_realms:
    PAI.TEST: {kdc: dc1.pai.test, default_domain: pai.test}
    OTHER.TEST: {kdc: [dc2.other.test, "dc3.other.test:88"], default_domain: other.test}
  domain_realm:
    kdc: # kdc
    default_domain: # default domain
    .pai.test: PAI.TEST
  domainuser: joiner
  domainpwd: 'Secret: #1'
  smbpwd: another
  idmap:
  - "idmap config * : range = 100000-199999"
  - "idmap config PAI : backend = rid"
  - "idmap config PAI : range = 1000000-1999999"
  nfs-allowed-clients: [192.0.2.7, 198.51.100.0/24, "2001:db8::/32"]
  nfs-4.0: true
`)
	if err != nil {
		t.Fatal(err)
	}
	section, passwords, err := cfg.StorageManager.Section()
	if err != nil || strings.Contains(string(section), "Secret") || strings.Contains(string(section), "another") {
		t.Fatalf("%v\n%s", err, section)
	}
	again, err := clusterconfig.LoadStorageManager(section, passwords)
	if err != nil {
		t.Fatal(err)
	}
	compare := cmp.Comparer(func(a, b clusterconfig.Secret) bool { return a == b })
	if diff := cmp.Diff(fmt.Sprintf("%+v", *cfg.StorageManager), fmt.Sprintf("%+v", again), compare); diff != "" {
		t.Errorf("the section, there and back:\n%s", diff)
	}
	if again.DomainPassword != "Secret: #1" || again.DomainRealm[".pai.test"] != "PAI.TEST" || len(again.DomainRealm) != 1 || len(again.Krb5Realms["OTHER.TEST"].KDC) != 2 {
		t.Errorf("%+v", again)
	}
	delete(passwords, "domainpwd")
	if _, err := clusterconfig.LoadStorageManager(section, passwords); err == nil || !strings.Contains(err.Error(), "domainpwd is missing") {
		t.Errorf("without the password: %v", err)
	}
}

// TestPasswords: a password is what is typed, or the fault says that it has to be in quotes. Never is it another one.
func TestPasswords(t *testing.T) {
	const quote, comment = "YAML reads this text as something else than it says: put it in single quotes", "YAML takes everything from the '#' on for a comment"
	for written, want := range map[string]string{
		"0755": "0755", "1e3": "1e3", "0x1F": "0x1F", "1_000": "1_000", "+5": "+5", "1.50": "1.50", ".inf": ".inf", "true": "true", "yes": "yes",
		`"#x: y"`: "#x: y", "'it''s'": "it's", `"a\u00e9"`: "aé", "a#b": "a#b", "a\\b": "a\\b", "%x": "%x", "2001-01-01": "2001-01-01", "a b": "a b", "top # why": "top", "top\t## why": "top",
		"'*Top1'": "*Top1", "\"~\"": "~", "'a #b'": "a #b", "Größe🙂": "Größe🙂", "12345678901234567890123": "12345678901234567890123",
	} {
		for _, end := range []string{"\n", "\r\n", ""} {
			cfg, err := parse(goodLayout, "storage-manager:\n  smbpwd: "+written+end)
			if err != nil || string(cfg.StorageManager.SMBPassword) != want {
				t.Errorf("%s: %q, %v", written, string(cfg.StorageManager.SMBPassword), err)
			}
		}
	}
	for written, want := range map[string]string{
		"*Top1": quote, "!Top1": quote, "&Top1": quote, "!": quote, "!a b": quote, "&a b": quote, "!!str 5": quote, "~": quote, "null": quote, "NULL": quote, "{x}": quote, "{}": quote, "[x]": quote, "[]": quote,
		"a\n    b": quote, "#Top1": comment, "a #Top1": comment, "": "smbpwd is missing", "# later": "smbpwd is missing", "''": "smbpwd is missing",
		"@Top1": "in single quotes", "`Top1`": "in single quotes", "|Top1": "in single quotes", "a: b": "in single quotes", `"C:\Top"`: "in single quotes", "*a b": "in single quotes",
		"|\n    Top1": "on the line of its key", "\n    Top1": "on the line of its key",
	} {
		for _, key := range []string{"smbpwd", "domainpwd"} {
			services := "storage-manager:\n  security-type: ADS\n  workgroup: W\n  default_realm: A.B\n  domainuser: u\n  "
			services += map[string]string{"smbpwd": "domainpwd", "domainpwd": "smbpwd"}[key] + ": x\n  " + key + ": " + written + "\n  smb-encryption: off\n"
			_, err := parse(goodLayout, services)
			if err == nil || !strings.Contains(err.Error(), strings.Replace(want, "smbpwd", key, 1)) || strings.Contains(err.Error(), "Top1") || strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("%s: %q: %v", key, written, err)
			}
		}
	}
	// Others, too, are never what they do not say.
	for _, line := range []string{"smbuser: *shared", "smbuser: !shared", "localpath: !a /share", "workgroup: *a", "krb5_realms: *a", "nfs-allowed-clients: [*a]", "idmap: !a"} {
		if _, err := parse(goodLayout, "storage-manager:\n  smbpwd: x\n  "+line+"\n"); err == nil || !strings.Contains(err.Error(), quote) {
			t.Errorf("%s: %v", line, err)
		}
	}
	if cfg, err := parse(goodLayout, "storage-manager:\n  smbpwd: x\n  &b smbuser: other\n  ? !!str localpath\n  : /srv\n"); err != nil || cfg.StorageManager.SMBUser != "other" || cfg.StorageManager.LocalPath != "/srv" {
		t.Errorf("keys with something before them: %+v, %v", cfg.StorageManager, err)
	}
	if cfg, err := parse(goodLayout, "x: &name shared\nstorage-manager:\n  smbpwd: x\n  smbuser: *name\n"); err != nil || cfg.StorageManager.SMBUser != "shared" {
		t.Errorf("a reference: %+v, %v", cfg.StorageManager, err)
	}
}

// TestFaults compares everything that is said of files that are wrong.
func TestFaults(t *testing.T) {
	services := func(lines ...string) string {
		return "storage-manager:\n  smbpwd: hidden-password\n  " + strings.Join(lines, "\n  ") + "\n"
	}
	machine := func(lines ...string) string {
		return "machine-list:\n  - hostname: w\n    hostip: 10.0.0.1\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	for name, files := range map[string][2]string{
		"keys-nearly-right": {machine("pai-wroker: \"true\"", "pai-storge: \"true\""), "storage-manger: {}\n" + services("localpaht: /share", "sumthing-else: 1")},
		"roles":             {machine("pai-master: \"true\"", "pai-storage: \"true\"") + "  - {hostname: v, hostip: 10.0.0.2, pai-storage: true}\n", services("smbuser: u")},
		"twice":             {machine("pai-worker: yes", "pai-worker: no") + "  - {hostname: w, hostip: 10.0.0.1}\n", services("smbuser: u", "smbuser: v")},
		"addresses":         {"machine-list:\n  - {hostname: a, hostip: 10.0.0.300}\n  - {hostname: b b, hostip: 127.0.0.1}\n  - {hostip: 10.0.0.1}\n  - [1]\n", services("smbuser: u")},
		"sku":               {"machine-sku: {SMALL: {mem: 1}}\n" + machine("machine-type: LARGE"), services("smbuser: u")},
		"clients":           {machine("pai-worker: \"true\""), services("nfs-allowed-clients: [0.0.0.0/0, 10.0.0.7/24, here, '::/0']", "smb-encryption: sometimes", "nfs-4.0: perhaps")},
		"paths":             {machine("pai-worker: \"true\""), services("localpath: share")},
		"system-path":       {machine("pai-worker: \"true\""), services("localpath: /etc/share")},
		"injection":         {machine("pai-worker: \"true\""), services(`smbuser: "a\n[root]\npath = /"`, `workgroup: 'W;x'`, `default_realm: 'A"B'`, `domainuser: a%b`, `idmap: ["include = /etc/passwd", "idmap config X\nroot = 1"]`)},
		"domain-without":    {machine("pai-worker: \"true\""), services("security-type: ADS")},
		"names":             {machine("pai-worker: \"true\""), services("workgroup: RESEARCH-DIVISION", "smbuser: shared@corp")},
		"reserved-name":     {machine("pai-worker: \"true\""), services("smbuser: PAI-storage-probe", "workgroup: lab_a")},
		"domain-rules": {machine("pai-worker: \"true\""), services("security-type: ADS", "domainpwd: x", "domainuser: u", "workgroup: LAB", "default_realm: pai.test",
			"krb5_realms:", "  other.test: {kdc: dc1}", "  GOOD.TEST: {kdc: 'dc1:x'}", "domain_realm:", "  .pai.test: pai.test",
			"idmap:", "- 'idmap config * : range = 3000-7999'", "- 'idmap config LAB : range = 5000-9999'")},
		"idmap-without": {machine("pai-worker: \"true\""), services("security-type: ADS", "domainpwd: x", "domainuser: u", "workgroup: LAB", "default_realm: PAI.TEST",
			"idmap:", "- 'idmap config LAB : backend = rid'", "- 'idmap config LAB : range = 5000-9999'")},
		"domain-admins": {machine("pai-worker: \"true\""), services("security-type: ADS", "domainpwd: x", "domainuser: u", "workgroup: LAB", "default_realm: PAI.TEST",
			"smb-administrators:", "- root", "- '@LAB\\\"x'")},
		"local-admins":        {machine("pai-worker: \"true\""), services("smb-administrators: ['LAB\\alice']")},
		"no-password":         {machine("pai-worker: \"true\""), "storage-manager:\n  smbuser: u\n"},
		"empty-section":       {machine("pai-worker: \"true\""), "storage-manager:\n"},
		"tabs":                {"machine-list:\n\t- hostname: w\n", services("smbuser: u")},
		"utf-16":              {"\xFF\xFEm\x00a\x00", "storage-manager:\n  smbuser: u\n  smbpwd: hidden-password # gr\xF6\xDFer\n"},
		"not-yaml":            {"machine-list: [\n", "a: b: smbpwd: \"hidden-password\n"},
		"two-documents":       {machine("pai-worker: \"true\"") + "---\n" + machine("pai-worker: \"true\""), services("smbuser: u")},
		"not-a-mapping":       {"- 1\n", "just text\n"},
		"wrong-types":         {"machine-list: 7\nmachine-sku: [1]\n", "storage-manager:\n  smbpwd: [hidden-password]\n  krb5_realms: 5\n  idmap: {a: b}\n"},
		"carriage-returns":    {strings.ReplaceAll(machine("pai-worker: maybe"), "\n", "\r\n"), services("smbuser: u")},
		"a-password-is-quiet": {machine("pai-worker: \"true\""), "storage-manager:\n  smbpwd: \"hidden-password\\u0000\"\n"},
	} {
		_, err := parse(files[0], files[1])
		if err == nil {
			t.Errorf("%s: no fault", name)
			continue
		}
		if strings.Contains(err.Error(), "hidden-password") {
			t.Errorf("%s: the password is told:\n%v", name, err)
		}
		golden := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, readErr := os.ReadFile(golden)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got), go test -update writes it:\n%s", name, diff)
		}
	}
	if _, err := clusterconfig.Parse(nil); err == nil || strings.Count(err.Error(), "the file is missing") != 2 {
		t.Errorf("without files: %v", err)
	}
}

// TestPlacesForShares: what a system or a node needs for itself is never shared, nor what that lies in.
func TestPlacesForShares(t *testing.T) {
	refused := func(path string) bool {
		_, err := parse(goodLayout, "storage-manager:\n  smbpwd: x\n  localpath: "+path+"\n")
		if err != nil && !strings.Contains(err.Error(), path+" is the system's own") {
			t.Errorf("%s: %v", path, err)
		}
		return err != nil
	}
	for _, path := range strings.Fields("/root /root/share /bin /bin/x /sbin /sbin/x /lib /lib/x /lib32 /lib64/x /libx32 /libexec /var /var/lib /var/lib/kubelet " +
		"/var/lib/kubelet/pods /var/lib/etcd /var/lib/containerd/x /var/lib/docker /var/lib/pai-storage /var/lib/pai-storage/x /var/run /var/run/x /etc /etc/x /proc " +
		"/proc/1 /sys /sys/x /dev /dev/shm /usr /usr/x /boot /boot/x /run /run/x /home /tmp /tmp/x") {
		if !refused(path) {
			t.Errorf("%s may be shared", path)
		}
	}
	for _, path := range strings.Fields("/share /srv /srv/etc /mnt/disk /data /home/share /var/share /var/lib/share /library /rooted /var/lib/kubelets") {
		if refused(path) {
			t.Errorf("%s may not be shared", path)
		}
	}
}

// TestClients: who may mount besides the nodes is machines and networks of them.
func TestClients(t *testing.T) {
	for network, want := range map[string]string{
		"10.0.0.0/8": "", "192.0.2.7": "", "192.0.2.0/24": "", "2001:db8::1": "", "2001::/16": "", "fd00::/16": "",
		"0.0.0.0/0": "is everybody", "::/0": "is everybody", "0.0.0.0/1": "is wider than /8", "128.0.0.0/1": "is wider than /8", "10.0.0.0/7": "is wider than /8",
		"2001::/15": "is wider than /16", "8000::/1": "is wider than /16", "10.0.0.7/24": "did you mean 10.0.0.0/24?",
		"::ffff:10.244.0.0/112": "write 10.244.0.0/16", "::ffff:10.0.0.1": "write 10.0.0.1/32", "::ffff:0.0.0.0/96": "written as IPv6", "::ffff:0.0.0.0/90": "written as IPv6",
		"::/16": "loopback", "127.0.0.1": "loopback", "127.0.0.0/8": "loopback", "127.1.0.0/16": "loopback", "::1": "loopback", "::1/128": "loopback",
		"224.0.0.0/4": "multicast", "239.1.2.3": "multicast", "ff02::/16": "multicast", "ff00::/8": "multicast",
	} {
		_, err := parse(goodLayout, "storage-manager:\n  smbpwd: x\n  nfs-allowed-clients: ['"+network+"']\n")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "nfs-allowed-clients: "+network+" ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", network, err, want)
		}
	}
}

// TestSharedAccountsName: the shared account, and its group, are none that the server has for itself.
func TestSharedAccountsName(t *testing.T) {
	for _, name := range []string{"root", "Root", "nobody", "nogroup", "NoGroup", "pai-storage-probe"} {
		if _, err := parse(goodLayout, "storage-manager:\n  smbpwd: x\n  smbuser: "+name+"\n"); err == nil || !strings.Contains(err.Error(), "smbuser: "+name+" is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestByteOrderMark: files that an editor begins with a mark are the files without it, and keep it.
func TestByteOrderMark(t *testing.T) {
	const mark = "\uFEFF"
	plain, err := parse(goodLayout, goodServices)
	if err != nil {
		t.Fatal(err)
	}
	marked, err := parse(mark+goodLayout, mark+goodServices)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain.Settings(), marked.Settings()); diff != "" {
		t.Errorf("-without +with:\n%s", diff)
	}
	public, secrets, err := clusterconfig.Split("x.yaml", []byte(mark+"smbpwd: hidden\n"))
	if err != nil || string(public) != mark+"smbpwd: ${secret:0}\n" || len(secrets) != 1 {
		t.Errorf("%q, %q, %v", public, secrets, err)
	}
	if _, err := parse(mark+"machine-list: [{hostname: a, hostip: here}]\n", goodServices); err == nil || strings.Contains(err.Error(), mark) || !strings.Contains(err.Error(), "layout.yaml:1:30") {
		t.Errorf("a fault in the first line: %v", err)
	}
}

func TestSplit(t *testing.T) {
	text := "# smbpwd: in-a-comment\nstorage-manager:\n  smbpwd: 'quo ted' # why\n  smbuser: smbuser\r\n  domainpwd: plain\r\nrest-server:\n  default-pai-admin-password: {}\nlist:\n- password: first\n  api_key: second\n  token-lifetime: 3\n"
	public, secrets, err := clusterconfig.Split("services-configuration.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"in-a-comment", "'quo ted' # why", "plain", "{}", "first", "second"}
	if diff := cmp.Diff(want, secrets); diff != "" {
		t.Errorf("passwords (-want +got):\n%s", diff)
	}
	for _, s := range []string{"in-a-comment", "quo ted", "plain", "first", "second"} {
		if strings.Contains(string(public), s) {
			t.Errorf("%q is still there:\n%s", s, public)
		}
	}
	if back := clusterconfig.Join(public, secrets); string(back) != text {
		t.Errorf("there and back:\n%q\n%q", text, back)
	}
	for name, bad := range map[string]string{
		"over several lines":    "a:\n  smbpwd: |\n    hidden\n",
		"after another key":     "a: {user: u, smbpwd: hidden}\n",
		"on the next line":      "a:\n  smbpwd:\n    hidden\n",
		"a placeholder":         "a:\n  smbpwd: ${secret:0}\n",
		"quoted over two lines": "a:\n  smbpwd: \"hidden\n    more\"\n",
		"a list":                "webportal:\n  token:\n    - hidden\n",
		"a mapping":             "secret:\n  value: hidden\n",
		"an explicit key":       "? password\n: hidden\n",
		"an anchored key":       "&k password: hidden\n",
		"a tagged key":          "!!str password: hidden\n",
		"an alias":              "a: &p hidden\npassword: *p\n",
		"an anchor":             "password: &p hidden\na: *p\n",
		"JSON in a text":        "config: |\n  {\"password\": \"hidden\"}\n",
		"YAML in a text":        "config: |\n  password:\n    hidden\n",
	} {
		if public, _, err := clusterconfig.Split("x.yaml", []byte(bad)); err == nil {
			t.Errorf("%s: no fault:\n%s", name, public)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: the password is told: %v", name, err)
		}
	}
}

// TestSplitComments: comments hold passwords too, and so do keys that are typed almost like those of passwords.
func TestSplitComments(t *testing.T) {
	for _, text := range []string{
		"a: 1\nsmbuser: smbuser # old smbpwd: hidden\n", "# db: {user: a, password: hidden}\na: 1\n", "# DB password: hidden\na: 1\n", "a: 1\n# smbpwd:\n#   hidden\n# b: 2\n",
		"a: 1\n#  private-key: |\n#    hidden\n#    hidden\r\n", "password: #hidden\na: 1\n", "storage-manager:\n  smbpdw: hidden\n  SmbPwdd: hidden\n", "a: 1\n#  domainpw: hidden\n",
		"a: 1\n# private-key: |\n#   Proc-Type: 4,ENCRYPTED\n#\n#   hidden\n\n  # \r\n#   hidden\n# b: 2\n",
	} {
		public, secrets, err := clusterconfig.Split("x.yaml", []byte(text))
		if err != nil || strings.Contains(string(public), "hidden") {
			t.Errorf("%q: %v\n%s", text, err, public)
		}
		if back := clusterconfig.Join(public, secrets); string(back) != text {
			t.Errorf("%q came back as %q", text, back)
		}
	}
	for _, text := range []string{"a: 1\nsmbuser: shared # no secrets here\ntoken-lifetime: 3\n", "a: b\n# passwords are in the Secret\n"} {
		if public, secrets, err := clusterconfig.Split("x.yaml", []byte(text)); err != nil || len(secrets) > 0 || string(public) != text {
			t.Errorf("%q: %q taken out, %v", text, secrets, err)
		}
	}
}

// TestFaultsQuoteNoPassword: a fault near a password does not quote it, wherever it stands.
func TestFaultsQuoteNoPassword(t *testing.T) {
	for _, section := range []string{
		"storage-manager:\n  smbpdw: hidden\n", "storage-manager:\n  domainpw: hidden\n  smbpwd: x\n", "storage-manager:\n  smbpwd: \"abc\n  hidden: x\n",
		"rest-server:\n  privatekey: |\n    BEGIN\n\thidden\n", "storage-manager:\n  smbpwd: |\n    hidden\n   hidden\n",
		"rest-server:\n  privatekey: |\n    DEK-Info: AES\n   MIIEhidden\n",
	} {
		_, err := clusterconfig.Parse(map[string][]byte{"layout.yaml": []byte(goodLayout), "services-configuration.yaml": []byte(section)})
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", section, err)
		}
	}
}

// TestMask: a password that changed is said to, whatever comes or goes before it.
func TestMask(t *testing.T) {
	for name, c := range map[string]struct{ before, after, shown string }{
		"the same":           {"smbpwd: a\n", "smbpwd: a\n", "smbpwd: ******\n"},
		"changed":            {"smbpwd: a\n", "smbpwd: b\n", "smbpwd: ****** (changed)\n"},
		"one came before it": {"t: {}\nsmbpwd: x1\n", "new-token: x1\nt: {}\nsmbpwd: y\n", "new-token: ******\nt: {}\nsmbpwd: ****** (changed)\n"},
		"one like it came":   {"- token: a\n", "- token: b\n- token: a\n", "- token: ****** (changed)\n- token: ******\n"},
		"two swapped":        {"- token: a\n- token: b\n", "- token: b\n- token: a\n", "- token: ****** (changed)\n- token: ****** (changed)\n"},
		"one went":           {"token: a\nsmbpwd: b\n", "smbpwd: b\n", "smbpwd: ******\n"},
	} {
		if _, after := clusterconfig.Mask("x", []byte(c.before), []byte(c.after)); string(after) != c.shown {
			t.Errorf("%s: %q, want %q", name, after, c.shown)
		}
	}
	before, after := clusterconfig.Mask("x.yaml", []byte("password: |\n  hidden\n"), []byte("password: |\n  other\n"))
	if string(before) == string(after) || strings.Contains(string(before)+string(after), "hidden") {
		t.Errorf("what cannot be parted: %q, %q", before, after)
	}
}

// TestSectionRoundTrip: every field that can be configured reaches the storage manager.
func TestSectionRoundTrip(t *testing.T) {
	want := clusterconfig.StorageManager{LocalPath: "/srv/x", SecurityType: clusterconfig.ADS, Workgroup: "EXAMPLE", SMBUser: "shared", SMBPassword: "one",
		NFSAllowedClients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, SMBEncryption: "desired", SMBMinimum: "SMB3_11", NFSMinor40: true, DefaultRealm: "EXAMPLE.ORG",
		Krb5Realms:  map[string]clusterconfig.Realm{"EXAMPLE.ORG": {KDC: []string{"dc.example.org"}, DefaultDomain: "example.org"}},
		DomainRealm: map[string]string{".example.org": "EXAMPLE.ORG"}, DomainUser: "joiner", DomainPassword: "two",
		IDMap:             []string{"idmap config * : backend = tdb", "idmap config * : range = 100000-199999", "idmap config EXAMPLE : backend = rid", "idmap config EXAMPLE : range = 200000-299999"},
		SMBAdministrators: []string{`EXAMPLE\alice`}}
	fields := reflect.ValueOf(want)
	for i := range fields.NumField() {
		if fields.Field(i).IsZero() {
			t.Errorf("the test says nothing about %s", fields.Type().Field(i).Name)
		}
	}
	section, passwords, err := want.Section()
	if err != nil {
		t.Fatal(err)
	}
	got, err := clusterconfig.LoadStorageManager(section, passwords)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v\nwant %#v", got, want)
	}
}

// FuzzSplit: what is split comes together again, to the byte.
func FuzzSplit(f *testing.F) {
	f.Add([]byte(goodServices))
	f.Add([]byte("smbpwd: ${secret:0}\npassword: x"))
	f.Add([]byte("a: {token: 1}\r\n# pwd: y"))
	f.Fuzz(func(t *testing.T, text []byte) {
		public, secrets, err := clusterconfig.Split("x.yaml", text)
		if err != nil {
			return
		}
		if clusterconfig.Placeholders(public) != len(secrets) {
			t.Errorf("%d placeholders for %d passwords", clusterconfig.Placeholders(public), len(secrets))
		}
		if back := clusterconfig.Join(public, secrets); !bytes.Equal(back, text) {
			t.Errorf("%q became %q", text, back)
		}
	})
}

// FuzzParse: no text breaks it, and every fault has its place in the file.
func FuzzParse(f *testing.F) {
	f.Add(goodLayout, goodServices)
	f.Add("machine-list: [", "storage-manager: &a {smbuser: *a}")
	f.Fuzz(func(t *testing.T, layout, services string) {
		_, err := parse(layout, services)
		faults, ok := err.(*clusterconfig.Faults)
		if err == nil {
			return
		}
		if !ok {
			t.Fatalf("an error that is no list of faults: %v", err)
		}
		for _, fault := range faults.List {
			text := map[string]string{"layout.yaml": layout, "services-configuration.yaml": services}[fault.File]
			if fault.Line < 0 || fault.Line > strings.Count(text, "\n")+1 {
				t.Errorf("line %d of %d: %s", fault.Line, strings.Count(text, "\n")+1, fault.Text)
			}
		}
	})
}
