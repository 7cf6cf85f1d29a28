package pai

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// StorageDeclaration is the short description of a storage to be made. Which fields belong to it depends on its type:
//
//	nfs        Server, Path
//	samba      Address ("//host/share", or "//host/share/directory"), and a secret with username and password, domain if need be
//	azureBlob  Account, Container, Prefix and Endpoint if need be, and a secret with accountkey or accountsastoken
//	azureFile  Account, Share, Server where it is not Azure's own, and a secret with azurestorageaccountkey
//	s3         Bucket, Prefix, Endpoint and Region if need be, and a secret with accesskey and secretkey, or Anonymous
//	hostPath   Path
//	local      Path, Nodes
//
// The account of Azure may be in the secret instead, as accountname or azurestorageaccountname.
type StorageDeclaration struct {
	Name         StorageName
	Type         StorageType
	Server       string
	Path         string
	Address      string
	Account      string
	Container    string
	Share        string
	Bucket       string
	Prefix       string // of the names in a container or a bucket: only what is below it is seen
	Endpoint     string // URL of an object store; "" for the public cloud's
	Region       string
	Anonymous    bool     // nothing is asked of whoever reads it
	Nodes        []string // the workers that have a local path
	Size         string   // such as 10Gi; "" for 10Gi. Only dynamic provisioners look at it
	Personal     bool     // each user sees only a folder of the user's own
	ReadOnly     bool
	MountOptions []string
	Options      map[string]string // another way to say Endpoint, Region, Prefix and Server, as the driver names them
	SecretName   string            // of a Secret in the jobs namespace that is there already
	Secret       Secret            // else what a new Secret holds
	DryRun       bool              // make nothing, only say what would be made
}

// Secret is the content of a Kubernetes Secret. It prints as "[redacted]".
type Secret map[string]string

// String hides the content.
func (Secret) String() string { return "[redacted]" }

// GoString hides the content.
func (Secret) GoString() string { return "[redacted]" }

// DeclaredStorage is what a declaration made.
type DeclaredStorage struct {
	Name       StorageName
	VolumeName string
	SecretName string // of the Secret that was made; "" when none was
	Manifest   string // the objects in YAML, without what is secret
}

// defaultStorageSize is what a claim asks for that does not say.
const defaultStorageSize = "10Gi"

// maxDeclaredName leaves room for what is appended to a storage's name.
const maxDeclaredName = 240

// Normalize returns the declaration with its defaults filled in. InvalidParametersError names every fault by its field.
func (d StorageDeclaration) Normalize() (StorageDeclaration, error) {
	if d.Size == "" {
		d.Size = defaultStorageSize
	}
	var faults faultList
	if _, err := ParseStorageName(string(d.Name)); err != nil {
		faults.add("name", err.Error())
	} else if len(d.Name) > maxDeclaredName {
		faults.add("name", fmt.Sprintf("at most %d characters, because the names of its objects are longer", maxDeclaredName))
	}
	rule, known := declarationRules[d.Type]
	if !known {
		faults.add("type", fmt.Sprintf("%q: choose one of %s", clip(string(d.Type)), strings.Join(slices.Sorted(declarableTypes()), ", ")))
		return d, faults.err()
	}
	d = d.takeOptions(rule, &faults)
	d.checkFields(rule, &faults)
	if d.ReadOnly && (d.Type == StorageHostPath || d.Type == StorageLocal) {
		faults.add("readOnly", fmt.Sprintf("Kubernetes has no read-only volumes of type %s", d.Type))
	}
	if !sizePattern.MatchString(d.Size) {
		faults.add("size", fmt.Sprintf("%q: expected a size such as 10Gi", clip(d.Size)))
	}
	d.checkOptions(&faults)
	d = d.withAccount(rule, &faults)
	d.checkSecret(rule, &faults)
	return d, faults.err()
}

// declarationRule is what a type needs.
type declarationRule struct {
	fields    []string   // of the declaration
	optional  []string   // fields that it may have besides
	secrets   [][]string // the keys that a secret has, one of each list; nil when the type takes none
	more      []string   // keys that it may have besides
	account   string     // the key that repeats the field accountName; "" when there is none
	anonymous bool       // it can do without a secret, when that is said
}

