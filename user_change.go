package pai

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"slices"
	"strings"
)

// ReservedUserName cannot be the name of a new user: /users/me is the caller's own record.
const ReservedUserName UserName = "me"

// maxExtension bounds a user's extension, in bytes of JSON. Kubernetes takes no Secret beyond a megabyte.
const maxExtension = 256 << 10

// NewUser is the order to create a user.
type NewUser struct {
	Name            UserName
	Password        Password
	Email           string
	Admin           bool
	VirtualClusters []string // the user joins the group of that name for each
	Extension       map[string]any
}

// Check names every fault of the order with InvalidParametersError.
func (n NewUser) Check() error {
	var f faults
	if _, err := ParseUserName(string(n.Name)); err != nil {
		f.add("username", err.Error())
	}
	if n.Name == ReservedUserName {
		f.add("username", `"me" is reserved: it stands for whoever asks`)
	}
	f.password("password", n.Password)
	f.email(n.Email)
	f.extension(n.Extension)
	return f.err()
}

// Groups are those that the order makes the user a member of; group finds one. NoVirtualClusterError, NoGroupError.
func (n NewUser) Groups(group func(GroupName) (Group, bool)) ([]GroupName, error) {
	joined, err := virtualClusterGroups(n.VirtualClusters, group)
	if err != nil {
		return nil, err
	}
	groups := appendNew([]GroupName{DefaultGroup}, joined...)
	if n.Admin {
		return withAdmin(groups, group)
	}
	return groups, nil
}

// UserChange is a change of one user by an administrator.
type UserChange struct {
	Name            UserName
	Email           *string        // nil: not given
	Password        *Password      // nil: not given
	Admin           *bool          // nil: not given
	VirtualClusters []string       // nil: not given; replaces the memberships of virtual clusters' groups, "default" excepted
	Extension       map[string]any // nil: not given
	Patch           bool           // keep what is not given, and merge extensions deeply; otherwise everything must be given
	Version         string         // when not "", the change holds for this version of the user only
}

// Check names every fault of the change with InvalidParametersError.
func (c UserChange) Check() error {
	var f faults
	if !c.Patch {
		f.required(map[string]bool{"email": c.Email != nil, "virtualCluster": c.VirtualClusters != nil, "admin": c.Admin != nil,
			"password": c.Password != nil, "extension": c.Extension != nil})
	}
	if c.Email != nil {
		f.email(*c.Email)
	}
	if c.Password != nil {
		f.password("password", *c.Password)
	}
	f.extension(c.Extension)
	return f.err()
}

// CheckExtension is Check where an identity provider decides over the rest: a change of the extension is all that there is.
func (c UserChange) CheckExtension() error {
	var f faults
	for field, given := range map[string]bool{"email": c.Email != nil, "virtualCluster": c.VirtualClusters != nil, "admin": c.Admin != nil, "password": c.Password != nil} {
		if given {
			f.add(field, "the identity provider decides over this")
		}
	}
	slices.Sort(f)
	if !c.Patch {
		f.required(map[string]bool{"extension": c.Extension != nil})
	}
	f.extension(c.Extension)
	return f.err()
}

// SelfChange is a change that users make of their own record. What decides over rights is not in it.
type SelfChange struct {
	Name        UserName       // the caller's
	Email       *string        // nil: not given
	OldPassword *Password      // required with a new one
	NewPassword *Password      // nil: not given
	Extension   map[string]any // nil: not given
	Patch       bool           // as in [UserChange]
	Version     string         // as in [UserChange]
}

// Check names every fault of the change with InvalidParametersError.
func (c SelfChange) Check() error {
	var f faults
	if !c.Patch {
		f.required(map[string]bool{"email": c.Email != nil, "newPassword": c.NewPassword != nil, "extension": c.Extension != nil})
	}
	if c.Email != nil {
		f.email(*c.Email)
	}
	if c.NewPassword != nil {
		f.password("newPassword", *c.NewPassword)
		if c.OldPassword == nil {
			f.add("oldPassword", "required with newPassword")
		}
	}
	f.extension(c.Extension)
	return f.err()
}

// UserChange is the change without the old password, which must have been verified.
func (c SelfChange) UserChange() UserChange {
	return UserChange{Name: c.Name, Email: c.Email, Password: c.NewPassword, Extension: c.Extension, Patch: c.Patch, Version: c.Version}
}

