package pai

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// MountsFor works out what a job of the user mounts where. The storages map holds every storage that exists.
//
// A storage that does not exist, is not among the grants, or is refused whoever asks refuses the job, and so do mount paths that clash or that lie where a
// container keeps its own system. All faults are named at once. A personal storage is mounted with the user's name as the sub path.
func MountsFor(user UserName, want StorageRequest, grants Grants, storages map[StorageName]Storage) ([]Mount, error) {
	wanted := want.Wanted
	if want.Defaults {
		wanted = nil
		for _, name := range grants.DefaultsAmong(func(name StorageName) bool { _, ok := storages[name]; return ok }) {
			wanted = append(wanted, WantedStorage{Name: name})
		}
	}
	if err := checkWanted(user, wanted, grants, storages); err != nil {
		return nil, err
	}
	var mounts []Mount
	var faults []string
	for _, w := range wanted {
		m := mountOf(user, w, storages[w.Name])
		if fault := cmp.Or(mountFault(m, mounts), sameVolume(m, mounts, storages)); fault != "" {
			faults = append(faults, fault)
		}
		mounts = append(mounts, m)
	}
	if len(faults) > 0 {
		return nil, Errorf(InvalidParametersError, "%s", strings.Join(faults, "; "))
	}
	return mounts, nil
}

// MountNow is the mount as the storage is now: a storage that was not bound when the job was submitted did not say then how it is to be mounted.
func (m Mount) MountNow(user UserName, s Storage) Mount {
	now := mountOf(user, WantedStorage{Name: m.Storage, MountPath: m.Path}, s)
	if m.SubPath != "" {
		now.SubPath = m.SubPath
	}
	return now
}

// MountTypes is what the mounted storages are of, each type once, sorted. A worker must be able to mount all of them.
func MountTypes(mounts []Mount, storages map[StorageName]Storage) []StorageType {
	var types []StorageType
	for _, m := range mounts {
		types = append(types, storages[m.Storage].Type)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// checkWanted refuses storages that are not there or not granted. The answer for one that exists but was not granted wins, because it
// tells the user whom to ask.
func checkWanted(user UserName, wanted []WantedStorage, grants Grants, storages map[StorageName]Storage) error {
	var missing, forbidden, refused []string
	for _, w := range wanted {
		switch s, exists := storages[w.Name]; {
		case !exists:
			missing = append(missing, string(w.Name))
		case !grants.MayMount(w.Name):
			forbidden = append(forbidden, string(w.Name))
		case s.Refused:
			refused = append(refused, fmt.Sprintf("Storage %s cannot be used: %s. ", w.Name, s.Reason))
		}
	}
	hint, code := usable(grants, storages), " ["+RefusedStorageDenied+"]"
	switch {
	case len(forbidden) > 0:
	case len(missing) == 0:
		code = "" // the reasons of what is refused have their own
	default:
		code = " [" + RefusedStorageUnknown + "]"
	}
	hint = strings.Join(refused, "") + hint + code
	switch {
	case len(forbidden) > 0 && len(missing) > 0:
		return Errorf(ForbiddenUserError, "User %s is not allowed to access %s, and %s is not found. %s",
			user, strings.Join(forbidden, ", "), strings.Join(missing, ", "), hint)
	case len(forbidden) > 0:
		return Errorf(ForbiddenUserError, "User %s is not allowed to access %s. %s", user, strings.Join(forbidden, ", "), hint)
	case len(missing) > 0:
		return Errorf(NoStorageError, "Storage %s is not found. %s", strings.Join(missing, ", "), hint)
	case len(refused) > 0:
		return Errorf(NoStorageError, "%s", hint)
	}
	return nil
}

func usable(grants Grants, storages map[StorageName]Storage) string {
	var names []string
	for _, name := range grants.Storages {
		if s, exists := storages[name]; exists && !s.Refused {
			names = append(names, string(name))
		}
	}
	const ask = "ask an administrator to grant more"
	if len(names) == 0 {
		return "You may use no storage yet; " + ask
	}
	return "You may use: " + strings.Join(names, ", ") + "; " + ask
}

// DefaultMountPath is where a job finds a storage when it does not say.
func DefaultMountPath(name StorageName) string { return "/mnt/" + string(name) }

func mountOf(user UserName, w WantedStorage, s Storage) Mount {
	m := Mount{Storage: w.Name, Path: w.MountPath, ReadOnly: s.ReadOnly}
	if m.Path == "" {
		m.Path = DefaultMountPath(w.Name)
	}
	if !s.Share {
		m.SubPath = string(user)
	}
	return m
}

// mountFault says what is wrong with mount m beside those before it, "" when nothing is.
func mountFault(m Mount, before []Mount) string {
	if fault := CheckMountPath(m.Path); fault != "" {
		return fmt.Sprintf("storage %s: %s", m.Storage, fault)
	}
	for _, other := range before {
		if other.Storage == m.Storage {
			return fmt.Sprintf("storage %s is mounted twice, at %s and %s", m.Storage, other.Path, m.Path)
		}
		if within(path.Clean(m.Path), path.Clean(other.Path)) || within(path.Clean(other.Path), path.Clean(m.Path)) {
			return fmt.Sprintf("storages %s and %s clash: their mount paths %s and %s must not be equal or lie in each other",
				other.Storage, m.Storage, other.Path, m.Path)
		}
	}
	return ""
}

// sameVolume says that a worker takes the volume of m for one of those before it, "" when it does not. Kubernetes mounts only one of two volumes that have
// the same handle into a task, and the task waits for the other for ever.
func sameVolume(m Mount, before []Mount, storages map[StorageName]Storage) string {
	handle := storages[m.Storage].Handle
	for _, other := range before {
		if handle != "" && storages[other.Storage].Handle == handle {
			return fmt.Sprintf("storages %s and %s have the same volumeHandle, so Kubernetes takes their volumes for one and mounts only one of them into a job: "+
				"name one of them, and have an administrator declare the other with a volumeHandle of its own", other.Storage, m.Storage)
		}
	}
	return ""
}

// systemPaths are where a container keeps its own system: a mount there, or below, breaks or subverts it.
var systemPaths = []string{"/proc", "/sys", "/dev", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/boot", "/run",
	"/var/run", "/var/lib"}

// CheckMountPath says what is wrong with p as a place to mount a storage in a container, "" when nothing is.
func CheckMountPath(p string) string {
	switch {
	case !strings.HasPrefix(p, "/"):
		return fmt.Sprintf("mount path %q must be absolute", clip(p))
	case len(p) > 1024 || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' || r == '\uFFFD' }):
		return fmt.Sprintf("mount path %q must not be longer than 1024 or contain ':' or control characters", clip(p))
	case hasDots(p):
		return fmt.Sprintf("mount path %q must not contain '..'", clip(p))
	}
	clean := path.Clean(p)
	if clean == "/" || clean == "/var" {
		return fmt.Sprintf("mount path %q would hide the container's own system", clip(p))
	}
	for _, system := range systemPaths {
		if within(clean, system) {
			return fmt.Sprintf("mount path %q lies under the system path %s", clip(p), system)
		}
	}
	return ""
}

func hasDots(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// within tells whether the clean path p is dir or lies below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
