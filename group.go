package pai

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// GroupName is the name of a group.
type GroupName string

// The groups that every cluster has.
const (
	DefaultGroup GroupName = "default"    // every user is a member
	AdminGroup   GroupName = "admingroup" // its members are administrators
)

// maxNameLength keeps the hexadecimal form of a name within the 253 characters of a Kubernetes name.
const maxNameLength = 126

// ParseGroupName checks that s can name a group: 1 to 126 bytes of printable text without "/". That is more than [ParseUserName] takes. Groups
// are named for people, often as they are at an identity provider, and nothing else is made of the name. A user's name is also a folder, an
// account at file servers, and a part of the names of jobs.
func ParseGroupName(s string) (GroupName, error) {
	bad := s == "" || s == "." || s == ".." || len(s) > maxNameLength || !utf8.ValidString(s) || strings.TrimSpace(s) != s ||
		strings.ContainsFunc(s, func(r rune) bool { return r == '/' || !unicode.IsPrint(r) })
	if bad {
		return "", Errorf(InvalidParametersError, "%q cannot be the name of a group: printable text without '/', at most %d bytes", clip(s), maxNameLength)
	}
	return GroupName(s), nil
}

// Group is a set of users, and what they were granted.
type Group struct {
	Name         GroupName
	Description  string
	ExternalName string         // the group's name at the identity provider
	Extension    map[string]any // "acls", and whatever else clients keep there
	Version      string         // changes with every change of the group
}

// ACLs is what a group grants to its members: the value of "acls" in its extension.
type ACLs struct {
	Admin           bool
	VirtualClusters []string
	StorageConfigs  []StorageName // the first one that exists is a default storage of the members
}

// ACLs reads what the group grants. Whatever is absent or of the wrong type grants nothing.
func (g Group) ACLs() ACLs {
	raw, _ := g.Extension["acls"].(map[string]any)
	admin, _ := raw["admin"].(bool)
	acls := ACLs{Admin: admin, VirtualClusters: stringsIn(raw["virtualClusters"])}
	for _, s := range stringsIn(raw["storageConfigs"]) {
		acls.StorageConfigs = append(acls.StorageConfigs, StorageName(s))
	}
	return acls
}

func stringsIn(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// GroupChange is a change of one group.
type GroupChange struct {
	Name         GroupName
	Description  *string        // nil: not given
	ExternalName *string        // nil: not given
	Extension    map[string]any // nil: not given
	Patch        bool           // keep what is not given, and merge extensions deeply; otherwise replace everything
	Version      string         // when not "", the change holds for this version of the group only
}

// Apply returns the group as change c makes it, and leaves g as it is. InvalidParametersError names every fault of the result's acls that
// g does not have already: records of old may have some, and whoever changes a description is not asked to mend them.
func (g Group) Apply(c GroupChange) (Group, error) {
	out := Group{Name: g.Name, Version: g.Version}
	if c.Patch {
		out.Description, out.ExternalName = g.Description, g.ExternalName
		out.Extension = merge(g.Extension, c.Extension)
	} else {
		out.Extension = merge(nil, c.Extension)
	}
	if c.Description != nil {
		out.Description = *c.Description
	}
	if c.ExternalName != nil {
		out.ExternalName = *c.ExternalName
	}
	if err := out.checkACLs(g); err != nil {
		return out, err
	}
	if g.Name == AdminGroup && g.ACLs().Admin && !out.ACLs().Admin {
		return out, Errorf(ForbiddenUserError, "Group %s must keep acls.admin: without it there would be no administrator left to undo this.", AdminGroup)
	}
	return out, nil
}

// NewGroup checks the order to make a group, and fills in what it leaves out. InvalidParametersError names every fault.
func NewGroup(name GroupName, c GroupChange) (Group, error) {
	if _, err := ParseGroupName(string(name)); err != nil {
		return Group{}, err
	}
	nothing := map[string]any{"acls": map[string]any{"admin": false, "virtualClusters": []any{}, "storageConfigs": []any{}}}
	c.Patch = true
	return Group{Name: name, Extension: nothing}.Apply(c)
}

// Granted returns the group with one more storage, and whether that is a change.
func (g Group) Granted(name StorageName) (Group, bool) {
	storages := g.ACLs().StorageConfigs
	if slices.Contains(storages, name) {
		return g, false
	}
	return g.withStorages(append(storages, name)), true
}

// Revoked returns the group with one storage less, and whether that is a change.
func (g Group) Revoked(name StorageName) (Group, bool) {
	storages := g.ACLs().StorageConfigs
	if !slices.Contains(storages, name) {
		return g, false
	}
	return g.withStorages(slices.DeleteFunc(storages, func(s StorageName) bool { return s == name })), true
}

func (g Group) withStorages(names []StorageName) Group {
	list := make([]any, len(names))
	for i, name := range names {
		list[i] = string(name)
	}
	g.Extension = merge(g.Extension, map[string]any{"acls": map[string]any{"storageConfigs": list}})
	return g
}

// merge returns old with change laid over it: objects are merged key by key, null deletes a key, and everything else, lists included,
// replaces what was there. Neither argument is modified, and the result is never nil.
func merge(old, change map[string]any) map[string]any {
	out := maps.Clone(old)
	if out == nil {
		out = map[string]any{}
	}
	for key, value := range change {
		object, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(out, key)
		case isObject:
			before, _ := out[key].(map[string]any)
			out[key] = merge(before, object)
		default:
			out[key] = value
		}
	}
	return out
}

