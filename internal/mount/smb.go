package mount

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// smbParameter is one that the kernel's cifs gets; without a value it is a flag.
type smbParameter struct{ name, value string }

// smbPlan is what the kernel is to be told.
type smbPlan struct {
	host       string
	source     string
	parameters []smbParameter
	attributes int // of the mount, MOUNT_ATTR_*
}

// forMount are options of mount.cifs that are no file system's, and the attributes of mounts that they come to.
var forMount = map[string]int{
	"nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC, "noatime": unix.MOUNT_ATTR_NOATIME,
	"suid": 0, "dev": 0, "exec": 0, "rw": 0, "_netdev": 0, "auto": 0, "noauto": 0, "users": 0, "user": 0, "defaults": 0, "relatime": 0, "nofail": 0, "guest": 0, "ro": 0,
}

// secretOptions come from the Secret and from nowhere else.
var secretOptions = []string{"pass", "password", "pass2", "password2", "cred", "credentials"}

// planSMB reads the options of mount.cifs(8) as the kernel wants them.
func planSMB(v Volume, s Secret) (smbPlan, error) {
	host, share, ok := strings.Cut(strings.TrimPrefix(v.Source, "//"), "/")
	if !ok || share == "" || host == "" {
		return smbPlan{}, fmt.Errorf("%s is no share: expected //HOST/SHARE", v.Source)
	}
	p := smbPlan{host: strings.Trim(host, "[]"), source: v.Source}
	set := func(name, value string) { p.parameters = append(p.parameters, smbParameter{name, value}) }
	p.account(v, s)
	for _, option := range v.Options {
		name, value, assigned := strings.Cut(option, "=")
		attribute, mounts := forMount[name]
		switch {
		case slices.Contains(secretOptions, name):
			return p, fmt.Errorf("mount option %s: it belongs into the Secret", name)
		case name == "username" || name == "user" && assigned, name == "ip", name == "addr", name == "unc", name == "prefixpath", name == "source":
			return p, fmt.Errorf("mount option %s: user and address come from the Secret and the share", name)
		case strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "comment"):
		case mounts && !assigned:
			p.attributes |= attribute
		case (name == "uid" || name == "gid" || name == "cruid" || name == "backupuid" || name == "backupgid") && assigned:
			if _, err := strconv.ParseUint(value, 10, 32); err != nil {
				return p, fmt.Errorf("mount option %s: expected a number, because names mean other people on each machine", name)
			}
			set(name, value)
		case name == "dom" || name == "workgroup":
			set("domain", value)
		case assigned:
			set(name, value)
		default:
			set(name, flagOnly)
		}
	}
	if v.ReadOnly || slices.Contains(v.Options, "ro") {
		set("ro", flagOnly)
		p.attributes |= unix.MOUNT_ATTR_RDONLY
	}
	for _, x := range p.parameters {
		if len(x.value) > longest {
			return p, fmt.Errorf("%s is longer than the %d bytes that the kernel takes; use a shorter one", x.name, longest)
		}
	}
	return p, nil
}

// longest is what fsconfig(2) takes as a value.
const longest = 255

