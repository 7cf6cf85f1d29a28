package fileserver

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"slices"
	"strings"
	"unicode/utf16"

	//lint:ignore SA1019 SMB's accounts are made of it
	"golang.org/x/crypto/md4"
)

// Hash is the NT hash of a password: 32 hexadecimal digits, as good as the password itself. It prints as "[redacted]".
type Hash string

// String hides the hash.
func (Hash) String() string { return "[redacted]" }

// GoString hides the hash.
func (Hash) GoString() string { return "[redacted]" }

// LogValue hides the hash.
func (Hash) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// NTHash is what Samba compares passwords with: MD4 of the password in UTF-16.
func NTHash(password string) Hash {
	h := md4.New()
	for _, unit := range utf16.Encode([]rune(password)) {
		h.Write(binary.LittleEndian.AppendUint16(nil, unit))
	}
	return Hash(strings.ToUpper(hex.EncodeToString(h.Sum(nil))))
}

// Account is someone who may sign in at the SMB server with a password.
type Account struct {
	Name string
	Hash Hash
}

// Refused is an account that cannot be on the server, and why.
type Refused struct {
	Name string
	Err  error
}

// Accounts are the ones that the server itself knows. NewAccounts makes them.
type Accounts struct {
	shared, probe Account
	users         []unixAccount // ordered by name
	uid, gid      int
	homes         string
}

type unixAccount struct {
	Account
	uid uint32
}

// NewAccounts takes the shared user, with the uid and gid that everybody acts as, the probe's account, and one account for each of the
// users, whose folders lie in the given directory. Users who cannot have an account are returned with the reason; the others are not
// affected. In a domain there are no users here: the controllers know them.
func NewAccounts(shared, probe Account, uid, gid int, homes string, users []Account) (Accounts, []Refused, error) {
	a := Accounts{shared: shared, probe: probe, uid: uid, gid: gid, homes: homes}
	if strings.EqualFold(shared.Name, probe.Name) {
		return a, nil, fmt.Errorf("the shared user and the probe's are both called %q", shared.Name)
	}
	for what, account := range map[string]Account{"shared user": shared, "probe user": probe} {
		if err := account.check(); err != nil {
			return a, nil, fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := checkIDs(uid, gid); err != nil {
		return a, nil, err
	}
	if err := checkSMBPath("directory of homes", homes); err != nil {
		return a, nil, err
	}
	good, refused := a.sort(users)
	a.users = number(good)
	return a, refused, nil
}

func checkIDs(uid, gid int) error {
	for _, id := range []int{uid, gid} {
		if id < 1 || id >= firstUID || id == nobodyID {
			return fmt.Errorf("uid %d and gid %d of the shared user: give numbers in 1..%d, and not nobody's", uid, gid, firstUID-1)
		}
	}
	return nil
}

// sort says which of the users can have an account.
func (a Accounts) sort(users []Account) (good []Account, refused []Refused) {
	same := map[string][]string{}
	for _, u := range users {
		key := strings.ToLower(u.Name)
		same[key] = append(same[key], u.Name)
	}
	for _, u := range users {
		err := u.check()
		switch names := same[strings.ToLower(u.Name)]; {
		case err != nil:
		case strings.EqualFold(u.Name, a.shared.Name):
			err = fmt.Errorf("%s is the name of the shared user; change smbuser, or give the user another name", u.Name)
		case strings.EqualFold(u.Name, a.probe.Name):
			err = fmt.Errorf("%s is the name of the account that health checks use; give the user another name", u.Name)
		case len(names) > 1:
			err = fmt.Errorf("%s are the same to SMB, which does not tell upper from lower case; give all but one of them another name", strings.Join(names, " and "))
		}
		if err != nil {
			refused = append(refused, Refused{u.Name, err})
		} else {
			good = append(good, u)
		}
	}
	return good, refused
}

// reserved are the names that the system itself needs.
var reserved = []string{"root", "nobody"}

// nobodyGroup is the group of accounts that own nothing.
const nobodyGroup = "nogroup"

// maxLocalName is the longest name of a user; Samba's account file has room for 150.
const maxLocalName = 126

func checkLocalName(name string) error {
	switch {
	case !localName.MatchString(name) || name == "." || name == ".." || len(name) > maxLocalName:
		return fmt.Errorf("%.130q cannot be an account: letters, digits, '_', '-' and '.' only, at most %d, and not '.' or '..'", name, maxLocalName)
	case slices.Contains(reserved, strings.ToLower(name)):
		return fmt.Errorf("%s is an account of the system; give the user another name", name)
	}
	return nil
}

func (a Account) check() error {
	if err := checkLocalName(a.Name); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(string(a.Hash)); err != nil || len(raw) != md4.Size {
		return errors.New("the NT hash of " + a.Name + "'s password is not 32 hexadecimal digits")
	}
	return nil
}

// Uids of accounts. They own no files: they tell accounts apart, and Samba computes an account's identity from them, which has to stay
// the same for as long as a client may come back for its open files. So they come from the name, and not from a counter.
const (
	firstUID = 0x10000000
	uids     = 0x20000000
	nobodyID = 65534
)

func number(users []Account) []unixAccount {
	users = slices.Clone(users)
	slices.SortFunc(users, func(a, b Account) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	taken := make(map[uint32]bool, len(users))
	list := make([]unixAccount, len(users))
	for i, u := range users {
		sum := sha256.Sum256([]byte(strings.ToLower(u.Name)))
		offset := binary.BigEndian.Uint32(sum[:]) % uids
		for taken[offset] {
			offset = (offset + 1) % uids
		}
		taken[offset] = true
		list[i] = unixAccount{u, firstUID + offset}
	}
	return list
}

// probeUID is next to the users' uids.
const probeUID = firstUID + uids

// Passwd is the server's /etc/passwd: nobody can log in with it. A user's home directory is what [Homes] makes.
func (a Accounts) Passwd() []byte {
	var b bytes.Buffer
	line := func(name string, uid uint32, gid int, home string) {
		fmt.Fprintf(&b, "%s:x:%d:%d::%s:/usr/sbin/nologin\n", name, uid, gid, home)
	}
	line("root", 0, 0, "/root")
	line("nobody", nobodyID, nobodyID, "/nonexistent")
	line(a.shared.Name, uint32(a.uid), a.gid, "/nonexistent")
	line(a.probe.Name, probeUID, nobodyID, "/nonexistent")
	for _, u := range a.users {
		line(u.Name, u.uid, nobodyID, path.Join(a.homes, u.Name))
	}
	return b.Bytes()
}

// Group is the server's /etc/group.
func (a Accounts) Group() []byte {
	return fmt.Appendf(nil, "root:x:0:\n%s:x:%d:\n%s:x:%d:\n", nobodyGroup, nobodyID, a.shared.Name, a.gid)
}

// SMBPasswd is Samba's account file, which holds what is as good as the passwords.
func (a Accounts) SMBPasswd() []byte {
	var b bytes.Buffer
	line := func(account Account, uid uint32) {
		// No LANMAN hash. The password was last changed in 2038, which makes Samba refuse to change it again: it would write into this file.
		fmt.Fprintf(&b, "%s:%d:%s:%s:[U          ]:LCT-7FFFFFFF:\n", account.Name, uid, strings.Repeat("X", 32), strings.ToUpper(string(account.Hash)))
	}
	line(a.shared, uint32(a.uid))
	line(a.probe, probeUID)
	for _, u := range a.users {
		line(u.Account, u.uid)
	}
	return b.Bytes()
}
