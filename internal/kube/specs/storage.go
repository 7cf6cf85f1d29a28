package specs

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
)

// DeclarationLabel is on the objects of a storage that was declared through the API; its value tells one declaration from another of
// the same name.
const DeclarationLabel = "pai.storage/declaration"

// CSIDriver mounts what is declared here and needs more than the worker's own kernel.
const CSIDriver = "csi.pai.storage"

// FlexVolume drivers that the original's guide uses. Volumes of theirs are recognised, and not made any more.
const (
	SMBDriver      = "microsoft.com/smb"
	BlobfuseDriver = "azure/blobfuse"
)

// personalLabel on a claim, with the value "false", makes a storage personal.
const personalLabel = "share"

// VolumeName is the name of the volume that a declared storage gets.
func VolumeName(name pai.StorageName) string { return string(name) + "-pv" }

// SecretName is the name of the Secret that a declared storage gets.
func SecretName(name pai.StorageName) string { return string(name) + "-secret" }

// Volume makes the volume of a declared storage. It is kept for its claim, and the data outlives the claim.
func Volume(namespace, declaration string, d pai.StorageDeclaration) (*corev1.PersistentVolume, error) {
	size, err := resource.ParseQuantity(d.Size)
	if err != nil {
		return nil, fmt.Errorf("size %q: %w", d.Size, err)
	}
	source, err := source(namespace, d)
	if err != nil {
		return nil, err
	}
	pv := &corev1.PersistentVolume{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
		ObjectMeta: metav1.ObjectMeta{Name: VolumeName(d.Name), Labels: map[string]string{DeclarationLabel: declaration}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: size},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: namespace, Name: string(d.Name)},
			MountOptions:                  d.MountOptions,
			PersistentVolumeSource:        source,
		},
	}
	if d.Type == pai.StorageLocal {
		pv.Spec.NodeAffinity = onNodes(d.Nodes)
	}
	return pv, nil
}

// source is where the storage is.
func source(namespace string, d pai.StorageDeclaration) (corev1.PersistentVolumeSource, error) {
	var s corev1.PersistentVolumeSource
	switch d.Type {
	case pai.StorageNFS:
		s.NFS = &corev1.NFSVolumeSource{Server: d.Server, Path: d.Path, ReadOnly: d.ReadOnly}
	case pai.StorageSamba, pai.StorageAzureBlob, pai.StorageAzureFile, pai.StorageS3:
		s.CSI = csi(namespace, d)
	case pai.StorageHostPath:
		s.HostPath = &corev1.HostPathVolumeSource{Path: d.Path}
	case pai.StorageLocal:
		s.Local = &corev1.LocalVolumeSource{Path: d.Path}
	default:
		return s, fmt.Errorf("no volume is known for storages of type %s", d.Type)
	}
	return s, nil
}

// csi is a volume of our driver. Its handle is the storage's alone, so that workers never take one for another.
func csi(namespace string, d pai.StorageDeclaration) *corev1.CSIPersistentVolumeSource {
	attributes := map[string]string{"type": string(d.Type)}
	for name, value := range map[string]string{"server": d.Server, "address": d.Address, "account": d.Account, "container": d.Container,
		"share": d.Share, "bucket": d.Bucket, "prefix": d.Prefix, "endpoint": d.Endpoint, "region": d.Region} {
		if value != "" {
			attributes[name] = value
		}
	}
	c := &corev1.CSIPersistentVolumeSource{
		Driver: CSIDriver, VolumeHandle: "pai-storage/" + namespace + "/" + string(d.Name), ReadOnly: d.ReadOnly, VolumeAttributes: attributes,
	}
	if !d.Anonymous {
		c.NodeStageSecretRef = &corev1.SecretReference{Name: cmp.Or(d.SecretName, SecretName(d.Name)), Namespace: namespace}
	}
	return c
}

func onNodes(names []string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: names}},
	}}}}
}

// StorageSecret makes the Secret that a declared storage is mounted with. It belongs to the volume, and goes with it.
func StorageSecret(namespace, declaration string, d pai.StorageDeclaration, volume types.UID) *corev1.Secret {
	s := &corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SecretName(d.Name), Labels: map[string]string{DeclarationLabel: declaration},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "PersistentVolume", Name: VolumeName(d.Name), UID: volume}}},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{},
	}
	for key, value := range d.Secret {
		s.Data[key] = []byte(value)
	}
	return s
}

// Claim makes the claim of a declared storage. Its name is the storage's.
func Claim(namespace, declaration string, d pai.StorageDeclaration) (*corev1.PersistentVolumeClaim, error) {
	size, err := resource.ParseQuantity(d.Size)
	if err != nil {
		return nil, fmt.Errorf("size %q: %w", d.Size, err)
	}
	noClass := ""
	claim := &corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: string(d.Name), Labels: map[string]string{DeclarationLabel: declaration}},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
			VolumeName:       VolumeName(d.Name),
			StorageClassName: &noClass,
		},
	}
	if d.Personal {
		claim.Labels[personalLabel] = "false"
	}
	return claim, nil
}
