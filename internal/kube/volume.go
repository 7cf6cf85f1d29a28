package kube

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
	mounting "github.com/pai-storage/pai-storage/internal/volume"
)

// volume is what we keep of a PersistentVolume. The open fields contain credentials, if the volume has any in clear.
type volume struct {
	kind       pai.StorageType
	data       map[string]string
	openData   map[string]string
	readOnly   bool
	secretName string
	// secretNamespace is where that Secret is; "" for the jobs namespace.
	secretNamespace string
	driver          string // of FlexVolume or CSI; "" for what the worker does itself
	csi             bool   // the driver is one of CSI
	handle          string // of CSI: the driver and what it calls the volume
	mountOptions    []string
	openOptions     []string

	name        string
	uid         types.UID
	state       string // the phase
	message     string // why it is in that phase, when Kubernetes says so
	deleting    bool
	device      bool // a raw device, not a file system
	class       string
	size        resource.Quantity
	modes       []corev1.PersistentVolumeAccessMode
	labels      labels.Set
	owner       *corev1.ObjectReference // the claim that it belongs to, if any
	retained    bool                    // the data outlives the claim
	declaration string                  // set when it was declared through the API
	created     time.Time
	recipe      recipe // how workers mount it
}

func parseVolume(obj any) (volume, error) {
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return volume{}, fmt.Errorf("expected a PersistentVolume, got %T", obj)
	}
	v, err := describe(pv.Spec.PersistentVolumeSource)
	if err != nil {
		return v, err
	}
	if v.openOptions == nil {
		v.openOptions = pv.Spec.MountOptions
	}
	v.name, v.uid, v.state, v.created = pv.Name, pv.UID, string(pv.Status.Phase), pv.CreationTimestamp.Time
	v.class = cmp.Or(pv.Annotations[corev1.BetaStorageClassAnnotation], pv.Spec.StorageClassName)
	v.size, v.modes, v.labels, v.owner = pv.Spec.Capacity[corev1.ResourceStorage], pv.Spec.AccessModes, pv.Labels, pv.Spec.ClaimRef
	v.message, v.deleting, v.device = pv.Status.Message, pv.DeletionTimestamp != nil, isDevice(pv.Spec.VolumeMode)
	v.retained = pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain
	v.declaration = pv.Labels[specs.DeclarationLabel]
	v.recipe = recipeOf(pv)
	v.data, v.mountOptions = withoutSecrets(v.openData), withoutSecretOptions(v.openOptions)
	return v, nil
}

// azureFileDriver is what Kubernetes mounts azureFile volumes with.
const azureFileDriver = mounting.AzureFileDriver

// describe says what a volume source is.
func describe(source corev1.PersistentVolumeSource) (volume, error) {
	var v volume
	switch {
	case source.NFS != nil:
		v = volume{kind: pai.StorageNFS, openData: pick("server", source.NFS.Server, "path", source.NFS.Path)}
	case source.AzureFile != nil:
		v = volume{kind: pai.StorageAzureFile, secretName: source.AzureFile.SecretName,
			secretNamespace: valueOr(source.AzureFile.SecretNamespace, ""), driver: azureFileDriver, csi: true, openData: pick("shareName", source.AzureFile.ShareName)}
	case source.HostPath != nil:
		v = volume{kind: pai.StorageHostPath, openData: pick("path", source.HostPath.Path)}
	case source.Local != nil:
		v = volume{kind: pai.StorageLocal, openData: pick("path", source.Local.Path)}
	case source.FlexVolume != nil:
		v = describeFlexVolume(source.FlexVolume)
	case source.CSI != nil:
		v = describeCSI(source.CSI)
	}
	var err error
	if v.kind == "" {
		v, err = describeOther(source)
	}
	if err == nil {
		v.readOnly, err = readOnly(source)
	}
	return v, err
}

func describeFlexVolume(f *corev1.FlexPersistentVolumeSource) volume {
	v := volume{kind: pai.StorageOther, driver: f.Driver, openData: pick("driver", f.Driver)}
	if f.SecretRef != nil {
		v.secretName, v.secretNamespace = f.SecretRef.Name, f.SecretRef.Namespace
	}
	if options := f.Options["mountoptions"]; options != "" {
		v.openOptions = strings.Split(options, ",")
	}
	switch f.Driver {
	case specs.SMBDriver:
		v.kind, v.openData = pai.StorageSamba, pick("address", f.Options["source"])
	case specs.BlobfuseDriver:
		v.kind = pai.StorageAzureBlob
		v.openData = pick("containerName", f.Options["container"], "accountName", f.Options["accountname"])
	}
	return v
}

