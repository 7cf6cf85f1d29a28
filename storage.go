package pai

import (
	"context"
	"regexp"
)

// StorageName is the name of a storage, which is the name of its PersistentVolumeClaim.
type StorageName string

// ParseStorageName checks that s can name a storage: lower-case letters, digits, "-" and ".", at most 253 characters.
func ParseStorageName(s string) (StorageName, error) {
	if len(s) > 253 || !storageNamePattern.MatchString(s) {
		return "", Errorf(InvalidParametersError,
			"%q cannot be the name of a storage: lower-case letters, digits, '-' and '.' only, at most 253", clip(s))
	}
	return StorageName(s), nil
}

var storageNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// StorageType says what serves a storage.
type StorageType string

// The storage types.
const (
	StorageNFS       StorageType = "nfs"
	StorageSamba     StorageType = "samba"
	StorageAzureBlob StorageType = "azureBlob"
	StorageAzureFile StorageType = "azureFile"
	StorageS3        StorageType = "s3" // an object store that speaks S3's protocol
	StorageDshuttle  StorageType = "dshuttle"
	StorageHostPath  StorageType = "hostPath"
	StorageLocal     StorageType = "local"
	StorageOther     StorageType = "other"   // a driver we have no name for
	StorageUnknown   StorageType = "unknown" // no volume yet, or no source that we know
)

// Storage is a claimed volume that jobs may mount.
type Storage struct {
	Name       StorageName
	Share      bool   // false: a personal storage, of which every user sees only a folder of the user's own
	VolumeName string // "" while the claim is not bound
	// Handle is what workers tell the volume by, a CSI driver and its volumeHandle; "" where they tell volumes by their names.
	Handle       string
	Type         StorageType
	Data         map[string]string // where it is, by type; never a secret unless the administrator said so
	ReadOnly     bool
	SecretName   string // the Kubernetes Secret that nodes mount it with, if any
	MountOptions []string
	Bound        bool
	BindsWithJob bool   // not bound, and nothing is wrong: Kubernetes binds a volume with the first job that mounts it
	Refused      bool   // jobs with it are refused, until an administrator mends what Reason says
	Reason       string // why it cannot be used; "" when it can
	Default      bool   // one of the asking user's default storages; the guard sets it
}

// Usable tells whether jobs can mount the storage.
func (s Storage) Usable() bool { return (s.Bound || s.BindsWithJob) && !s.Refused }

// StorageOverview is a storage as administrators see it.
type StorageOverview struct {
	Storage
	State       string      // of the claim: Bound, Pending, Lost, Terminating
	VolumeState string      // of the volume: Available, Bound, Released, Failed; "" without a volume
	Size        string      // what the volume has, else what the claim asks for, such as 10Gi
	Groups      []GroupName // those that it is granted to
	Jobs        []JobID     // those that mount it and are not done
	Exposed     bool        // users see its credentials, because an administrator said so
}

// StorageRemoval asks for the end of a storage. The data that it holds stays.
type StorageRemoval struct {
	Name   StorageName
	Force  bool // although jobs mount it
	Revoke bool // take it off all groups, too
}

// RemovedStorage is what a removal did.
type RemovedStorage struct {
	Deleted []string    // objects that are gone, or go when the last job that mounts the storage ends
	Kept    []string    // objects that are still there
	Granted []GroupName // those that it still is granted to: a new storage of that name would be theirs
	Jobs    []JobID     // those that still mount it
}

// StorageService finds, declares and removes storages.
type StorageService interface {
	// Storages lists, sorted by name, the usable storages that the caller's groups were granted; an administrator gets every storage,
	// those that cannot be used included. UnauthorizedUserError when nobody is signed in.
	Storages(ctx context.Context) ([]Storage, error)

	// Storage finds one. NoStorageError when there is none of that name, ForbiddenUserError when the caller may not see it,
	// UnauthorizedUserError when nobody is signed in.
	Storage(ctx context.Context, name StorageName) (Storage, error)

	// AllStorages lists every storage with its state, sorted by name. Administrators only: ForbiddenUserError for others.
	AllStorages(ctx context.Context) ([]StorageOverview, error)

	// DeclareStorage makes the claim and the volume of a storage, and the Secret with what it is mounted with. When one of them cannot
	// be made, none is. Administrators only: ForbiddenUserError for others. InvalidParametersError names every fault of the declaration,
	// ConflictStorageError when one of the names is taken.
	DeclareStorage(ctx context.Context, d StorageDeclaration) (DeclaredStorage, error)

	// RemoveStorage deletes the claim of a storage, and what DeclareStorage made besides. It never deletes data. Administrators only:
	// ForbiddenUserError for others. NoStorageError, StorageInUseError while jobs mount it, unless forced.
	RemoveStorage(ctx context.Context, r StorageRemoval) (RemovedStorage, error)
}

// clip keeps what a caller sent from filling the answer.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