// account sets who mounts. Without a name it is nobody, whom the kernel takes as an empty user; with Kerberos it is whom the ticket is of.
func (p *smbPlan) account(v Volume, s Secret) {
	set := func(name, value string) { p.parameters = append(p.parameters, smbParameter{name, value}) }
	user, domain := s["username"], s["domain"]
	if before, name, ok := strings.Cut(user, `\`); ok { // DOMAIN\user, as people write it on Windows; the kernel would send it as it is
		if user = name; domain == "" {
			domain = before
		}
	}
	kerberos := slices.ContainsFunc(v.Options, func(o string) bool { return strings.HasPrefix(o, "sec=krb5") })
	switch guest := slices.Contains(v.Options, "guest"); {
	case guest:
		set("user", "")
	case kerberos && user != "":
		set("user", user)
	case !kerberos:
		set("user", user)
		set("pass", s["password"])
	}
	if domain != "" {
		set("domain", domain)
	}
}

// flagOnly marks a parameter without a value; no value can have it, because it is not text.
const flagOnly = "\x00flag"

// mountSMB has the kernel mount a share. It may hang as long as the kernel does.
func mountSMB(ctx context.Context, target string, v Volume, s Secret) error {
	op := "mount " + v.Source
	plan, err := planSMB(v, s)
	if err != nil {
		return &Error{Op: op, Output: "mount error(22): Invalid argument: " + err.Error(), Err: err}
	}
	if err := needFilesystem(ctx, "cifs"); err != nil {
		return &Error{Op: op, Output: err.Error(), Err: err}
	}
	addresses, err := resolve(ctx, plan.host)
	if err != nil {
		return &Error{Op: op, Output: "mount error: could not resolve address for " + plan.host + ": no such host", Err: err}
	}
	var last error
	for _, address := range addresses {
		output, err := plan.try(ctx, target, address)
		if err == nil {
			return nil
		}
		last = &Error{Op: op, Output: output, Err: err}
		// Another address helps only when nobody was there.
		if !slices.ContainsFunc([]error{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ETIMEDOUT, unix.EHOSTDOWN, unix.EINPROGRESS}, func(e error) bool { return errors.Is(err, e) }) {
			break
		}
	}
	return last
}

// knock is how long a server may take to accept a connection.
const knock = 8 * time.Second

// try asks whether anybody is at an address before the kernel does, because the kernel takes longer to find out and says less.
func (p smbPlan) try(ctx context.Context, target, address string) (output string, err error) {
	port := "445"
	for _, x := range p.parameters {
		if x.name == "port" {
			port = x.value
		}
	}
	d := net.Dialer{Timeout: knock}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(address, port))
	if err == nil {
		_ = conn.Close()
		return p.mount(target, address)
	}
	number := unix.ETIMEDOUT
	_ = errors.As(err, &number)
	return fmt.Sprintf("mount error(%d): could not connect to %s: %s", number, address, describe(number)), number
}

// mount tries one address. output is what can be told of what went wrong, in the words of mount.cifs and the kernel.
func (p smbPlan) mount(target, address string) (output string, err error) {
	fs, err := unix.Fsopen("cifs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Sprintf("mount error(%d): unknown filesystem type 'cifs'", errno(err)), err
	}
	defer unix.Close(fs)
	parameters := append([]smbParameter{{"source", p.source}, {"ip", address}}, p.parameters...)
	for _, x := range parameters {
		if x.value == flagOnly {
			err = unix.FsconfigSetFlag(fs, x.name)
		} else {
			err = unix.FsconfigSetString(fs, x.name, x.value)
		}
		if err != nil {
			// The kernel repeats values in its messages: not here, where one may be a password.
			return fmt.Sprintf("mount error(%d): bad option %s", errno(err), x.name), err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return p.said(fs, address, err), err
	}
	tree, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, p.attributes)
	if err != nil {
		return p.said(fs, address, err), err
	}
	defer unix.Close(tree)
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Sprintf("mount error(%d): %s", errno(err), describe(err)), err
	}
	return "", nil
}

// said puts together the number and the kernel's own words.
func (p smbPlan) said(fs int, address string, err error) string {
	text := fmt.Sprintf("mount error(%d): %s", errno(err), describe(err))
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.ETIMEDOUT):
		text += ": could not connect to " + address
	}
	for _, line := range kernelLog(fs) {
		text += "\n" + line
	}
	return text
}

// kernelLog reads what the kernel says about a file system context: lines such as "e CIFS: VFS: ...".
func kernelLog(fs int) (lines []string) {
	buffer := make([]byte, 1024)
	for len(lines) < 8 {
		n, err := unix.Read(fs, buffer)
		if err != nil || n <= 0 {
			return lines
		}
		_, text, _ := strings.Cut(strings.TrimSpace(string(buffer[:n])), " ")
		lines = append(lines, text)
	}
	return lines
}

func errno(err error) int {
	var number unix.Errno
	if errors.As(err, &number) {
		return int(number)
	}
	return 0
}

// describe is the C library's text for an error, which is what people look for.
func describe(err error) string {
	texts := map[unix.Errno]string{
		unix.EACCES: "Permission denied", unix.EPERM: "Operation not permitted", unix.ENOENT: "No such file or directory", unix.ETIMEDOUT: "Connection timed out",
		unix.ECONNREFUSED: "Connection refused", unix.EHOSTUNREACH: "No route to host", unix.ENETUNREACH: "Network is unreachable", unix.EHOSTDOWN: "Host is down",
		unix.EINVAL: "Invalid argument", unix.EIO: "Input/output error", unix.EBUSY: "Device or resource busy", unix.ENODEV: "No such device", unix.EOPNOTSUPP: "Operation not supported",
		unix.EROFS: "Read-only file system", unix.ENOSPC: "No space left on device", unix.EDQUOT: "Disk quota exceeded", unix.ESTALE: "Stale file handle", unix.ENOTCONN: "Transport endpoint is not connected",
		unix.EKEYREJECTED: "Key was rejected by service: wrong password", unix.EKEYEXPIRED: "Key has expired", unix.ENOTDIR: "Not a directory",
	}
	var number unix.Errno
	if errors.As(err, &number) && texts[number] != "" {
		return texts[number]
	}
	return err.Error()
}

// resolve finds the addresses of a host.
func resolve(ctx context.Context, host string) ([]string, error) {
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range list {
		out = append(out, a.Unmap().String())
	}
	return out, nil
}

// needFilesystem has the kernel load what a file system needs.
func needFilesystem(ctx context.Context, name string) error {
	if hasFilesystem(name) {
		return nil
	}
	out, err := exec.CommandContext(ctx, "modprobe", name).CombinedOutput()
	if hasFilesystem(name) {
		return nil
	}
	if err == nil {
		err = errors.New("the kernel does not have it")
	}
	return fmt.Errorf("unknown filesystem type '%s': %v %s", name, err, strings.TrimSpace(string(out)))
}

func hasFilesystem(name string) bool {
	text, err := os.ReadFile("/proc/filesystems")
	return err == nil && slices.Contains(strings.Fields(string(text)), name)
}
