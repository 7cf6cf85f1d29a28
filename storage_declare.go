package pai

import (
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// StorageDeclaration is the short description of a storage to be made. Which fields belong to it depends on its type:
//
//	nfs        Server, Path
//	samba      Address ("//host/share"), and a secret with username and password, domain if need be
//	azureBlob  Container, and a secret with accountname and accountkey or accountsastoken
//	azureFile  Share, and a secret with azurestorageaccountname and azurestorageaccountkey
//	hostPath   Path
//	local      Path, Nodes
type StorageDeclaration struct {
	Name         StorageName
	Type         StorageType
	Server       string
	Path         string
	Address      string
	Container    string
	Share        string
	Nodes        []string // the workers that have a local path
	Size         string   // such as 10Gi; "" for 10Gi. Only dynamic provisioners look at it
	Personal     bool     // each user sees only a folder of the user's own
	ReadOnly     bool
	MountOptions []string
	Options      map[string]string // more for the volume's driver, as it names them
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
	d.checkFields(rule, &faults)
	if d.ReadOnly && (d.Type == StorageHostPath || d.Type == StorageLocal) {
		faults.add("readOnly", fmt.Sprintf("Kubernetes has no read-only volumes of type %s", d.Type))
	}
	if !sizePattern.MatchString(d.Size) {
		faults.add("size", fmt.Sprintf("%q: expected a size such as 10Gi", clip(d.Size)))
	}
	d.checkOptions(&faults)
	d.checkSecret(rule, &faults)
	return d, faults.err()
}

// declarationRule is what a type needs.
type declarationRule struct {
	fields  []string   // of the declaration
	secrets [][]string // the keys that a secret has, one of each list; nil when the type takes none
	more    []string   // keys that it may have besides
}

var declarationRules = map[StorageType]declarationRule{
	StorageNFS:       {fields: []string{"server", "path"}},
	StorageSamba:     {fields: []string{"address"}, secrets: [][]string{{"username"}, {"password"}}, more: []string{"domain"}},
	StorageAzureBlob: {fields: []string{"containerName"}, secrets: [][]string{{"accountname"}, {"accountkey", "accountsastoken"}}},
	StorageAzureFile: {fields: []string{"shareName"}, secrets: [][]string{{"azurestorageaccountname"}, {"azurestorageaccountkey"}}},
	StorageHostPath:  {fields: []string{"path"}},
	StorageLocal:     {fields: []string{"path", "nodes"}},
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
	sizePattern      = regexp.MustCompile(`^[1-9][0-9]{0,17}(\.[0-9]{1,3})?([KMGTPE]i|[kMGTPE])?$`)
	hostPattern      = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$`)
	containerPattern = regexp.MustCompile(`^[a-z0-9$]([a-z0-9-]{0,61}[a-z0-9])?$`)
	secretKeyPattern = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
	credentialOption = regexp.MustCompile(`(?i)^(pass|password2?|pwd|cred|credentials|((account|access|storage)-?)*(key|(sas-?)?token)|secret|sig)$`)
)

// checkFields compares the fields that say where the storage is with those that its type has.
func (d StorageDeclaration) checkFields(rule declarationRule, faults *faultList) {
	values := map[string]string{"server": d.Server, "path": d.Path, "address": d.Address, "containerName": d.Container, "shareName": d.Share,
		"nodes": strings.Join(d.Nodes, ",")}
	for _, field := range slices.Sorted(maps.Keys(values)) {
		needed, value := slices.Contains(rule.fields, field), values[field]
		switch {
		case needed && value == "":
			faults.add(field, fmt.Sprintf("missing; storages of type %s have one", d.Type))
		case !needed && value != "":
			faults.add(field, fmt.Sprintf("storages of type %s have none", d.Type))
		case needed:
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
			return shown(value) + ": expected //HOST/SHARE"
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
	if flex := d.Type == StorageSamba || d.Type == StorageAzureBlob; len(d.Options) > 0 && !flex {
		faults.add("options", fmt.Sprintf("storages of type %s have none", d.Type))
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

// checkSecret compares the secret's keys with those that the type has. No value gets into a message.
func (d StorageDeclaration) checkSecret(rule declarationRule, faults *faultList) {
	given := len(d.Secret) > 0
	switch {
	case rule.secrets == nil && (given || d.SecretName != ""):
		faults.add("secret", fmt.Sprintf("storages of type %s have none", d.Type))
		return
	case rule.secrets == nil:
		return
	case given && d.SecretName != "":
		faults.add("secretName", "not beside secret: choose one")
	case !given && d.SecretName == "":
		faults.add("secret", fmt.Sprintf("missing; storages of type %s need one with %s, or secretName", d.Type, keysText(rule.secrets)))
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
			faults.add(fmt.Sprintf("secret[%q]", clip(key)), fmt.Sprintf("unknown; the keys are %s", keysText(rule.secrets)))
		case len(d.Secret[key]) > 4096 || strings.ContainsFunc(d.Secret[key], unprintable):
			faults.add("secret."+key, "too long, or with control characters")
		}
	}
}

func keysText(choices [][]string) string {
	var parts []string
	for _, choice := range choices {
		parts = append(parts, strings.Join(choice, " or "))
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