// Apply returns the user as change c makes it, the password excepted, and leaves u as it is; group finds a group. A private key that c does
// not mention stays even when c replaces everything, because nobody can have read it before. InvalidParametersError, NoVirtualClusterError,
// NoGroupError.
func (u User) Apply(c UserChange, group func(GroupName) (Group, bool)) (User, error) {
	out := u
	if c.Email != nil {
		out.Email = *c.Email
	}
	switch {
	case c.Extension == nil:
	case c.Patch:
		out.Extension = merge(u.Extension, c.Extension)
	default:
		out.Extension = merge(privateOf(u.Extension), c.Extension)
	}
	var f faults
	f.extension(out.Extension)
	err := f.err()
	if err == nil && c.VirtualClusters != nil {
		out.Groups, err = withVirtualClusters(out.Groups, c.VirtualClusters, group)
	}
	if err == nil && c.Admin != nil && *c.Admin {
		out.Groups, err = withAdmin(out.Groups, group)
	}
	if err == nil && c.Admin != nil && !*c.Admin {
		out.Groups, err = withoutAdmin(out.Groups, group)
	}
	return out, err
}

// virtualClusterGroups are the groups that stand for virtual clusters: those of the same name that grant them, and no more than that.
func virtualClusterGroups(names []string, group func(GroupName) (Group, bool)) ([]GroupName, error) {
	var out []GroupName
	for _, vc := range names {
		g, ok := group(GroupName(vc))
		if !ok || !g.isVirtualCluster() {
			return nil, Errorf(NoVirtualClusterError, "Virtual cluster %s is not found.", clip(vc))
		}
		out = appendNew(out, g.Name)
	}
	return out, nil
}

// isVirtualCluster tells whether the group is the one of the virtual cluster of its name.
func (g Group) isVirtualCluster() bool {
	acls := g.ACLs()
	return !acls.Admin && slices.Contains(acls.VirtualClusters, string(g.Name))
}

func withVirtualClusters(groups []GroupName, names []string, group func(GroupName) (Group, bool)) ([]GroupName, error) {
	wanted, err := virtualClusterGroups(names, group)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(slices.Clone(groups), func(name GroupName) bool {
		g, ok := group(name)
		return ok && name != DefaultGroup && g.isVirtualCluster() && !slices.Contains(wanted, name)
	})
	return appendNew(kept, wanted...), nil
}

// withAdmin adds what makes an administrator, unless a group does already.
func withAdmin(groups []GroupName, group func(GroupName) (Group, bool)) ([]GroupName, error) {
	if len(adminGroups(groups, group)) > 0 {
		return groups, nil
	}
	if g, ok := group(AdminGroup); !ok || !g.ACLs().Admin {
		return nil, Errorf(NoGroupError, "There is no group %s with acls.admin, so it can make nobody an administrator.", AdminGroup)
	}
	return appendNew(slices.Clone(groups), AdminGroup), nil
}

func withoutAdmin(groups []GroupName, group func(GroupName) (Group, bool)) ([]GroupName, error) {
	left := slices.DeleteFunc(slices.Clone(groups), func(name GroupName) bool { return name == AdminGroup })
	if others := adminGroups(left, group); len(others) > 0 {
		return nil, Errorf(InvalidParametersError, "admin: the user is an administrator as a member of %s, too; end that membership instead",
			strings.Join(others, ", "))
	}
	return left, nil
}

// adminGroups are the names of those groups that make administrators.
func adminGroups(groups []GroupName, group func(GroupName) (Group, bool)) []string {
	var out []string
	for _, name := range groups {
		if g, ok := group(name); ok && g.ACLs().Admin {
			out = append(out, string(name))
		}
	}
	return out
}

// faults collects what is wrong with an order, so that people learn of all at once.
type faults []string

func (f *faults) add(field, fault string) { *f = append(*f, field+": "+fault) }

func (f *faults) password(field string, p Password) {
	if len(p) < minPasswordLength || len(p) > maxPasswordLength {
		f.add(field, fmt.Sprintf("at least %d characters, at most %d", minPasswordLength, maxPasswordLength))
	}
}

func (f *faults) email(email string) {
	if email == "" {
		return
	}
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || len(email) > 254 {
		f.add("email", "expected an email address or nothing")
	}
}

func (f *faults) extension(v map[string]any) {
	if text, err := json.Marshal(v); err != nil || len(text) > maxExtension {
		f.add("extension", fmt.Sprintf("at most %d KiB", maxExtension>>10))
	}
}

// required names the fields that are not given, sorted.
func (f *faults) required(given map[string]bool) {
	for _, field := range slices.Sorted(maps.Keys(given)) {
		if !given[field] {
			f.add(field, "required unless patch is true")
		}
	}
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return Errorf(InvalidParametersError, "%s", strings.Join(f, "; "))
}
