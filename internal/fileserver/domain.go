package fileserver

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Domain is an Active Directory domain that an SMB server is a member of.
type Domain struct {
	Realm       string            // EXAMPLE.COM
	Realms      []Realm           // where their controllers are; those that are missing are found through DNS
	DomainRealm map[string]string // DNS domain (".example.com") or host -> realm; none: the realms' default domains
	// IDMap are lines like "idmap config EXAMPLE : backend = rid". None: uids and gids are computed from the domain's own numbers, so
	// that they are the same after all state is lost.
	IDMap []string
}

// Realm is one Kerberos realm.
type Realm struct {
	Name          string
	KDCs          []string // hosts, or host:port
	DefaultDomain string   // the DNS domain; "" means the realm's name in lower case
}

var (
	realmName  = regexp.MustCompile(`^[A-Z0-9]([A-Z0-9-]*[A-Z0-9])?(\.[A-Z0-9]([A-Z0-9-]*[A-Z0-9])?)*$`)
	dnsName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)
	hostPort   = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?$`)
	idmapLine  = regexp.MustCompile(`^idmap config (\*|[A-Za-z0-9_][A-Za-z0-9_-]{0,14}) ?: ?([a-z_]+( [a-z_]+)?) ?= ?([A-Za-z0-9_.:/-]+|[0-9]+ ?- ?[0-9]+)$`)
	idmapRange = regexp.MustCompile(`^([0-9]+) ?- ?([0-9]+)$`)
)

// CheckRealm refuses what is not the name of a Kerberos realm of Active Directory.
func CheckRealm(name string) error {
	if !realmName.MatchString(name) {
		return fmt.Errorf("realm %q: give it in upper case, like EXAMPLE.COM", name)
	}
	return nil
}

// CheckDomainRealm refuses what cannot be in [Domain.DomainRealm].
func CheckDomainRealm(domain, realm string) error {
	if !dnsName.MatchString(strings.TrimPrefix(domain, ".")) {
		return fmt.Errorf("domain_realm: %q is not a DNS name", domain)
	}
	if !realmName.MatchString(realm) {
		return fmt.Errorf("domain_realm: %s: %q is not the name of a realm, like EXAMPLE.COM", domain, realm)
	}
	return nil
}

func (d Domain) check() error {
	if err := CheckRealm(d.Realm); err != nil {
		return fmt.Errorf("default %w", err)
	}
	for i, r := range d.Realms {
		if err := r.Check(); err != nil {
			return err
		}
		if slices.ContainsFunc(d.Realms[:i], func(o Realm) bool { return o.Name == r.Name }) {
			return fmt.Errorf("realm %s is there twice", r.Name)
		}
	}
	for _, domain := range slices.Sorted(maps.Keys(d.DomainRealm)) {
		if err := CheckDomainRealm(domain, d.DomainRealm[domain]); err != nil {
			return err
		}
	}
	_, err := CheckIDMap(d.IDMap)
	return err
}

// Check refuses a realm that cannot be written into a krb5.conf.
func (r Realm) Check() error {
	if err := CheckRealm(r.Name); err != nil {
		return err
	}
	if r.DefaultDomain != "" && !dnsName.MatchString(r.DefaultDomain) {
		return fmt.Errorf("realm %s: default domain %q is not a DNS name", r.Name, r.DefaultDomain)
	}
	for _, kdc := range r.KDCs {
		if !hostPort.MatchString(kdc) {
			return fmt.Errorf("realm %s: kdc %q: give HOST or HOST:PORT", r.Name, kdc)
		}
	}
	return nil
}

// lowestID keeps the domain's users away from the shared user and the system's.
const lowestID = 2000

// idRange are the uids and gids of one domain.
type idRange struct {
	domain    string // in upper case, or "*"
	low, high uint64
}

// CheckIDMap refuses lines that Samba would not map users by: it wants a range for each domain and one for "*", which are all the others, and no
// number in two of them. It says which line is at fault, -1 for one that is missing.
func CheckIDMap(lines []string) (at int, err error) {
	var ranges []idRange
	domains := map[string]int{} // domain -> its first line
	for i, line := range lines {
		r, err := checkIDMap(line)
		if err != nil {
			return i, err
		}
		if _, seen := domains[r.domain]; !seen {
			domains[r.domain] = i
		}
		if r.high == 0 {
			continue
		}
		for _, o := range ranges {
			switch {
			case o.domain == r.domain:
				return i, fmt.Errorf("idmap %q: %s has a range already", line, r.domain)
			case r.low <= o.high && o.low <= r.high:
				return i, fmt.Errorf("idmap %q: the range overlaps with %d-%d of %s: give each domain numbers of its own", line, o.low, o.high, o.domain)
			}
		}
		ranges = append(ranges, r)
	}
	if len(lines) == 0 {
		return 0, nil
	}
	if _, there := domains["*"]; !there {
		domains["*"] = -1
	}
	for _, domain := range slices.Sorted(maps.Keys(domains)) {
		if !slices.ContainsFunc(ranges, func(r idRange) bool { return r.domain == domain }) {
			return domains[domain], fmt.Errorf(`idmap: %[1]s has no range: add a line like "idmap config %[1]s : range = 100000-199999"`, domain)
		}
	}
	return 0, nil
}

func checkIDMap(line string) (r idRange, err error) {
	part := idmapLine.FindStringSubmatch(line)
	if part == nil {
		return r, fmt.Errorf(`idmap %q: give lines like "idmap config EXAMPLE : backend = rid"`, line)
	}
	r.domain = strings.ToUpper(part[1])
	if part[2] != "range" {
		return r, nil
	}
	limits := idmapRange.FindStringSubmatch(part[4])
	if limits == nil {
		return r, fmt.Errorf("idmap %q: a range is LOW-HIGH", line)
	}
	low, err := strconv.ParseUint(limits[1], 10, 32)
	high, err2 := strconv.ParseUint(limits[2], 10, 32)
	if err != nil || err2 != nil || low >= high || low < lowestID {
		return r, fmt.Errorf("idmap %q: the range begins at %d or later, and ends after it begins and before 2^32", line, lowestID)
	}
	r.low, r.high = low, high
	return r, nil
}

// idmap returns pairs of parameter and value.
func (d Domain) idmap(workgroup string) (pairs [][2]string) {
	if len(d.IDMap) == 0 {
		return [][2]string{
			{"idmap config * : backend", "tdb"},
			{"idmap config * : range", "100000-199999"},
			{"idmap config " + workgroup + " : backend", "rid"},
			{"idmap config " + workgroup + " : range", "1000000-1999999999"},
		}
	}
	for _, line := range d.IDMap {
		part := idmapLine.FindStringSubmatch(line)
		pairs = append(pairs, [2]string{"idmap config " + part[1] + " : " + part[2], part[4]})
	}
	return pairs
}

// Krb5 is the krb5.conf of a member of a domain.
func (s SMB) Krb5() (string, error) {
	if s.Domain == nil {
		return "", fmt.Errorf("the server is not a member of a domain")
	}
	d := *s.Domain
	if err := d.check(); err != nil {
		return "", err
	}
	if err := checkSMBPath("state directory", s.StateDir); err != nil {
		return "", err
	}
	var b strings.Builder
	// TCP, because a ticket with a list of groups is too large for UDP, and because a closed port is noticed at once.
	fmt.Fprintf(&b, `[libdefaults]
	default_realm = %s
	default_keytab_name = FILE:%s
	dns_lookup_kdc = true
	dns_lookup_realm = false
	rdns = false
	udp_preference_limit = 1

[realms]
`, d.Realm, s.Keytab())
	for _, r := range d.Realms {
		fmt.Fprintf(&b, "\t%s = {\n", r.Name)
		for _, kdc := range r.KDCs {
			fmt.Fprintf(&b, "\t\tkdc = %s\n", kdc)
		}
		fmt.Fprintf(&b, "\t\tdefault_domain = %s\n\t}\n", r.domain())
	}
	b.WriteString("\n[domain_realm]\n")
	realmOf := d.domainRealm()
	for _, domain := range slices.Sorted(maps.Keys(realmOf)) {
		fmt.Fprintf(&b, "\t%s = %s\n", domain, realmOf[domain])
	}
	return b.String(), nil
}

func (r Realm) domain() string {
	if r.DefaultDomain != "" {
		return r.DefaultDomain
	}
	return strings.ToLower(r.Name)
}

func (d Domain) domainRealm() map[string]string {
	if len(d.DomainRealm) > 0 {
		return d.DomainRealm
	}
	known := map[string]string{strings.ToLower(d.Realm): d.Realm, "." + strings.ToLower(d.Realm): d.Realm}
	for _, r := range d.Realms {
		known[r.domain()], known["."+r.domain()] = r.Name, r.Name
	}
	return known
}
