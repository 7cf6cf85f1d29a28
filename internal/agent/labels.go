package agent

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
	"github.com/pai-storage/pai-storage/internal/volume"
)

const (
	// labelPrefix begins the labels by which jobs find workers.
	labelPrefix = "pai.storage/can-mount-"
	// pinned is the annotation of a node with the types, such as "nfs,samba", whose labels are the administrator's own.
	pinned = "pai.storage/pinned"
)

// canMount says which types of storages a worker with these facts can mount, whatever their servers say.
func canMount(f storagecheck.Facts) map[pai.StorageType]bool {
	cifs := f.Modules["cifs"] != moduleAbsent
	ours := slices.Contains(f.CSI, volume.CSIDriver)
	helper := f.Helpers["mount.nfs"] || slices.Contains(f.CSI, volume.OfficialNFS) // which has its own
	either := func(flex, csi string) bool {
		return ours || slices.Contains(f.Flex, flex) || slices.Contains(f.CSI, csi)
	}
	return map[pai.StorageType]bool{
		pai.StorageNFS:       helper && f.Modules["nfs"] != moduleAbsent,
		pai.StorageSamba:     cifs && either(volume.FlexSMB, volume.OfficialSMB),
		pai.StorageAzureFile: cifs && slices.Contains(f.CSI, volume.AzureFileDriver),
		pai.StorageAzureBlob: f.FUSE && either(volume.FlexBlob, volume.OfficialBlob),
		pai.StorageS3:        f.FUSE && ours,
	}
}

// affected says whether a storage's check may end otherwise after its worker changed from one set of facts to another.
func affected(o storagecheck.Order, before, after storagecheck.Facts) bool {
	if o.Driver != "" && slices.Contains(before.CSI, o.Driver) != slices.Contains(after.CSI, o.Driver) {
		return true
	}
	if o.OwnFault != "" && slices.Contains(before.Own, o.Driver) != slices.Contains(after.Own, o.Driver) {
		return true
	}
	if o.Flex != "" && slices.Contains(before.Flex, o.Flex) != slices.Contains(after.Flex, o.Flex) {
		return true
	}
	helper := func(name string) bool { return before.Helpers[name] != after.Helpers[name] }
	module := func(name string) bool {
		return (before.Modules[name] == moduleAbsent) != (after.Modules[name] == moduleAbsent)
	}
	switch t := pai.StorageType(o.Type); t {
	case pai.StorageNFS:
		return helper("mount.nfs") || module("nfs") || module("nfsv4")
	case pai.StorageSamba, pai.StorageAzureFile:
		return module("cifs")
	case pai.StorageAzureBlob, pai.StorageS3:
		return before.FUSE != after.FUSE
	}
	return false
}

// labelPatch is the merge patch that gives a node the labels that it should have; nil when it has them.
func labelPatch(labels, annotations map[string]string, can map[pai.StorageType]bool) []byte {
	kept := strings.FieldsFunc(annotations[pinned], func(r rune) bool { return r == ',' || r == ' ' })
	change := map[string]string{}
	for t, yes := range can {
		label, value := labelPrefix+string(t), strconv.FormatBool(yes)
		if labels[label] != value && !slices.Contains(kept, string(t)) {
			change[label] = value
		}
	}
	if len(change) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": change}})
	if err != nil {
		return nil // maps of strings are always JSON
	}
	return patch
}