func describeCSI(c *corev1.CSIPersistentVolumeSource) volume {
	v := volume{kind: pai.StorageOther, driver: c.Driver, csi: true, handle: c.Driver + " " + c.VolumeHandle, openData: pick("driver", c.Driver)}
	refs := []*corev1.SecretReference{c.NodeStageSecretRef, c.NodePublishSecretRef}
	if c.Driver == specs.CSIDriver {
		refs = refs[:1] // it mounts when the volume is staged
	}
	for _, ref := range refs {
		if ref != nil && v.secretName == "" {
			v.secretName, v.secretNamespace = ref.Name, ref.Namespace
		}
	}
	attribute := func(names ...string) string { return attributeOf(c.VolumeAttributes, names...) }
	switch c.Driver {
	case specs.CSIDriver:
		if kind, data := describeOurs(attribute); kind != "" {
			v.kind, v.openData = kind, data
		}
	case "nfs.csi.k8s.io":
		v.kind, v.openData = pai.StorageNFS, pick("server", attribute("server"), "path", attribute("share"))
		if sub := strings.Trim(attribute("subdir"), "/"); sub != "" {
			v.openData["path"] = strings.TrimSuffix(v.openData["path"], "/") + "/" + sub
		}
	case "smb.csi.k8s.io":
		v.kind, v.openData = pai.StorageSamba, pick("address", attribute("source"))
	case "blob.csi.azure.com":
		v.kind = pai.StorageAzureBlob
		v.openData = pick("containerName", attribute("containername"), "accountName", attribute("storageaccount", "storageaccountname"))
	case azureFileDriver:
		v.kind = pai.StorageAzureFile
		v.openData = pick("shareName", attribute("sharename"), "accountName", attribute("storageaccount", "storageaccountname"))
	case "dshuttle":
		v.kind, v.openData = pai.StorageDshuttle, maps.Clone(c.VolumeAttributes)
	}
	return v
}

// describeOurs reads the attributes of our own driver; the type is "" when it is none that the driver knows.
func describeOurs(attribute func(...string) string) (pai.StorageType, map[string]string) {
	switch kind := pai.StorageType(attribute("type")); kind {
	case pai.StorageNFS:
		return kind, pick("server", attribute("server"), "path", attribute("path"))
	case pai.StorageSamba:
		return kind, pick("address", attribute("address"))
	case pai.StorageAzureBlob:
		return kind, pick("containerName", attribute("container"), "accountName", attribute("account"), "prefix", attribute("prefix"), "endpoint", attribute("endpoint"))
	case pai.StorageAzureFile:
		return kind, pick("shareName", attribute("share"), "accountName", attribute("account"), "server", attribute("server"))
	case pai.StorageS3:
		return kind, pick("bucket", attribute("bucket"), "prefix", attribute("prefix"), "endpoint", attribute("endpoint"), "region", attribute("region"))
	}
	return "", nil
}

// attributeOf finds an attribute whose driver does not care about upper and lower case.
func attributeOf(attributes map[string]string, names ...string) string {
	for key, value := range attributes {
		for _, name := range names {
			if strings.EqualFold(key, name) {
				return value
			}
		}
	}
	return ""
}

// pick makes a map of the pairs whose value is not empty.
func pick(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}

// sourceFields returns the name of the source that is set, as in YAML, and its fields.
func sourceFields(source corev1.PersistentVolumeSource) (string, map[string]any, error) {
	raw, err := json.Marshal(source)
	if err != nil {
		return "", nil, fmt.Errorf("volume source: %w", err)
	}
	var sources map[string]map[string]any
	if err := json.Unmarshal(raw, &sources); err != nil {
		return "", nil, fmt.Errorf("volume source: %w", err)
	}
	for name, fields := range sources {
		return name, fields, nil // a volume has exactly one
	}
	return "", nil, nil
}

func describeOther(source corev1.PersistentVolumeSource) (volume, error) {
	name, _, err := sourceFields(source)
	if name == "" || err != nil {
		return volume{kind: pai.StorageUnknown, openData: map[string]string{}}, err
	}
	return volume{kind: pai.StorageOther, openData: pick("driver", name)}, nil
}

// readOnly reads the source's own readOnly, which has the same name and meaning in every source that has it.
func readOnly(source corev1.PersistentVolumeSource) (bool, error) {
	_, fields, err := sourceFields(source)
	value, _ := fields["readOnly"].(bool)
	return value, err
}