var declarationRules = map[StorageType]declarationRule{
	StorageNFS:   {fields: []string{"server", "path"}},
	StorageSamba: {fields: []string{"address"}, secrets: [][]string{{"username"}, {"password"}}, more: []string{"domain"}},
	StorageAzureBlob: {fields: []string{"containerName"}, optional: []string{"accountName", "endpoint", "prefix"},
		secrets: [][]string{{"accountname"}, {"accountkey", "accountsastoken"}}, account: "accountname"},
	StorageAzureFile: {fields: []string{"shareName"}, optional: []string{"accountName", "server"},
		secrets: [][]string{{"azurestorageaccountname"}, {"azurestorageaccountkey"}}, account: "azurestorageaccountname"},
	StorageS3: {fields: []string{"bucket"}, optional: []string{"endpoint", "prefix", "region"},
		secrets: [][]string{{"accesskey"}, {"secretkey"}}, anonymous: true},
	StorageHostPath: {fields: []string{"path"}},
	StorageLocal:    {fields: []string{"path", "nodes"}},
}

func declarableTypes() func(func(string) bool) {
	return func(yield func(string) bool) {
		for t := range maps.Keys(declarationRules) {
			if !yield(string(t)) {
				return
			}
		}
	}
}

// Patterns of what stands in a declaration.
var (
	portPattern      = regexp.MustCompile(`^[1-9][0-9]{0,4}$`)
	sizePattern      = regexp.MustCompile(`^[1-9][0-9]{0,17}(\.[0-9]{1,3})?([KMGTPE]i|[kMGTPE])?$`)
	hostPattern      = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$`)
	containerPattern = regexp.MustCompile(`^[a-z0-9$]([a-z0-9-]{0,61}[a-z0-9])?$`)
	accountPattern   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	bucketPattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionPattern    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)
	secretKeyPattern = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
	credentialOption = regexp.MustCompile(`(?i)^(pass|password2?|pwd|cred|credentials|((account|access|storage)-?)*(key|(sas-?)?token)|secret|sig)$`)
)

// optionFields are the fields that may be said as options of the driver, too.
func (d *StorageDeclaration) optionFields() map[string]*string {
	return map[string]*string{"endpoint": &d.Endpoint, "prefix": &d.Prefix, "region": &d.Region, "server": &d.Server}
}

// takeOptions makes fields of the options. None is left, except those that are at fault.
func (d StorageDeclaration) takeOptions(rule declarationRule, faults *faultList) StorageDeclaration {
	var known []string
	for _, field := range rule.optional {
		if _, is := d.optionFields()[field]; is {
			known = append(known, field)
		}
	}
	if len(d.Options) > 0 && len(known) == 0 {
		faults.add("options", fmt.Sprintf("storages of type %s have none", d.Type))
		return d
	}
	left := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(d.Options)) {
		field := d.optionFields()[key]
		switch {
		case !slices.Contains(known, key):
			left[key] = d.Options[key]
			faults.add(fmt.Sprintf("options[%q]", clip(key)), fmt.Sprintf("unknown; the options of type %s are %s", d.Type, strings.Join(known, ", ")))
		case *field != "" && *field != d.Options[key]:
			faults.add("options."+key, "contradicts "+key)
		default:
			*field = d.Options[key]
		}
	}
	d.Options = left
	if len(left) == 0 {
		d.Options = nil
	}
	return d
}

// Fields returns the fields that say where the storage is by their names in the API, without those that are empty. None is a secret.
func (d StorageDeclaration) Fields() map[string]string {
	out := d.place()
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}

func (d StorageDeclaration) place() map[string]string {
	return map[string]string{"server": d.Server, "path": d.Path, "address": d.Address, "accountName": d.Account, "containerName": d.Container,
		"shareName": d.Share, "bucket": d.Bucket, "prefix": d.Prefix, "endpoint": d.Endpoint, "region": d.Region, "nodes": strings.Join(d.Nodes, ",")}
}

// checkFields compares the fields that say where the storage is with those that its type has.
func (d StorageDeclaration) checkFields(rule declarationRule, faults *faultList) {
	values := d.place()
	for _, field := range slices.Sorted(maps.Keys(values)) {
		value := values[field]
		needed := slices.Contains(rule.fields, field)
		switch {
		case needed && value == "":
			faults.add(field, fmt.Sprintf("missing; storages of type %s have one", d.Type))
		case value == "":
		case !needed && !slices.Contains(rule.optional, field):
			faults.add(field, fmt.Sprintf("storages of type %s have none", d.Type))
		default:
			if fault := fieldFault(field, value); fault != "" {
				faults.add(field, fault)
			}
		}
	}
}

// fieldFault says what is wrong with a value, "" when nothing is.
func fieldFault(field, value string) string {
	switch field {
	case "server":
		return hostFault(value)
	case "path":
		if !path.IsAbs(value) || hasDots(value) || strings.ContainsFunc(value, unprintable) || len(value) > 1024 {
			return shown(value) + ": expected an absolute path without \"..\" and control characters"
		}
	case "address":
		host, share, ok := strings.Cut(strings.TrimPrefix(value, "//"), "/")
		if !ok || !strings.HasPrefix(value, "//") || hostFault(host) != "" || share == "" || hasDots(share) ||
			strings.ContainsFunc(share, unprintable) || strings.ContainsAny(share, `\"`) || len(value) > 1024 {
			return shown(value) + ": expected //HOST/SHARE, or //HOST/SHARE/DIRECTORY"
		}
	case "accountName":
		if !accountPattern.MatchString(value) {
			return shown(value) + ": lower-case letters and digits only, 3 to 24"
		}
	case "bucket":
		if !bucketPattern.MatchString(value) || strings.Contains(value, "..") {
			return shown(value) + ": lower-case letters, digits, '-' and '.' only, 3 to 63"
		}
	case "prefix":
		return prefixFault(value)
	case "endpoint":
		return endpointFault(value)
	case "region":
		if !regionPattern.MatchString(value) {
			return shown(value) + ": letters, digits and '-' only, at most 64"
		}
	case "containerName", "shareName":
		if !containerPattern.MatchString(value) {
			return shown(value) + ": lower-case letters, digits and '-' only, at most 63"
		}
	case "nodes":
		for name := range strings.SplitSeq(value, ",") {
			if _, err := ParseStorageName(name); err != nil { // nodes are named by the same rule
				return fmt.Sprintf("%q is not the name of a node", clip(name))
			}
		}
	}
	return ""
}