// checkACLs judges what is in the acls and was not before.
func (g Group) checkACLs(before Group) error {
	value, given := g.Extension["acls"]
	if !given || reflect.DeepEqual(value, before.Extension["acls"]) {
		return nil
	}
	old, _ := before.Extension["acls"].(map[string]any)
	acls, ok := value.(map[string]any)
	if !ok {
		return Errorf(InvalidParametersError, "extension.acls: expected an object")
	}
	var faults []string
	if v, given := acls["admin"]; given {
		if _, ok := v.(bool); !ok && !reflect.DeepEqual(v, old["admin"]) {
			faults = append(faults, "extension.acls.admin: expected true or false")
		}
	}
	for _, key := range []string{"virtualClusters", "storageConfigs"} {
		faults = append(faults, checkStrings(acls, old, key)...)
	}
	if len(faults) > 0 {
		return Errorf(InvalidParametersError, "%s", strings.Join(faults, "; "))
	}
	return nil
}

func checkStrings(acls, before map[string]any, key string) []string {
	value, given := acls[key]
	if !given || reflect.DeepEqual(value, before[key]) {
		return nil
	}
	known, _ := before[key].([]any)
	list, ok := value.([]any)
	if !ok {
		return []string{"extension.acls." + key + ": expected a list of names"}
	}
	var faults []string
	for i, item := range list {
		if slices.ContainsFunc(known, func(old any) bool { return reflect.DeepEqual(item, old) }) {
			continue
		}
		s, ok := item.(string)
		if !ok || s == "" {
			faults = append(faults, fmt.Sprintf("extension.acls.%s[%d]: expected a name", key, i))
			continue
		}
		if key != "storageConfigs" {
			continue
		}
		if _, err := ParseStorageName(s); err != nil {
			faults = append(faults, fmt.Sprintf("extension.acls.%s[%d]: %v", key, i, err))
		}
	}
	return faults
}

// Grants is what a user may do, taken together from the user's groups.
type Grants struct {
	Admin           bool
	VirtualClusters []string
	Storages        []StorageName   // every storage the user may mount, in the order of the groups
	Defaults        [][]StorageName // the storages of each group: the first that exists is one that `storages: []` means
}

