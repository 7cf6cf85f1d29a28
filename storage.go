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
	StorageDshuttle  StorageType = "dshuttle"
	StorageHostPath  StorageType = "hostPath"
	StorageLocal     StorageType = "local"
	StorageOther     StorageType = "other"   // a driver we have no name for
	StorageUnknown   StorageType = "unknown" // no volume yet, or no source that we know
)

// Storage is a claimed volume that jobs may mount.
type Storage struct {
	Name         StorageName
	Share        bool   // false: a personal storage, of which every user sees only a folder of the user's own
	VolumeName   string // "" while the claim is not bound
	Type         StorageType
	Data         map[string]string // where it is, by type; never a secret unless the administrator said so
	ReadOnly     bool
	SecretName   string // the Kubernetes Secret that nodes mount it with, if any
	MountOptions []string
	Bound        bool
	Reason       string // why it is not bound
	Default      bool   // one of the asking user's default storages; the guard sets it
}

// StorageService finds storages.
type StorageService interface {
	// Storages lists, sorted by name, the bound storages that the caller's groups were granted; an administrator gets every storage,
	// those that are not bound included. UnauthorizedUserError when nobody is signed in.
	Storages(ctx context.Context) ([]Storage, error)

	// Storage finds one. NoStorageError when there is none of that name, ForbiddenUserError when the caller may not see it,
	// UnauthorizedUserError when nobody is signed in.
	Storage(ctx context.Context, name StorageName) (Storage, error)
}

// clip keeps what a caller sent from filling the answer.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