func prefixFault(prefix string) string {
	for part := range strings.SplitSeq(prefix, "/") {
		if part == "" || part == "." || part == ".." {
			return shown(prefix) + ": expected names with / between them, without \"..\""
		}
	}
	if strings.ContainsFunc(prefix, unprintable) || strings.ContainsAny(prefix, `\,"`) || len(prefix) > 1024 {
		return shown(prefix) + ": commas, quotation marks, backslashes and control characters are not possible, and no more than 1024 bytes"
	}
	return ""
}

// endpointFault never quotes what may have a password or a signature in it.
func endpointFault(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Opaque != "" || len(text) > 1024:
		return "expected a URL such as https://s3.example.org"
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "a URL without a user, a password, \"?\" and \"#\": credentials belong into the secret"
	case hostFault(u.Hostname()) != "":
		return "expected a host name or an IP address in the URL"
	case u.Port() != "" && !portPattern.MatchString(u.Port()):
		return "expected a port between 1 and 65535 in the URL"
	case hasDots(u.Path) || strings.ContainsFunc(u.Path, func(r rune) bool { return unprintable(r) || r == ' ' || r == ',' || r == '"' }):
		return "the path in the URL has characters that cannot be"
	}
	return ""
}

func hostFault(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	if len(host) > 253 || !hostPattern.MatchString(host) {
		return shown(host) + ": expected a host name or an IP address"
	}
	return ""
}

// shown quotes a value for a message, unless it looks like an address with credentials.
func shown(value string) string {
	if strings.ContainsAny(value, "@?") {
		return "(withheld)"
	}
	return fmt.Sprintf("%q", clip(value))
}

func unprintable(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }

