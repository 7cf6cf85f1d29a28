// Package volume reads what PersistentVolumes say of a volume, in the words of each driver, and says what the engine of package mount is to do.
//
// It is pure. Use it wherever a driver's options become a mount: in the FlexVolume drivers, in the CSI driver, and where the REST server
// orders checks of storages. Its rules:
//
//   - What a driver of old accepted is accepted. An option that means nothing here is passed over only when leaving it out changes nothing
//     for whoever uses the mount; any other is named in the error.
//   - Messages never quote values of a secret.
//
// Example:
//
//	v, err := volume.Flex("microsoft.com/smb", map[string]string{"source": "//10.0.0.1/data", "mountoptions": "vers=3.0"}, false)
//	s, err := volume.Secret("microsoft.com/smb", v, map[string]string{"username": "u", "password": "p"})
package volume

// The drivers that we know. Ours serve the first four.
const (
	CSIDriver       = "csi.pai.storage"
	FlexSMB         = "microsoft.com/smb"
	FlexBlob        = "azure/blobfuse"
	AzureFileDriver = "file.csi.azure.com"

	OfficialNFS  = "nfs.csi.k8s.io"
	OfficialSMB  = "smb.csi.k8s.io"
	OfficialBlob = "blob.csi.azure.com"
)