// DefaultsAmong are the storages that `storages: []` means: of each group the first that exists. Groups may have the names of others that
// are gone, or never were.
func (g Grants) DefaultsAmong(exists func(StorageName) bool) []StorageName {
	var out []StorageName
	for _, storages := range g.Defaults {
		if at := slices.IndexFunc(storages, exists); at >= 0 {
			out = appendNew(out, storages[at])
		}
	}
	return out
}

// GrantsOf adds up what the groups grant.
func GrantsOf(groups []Group) Grants {
	var out Grants
	for _, g := range groups {
		acls := g.ACLs()
		out.Admin = out.Admin || acls.Admin
		out.VirtualClusters = appendNew(out.VirtualClusters, acls.VirtualClusters...)
		out.Storages = appendNew(out.Storages, acls.StorageConfigs...)
		if len(acls.StorageConfigs) > 0 {
			out.Defaults = append(out.Defaults, acls.StorageConfigs)
		}
	}
	return out
}

// MayMount tells whether the groups grant the storage. Being an administrator is not enough.
func (g Grants) MayMount(name StorageName) bool { return slices.Contains(g.Storages, name) }

func appendNew[T comparable](list []T, items ...T) []T {
	for _, item := range items {
		if !slices.Contains(list, item) {
			list = append(list, item)
		}
	}
	return list
}

// Member is a user in a group.
type Member struct {
	Name  UserName
	Admin bool // an administrator, by this group or another one
}

// GrantResult is what a grant or its revocation did.
type GrantResult struct {
	Group   Group
	Changed bool    // false: the group had the storage already, or had not
	Warning string  // why the storage cannot be used yet; "" when it can
	Jobs    []JobID // of a revocation: those that are not done and mount it although their users may not any more, sorted
	Stopped bool    // those jobs were told to stop
}

// GroupService finds and changes groups.
type GroupService interface {
	// Groups lists all groups, sorted by name. UnauthorizedUserError when nobody is signed in.
	Groups(ctx context.Context) ([]Group, error)

	// Group finds one. NoGroupError when there is none of that name, UnauthorizedUserError when nobody is signed in.
	Group(ctx context.Context, name GroupName) (Group, error)

	// Members lists the users of a group, sorted by name. Administrators only: ForbiddenUserError for others. NoGroupError.
	Members(ctx context.Context, name GroupName) ([]Member, error)

	// CreateGroup adds a group and returns it. Nobody is a member of it yet. Administrators only: ForbiddenUserError for others.
	// ConflictGroupError when the name is taken, InvalidParametersError when the order makes no sense.
	CreateGroup(ctx context.Context, order Group) (Group, error)

	// ChangeGroup applies a change and returns the group as it is then. Changes made at the same time are all applied, one after the
	// other. Administrators only: ForbiddenUserError for others. NoGroupError when there is no such group, OutdatedVersionError when
	// the change names a version that is not the current one, ConflictGroupError when others kept changing it,
	// InvalidParametersError when the result makes no sense.
	ChangeGroup(ctx context.Context, change GroupChange) (Group, error)

	// DeleteGroup removes a group and takes it off the lists of its members. Administrators only; ForbiddenUserError for others, and for
	// the groups that every cluster has. NoGroupError. When it fails half-way the group grants nothing any more, and it can be called again.
	DeleteGroup(ctx context.Context, name GroupName) error

	// GrantStorage lets the members of a group mount a storage. One that is not bound yet can be granted; the result warns. Administrators only:
	// ForbiddenUserError for others. NoGroupError, NoStorageError, ConflictGroupError as for ChangeGroup.
	GrantStorage(ctx context.Context, group GroupName, storage StorageName) (GrantResult, error)

	// RevokeStorage takes a storage from a group. The result names the jobs that still mount it although their users may not any more; with
	// stopJobs they are stopped. NoStorageError when it was not granted and does not exist; the others as for GrantStorage.
	RevokeStorage(ctx context.Context, group GroupName, storage StorageName, stopJobs bool) (GrantResult, error)
}