// checkOptions keeps options from being more than one option, and credentials from lying where everybody can read them.
func (d StorageDeclaration) checkOptions(faults *faultList) {
	for i, option := range d.MountOptions {
		field := fmt.Sprintf("mountOptions[%d]", i)
		switch {
		case option == "" || strings.Contains(option, ",") || strings.ContainsFunc(option, unprintable) || len(option) > 256:
			faults.add(field, "expected one option, without commas and control characters")
		case holdsCredential(option):
			faults.add(field, "credentials belong into the secret")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Options)) {
		switch {
		case !secretKeyPattern.MatchString(key) || strings.ContainsFunc(d.Options[key], unprintable) || len(d.Options[key]) > 1024:
			faults.add(fmt.Sprintf("options[%q]", clip(key)), "expected a name, and a value without control characters")
		case credentialOption.MatchString(key), holdsCredential(d.Options[key]):
			faults.add("options."+key, "credentials belong into the secret")
		}
	}
}

// holdsCredential looks for credentials in options, which may be several, and in the addresses that they have.
func holdsCredential(options string) bool {
	for _, word := range strings.FieldsFunc(options, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		key, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if credentialOption.MatchString(key) {
			return true
		}
	}
	return WithoutCredentials(options) != options
}

// withAccount puts the account's name into the new secret, so that the secret alone is enough wherever it is used.
func (d StorageDeclaration) withAccount(rule declarationRule, faults *faultList) StorageDeclaration {
	if rule.account == "" || d.Account == "" || len(d.Secret) == 0 {
		return d
	}
	switch d.Secret[rule.account] {
	case d.Account:
	case "":
		d.Secret = maps.Clone(d.Secret)
		d.Secret[rule.account] = d.Account
	default:
		faults.add("secret."+rule.account, "is another account than accountName: leave it out")
	}
	return d
}

// checkSecret compares the secret's keys with those that the type has. No value gets into a message.
func (d StorageDeclaration) checkSecret(rule declarationRule, faults *faultList) {
	given := len(d.Secret) > 0
	if d.Anonymous {
		switch {
		case !rule.anonymous:
			faults.add("anonymous", fmt.Sprintf("storages of type %s cannot be", d.Type))
		case given || d.SecretName != "":
			faults.add("anonymous", "not beside a secret: choose one")
		default:
			return
		}
	}
	switch {
	case rule.secrets == nil && (given || d.SecretName != ""):
		faults.add("secret", fmt.Sprintf("storages of type %s have none", d.Type))
		return
	case rule.secrets == nil:
		return
	case given && d.SecretName != "":
		faults.add("secretName", "not beside secret: choose one")
	case !given && d.SecretName == "":
		or := "or secretName"
		if rule.anonymous {
			or = "or secretName, or anonymous"
		}
		faults.add("secret", fmt.Sprintf("missing; storages of type %s need one with %s, %s", d.Type, d.keysText(rule), or))
	}
	if _, err := ParseStorageName(d.SecretName); d.SecretName != "" && err != nil { // Secrets are named by the same rule
		faults.add("secretName", "that cannot be the name of a Secret") // and may be what belongs into one
	}
	if !given {
		return
	}
	allowed := slices.Clone(rule.more)
	for _, choice := range rule.secrets {
		allowed = append(allowed, choice...)
		if !slices.ContainsFunc(choice, func(key string) bool { return d.Secret[key] != "" }) {
			faults.add("secret."+strings.Join(choice, " or "), "missing")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Secret)) {
		switch {
		case !slices.Contains(allowed, key):
			faults.add(fmt.Sprintf("secret[%q]", clip(key)), fmt.Sprintf("unknown; the keys are %s", d.keysText(rule)))
		case len(d.Secret[key]) > 4096 || strings.ContainsFunc(d.Secret[key], unprintable):
			faults.add("secret."+key, "too long, or with control characters")
		}
	}
}

// keysText names the keys that somebody has to think of.
func (d StorageDeclaration) keysText(rule declarationRule) string {
	var parts []string
	for _, choice := range rule.secrets {
		if d.Account == "" || choice[0] != rule.account {
			parts = append(parts, strings.Join(choice, " or "))
		}
	}
	return strings.Join(parts, " and ")
}

// faultList collects what is wrong with an order.
type faultList []string

func (l *faultList) add(field, fault string) { *l = append(*l, field+": "+fault) }

// err is InvalidParametersError with all faults, nil without any.
func (l faultList) err() error {
	if len(l) == 0 {
		return nil
	}
	return Errorf(InvalidParametersError, "%s", strings.Join(l, "; "))
}
