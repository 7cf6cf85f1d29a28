package volume

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/pai-storage/pai-storage/internal/mount"
)

func control(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }

// clip keeps a message short.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

var (
	hostPattern      = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?$`)
	containerPattern = regexp.MustCompile(`^[a-z0-9$][a-z0-9.-]{1,61}[a-z0-9]$`)
	accountPattern   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

func checkHost(field, host string) error {
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && (addr.Zone() == "" || hostPattern.MatchString(addr.Zone())) {
		return nil // a zone may be anything for the parser
	}
	if strings.ContainsAny(host, "@:?") { // USER:PASSWORD@HOST is not for messages
		return fmt.Errorf("%s: expected a host name or address, without a user and a port", field)
	}
	if len(host) > 253 || !hostPattern.MatchString(host) {
		return fmt.Errorf("%s: %q is no host name or address", field, clip(host))
	}
	return nil
}

// cleanPath checks a path inside of a share or a bucket, which may be empty.
func cleanPath(field, path string) (string, error) {
	path = strings.Trim(path, "/")
	if strings.ContainsFunc(path, control) || strings.ContainsAny(path, `\"`) || len(path) > 1024 ||
		slices.ContainsFunc(strings.Split(path, "/"), func(part string) bool { return part == ".." || part == "." }) {
		return "", fmt.Errorf(`%s: a directory has no "..", quotes, backslashes and control characters`, field)
	}
	return path, nil
}

// smbSource reads //HOST/SHARE[/DIRECTORY], with slashes of either kind.
func smbSource(field, text, more string) (string, error) {
	text = strings.ReplaceAll(text, `\`, "/")
	if text == "" {
		return "", fmt.Errorf("%s: missing; expected //HOST/SHARE", field)
	}
	host, rest, ok := strings.Cut(strings.TrimPrefix(text, "//"), "/")
	if !ok || !strings.HasPrefix(text, "//") {
		return "", fmt.Errorf("%s: expected //HOST/SHARE", field)
	}
	if err := checkHost(field, host); err != nil {
		return "", err
	}
	path, err := cleanPath(field, rest+"/"+more)
	if err != nil {
		return "", err
	}
	if strings.Contains(path, ",") {
		return "", fmt.Errorf("%s: a share has no comma", field)
	}
	if path == "" {
		return "", fmt.Errorf("%s: expected //HOST/SHARE", field)
	}
	return "//" + host + "/" + path, nil
}

// objectSource reads the name of a container or bucket and a directory in it.
func objectSource(field, name, prefix string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("%s: missing", field)
	}
	if !containerPattern.MatchString(name) {
		return "", fmt.Errorf("%s: %q is no name of a container: lower-case letters, digits, '-' and '.', 3 to 63", field, clip(name))
	}
	prefix, err := cleanPath("prefix", prefix)
	if err != nil || prefix == "" {
		return name, err
	}
	return name + "/" + prefix, nil
}

// endpoint checks the address of an object store. A host alone is one with TLS.
func endpoint(field, text string) (string, error) {
	if text == "" {
		return "", nil
	}
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ContainsFunc(text, control):
		return "", fmt.Errorf("%s: expected a URL such as https://objects.example.org", field)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%s: a URL without credentials and parameters", field)
	}
	return strings.TrimRight(text, "/"), nil
}

// credentialOptions of mounts, which belong into the Secret.
var credentialOptions = []string{"pass", "password", "password2", "pass2", "cred", "credentials", "key", "accountkey", "secret", "sig", "sas", "token", "sastoken"}

// mountOptions checks options one by one.
func mountOptions(list []string) ([]string, error) {
	var out []string
	for _, text := range list {
		for option := range strings.SplitSeq(text, ",") {
			option = strings.TrimSpace(option)
			name, value, _ := strings.Cut(option, "=")
			switch {
			case option == "":
				continue
			case (name == "user" || name == "username") && strings.Contains(value, "%"):
				return nil, fmt.Errorf("mount options: %s has a password behind its %%, which belongs into the Secret", name)
			case strings.ContainsFunc(option, control) || len(option) > 256:
				return nil, errors.New("mount options: one has control characters, or is too long")
			case slices.Contains(credentialOptions, strings.ToLower(strings.ReplaceAll(name, "-", ""))):
				return nil, fmt.Errorf("mount options: %s belongs into the Secret", clip(name))
			}
			out = append(out, option)
		}
	}
	return out, nil
}

// NFS is an NFS export. The path is one of the server's.
func NFS(server, path string, options []string, readOnly bool) (mount.Volume, error) {
	if err := checkHost("server", server); err != nil {
		return mount.Volume{}, err
	}
	if !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, control) || len(path) > 1024 {
		return mount.Volume{}, errors.New("path: expected an absolute path without control characters")
	}
	if addr, err := netip.ParseAddr(server); err == nil && addr.Is6() {
		server = "[" + server + "]"
	}
	list, err := mountOptions(options)
	return mount.Volume{Kind: mount.NFS, Source: server + ":" + path, Options: list, ReadOnly: readOnly || slices.Contains(list, "ro")}, err
}
