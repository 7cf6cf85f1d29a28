package volume

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// The types that volumes of [CSIDriver] have, in their attribute "type". They are the names that storages have for them.
const (
	TypeNFS       = "nfs"
	TypeSamba     = "samba"
	TypeAzureBlob = "azureBlob"
	TypeAzureFile = "azureFile"
	TypeS3        = "s3"
)

// CSI reads a volume of a CSI driver: ours, and the official ones, so that their volumes can be checked. Names of attributes are the same in
// upper and lower case, as they are for the official drivers.
//
//	csi.pai.storage      type: nfs        server, path
//	                     type: samba      address (//host/share)
//	                     type: azureBlob  container, account, prefix, endpoint
//	                     type: azureFile  share, account, server
//	                     type: s3         bucket, prefix, endpoint, region
//	file.csi.azure.com   shareName, storageAccount, server, folderName
//	smb.csi.k8s.io       source, subDir
//	nfs.csi.k8s.io       server, share, subDir
//	blob.csi.azure.com   containerName, storageAccount, server
//
// Where the account is not an attribute it comes from the Secret: [WithSecret].
func CSI(driver string, attributes map[string]string, handle string, options []string, readOnly bool) (mount.Volume, error) {
	get := func(names ...string) string { return attribute(attributes, names...) }
	switch driver {
	case CSIDriver:
		return ours(attributes, options, readOnly)
	case AzureFileDriver:
		if protocol := get("protocol"); protocol != "" && !strings.EqualFold(protocol, "smb") {
			return mount.Volume{}, fmt.Errorf("protocol: %q shares of Azure Files need the official driver; %s here mounts by SMB", clip(protocol), AzureFileDriver)
		}
		_, rest, _ := strings.Cut(handle, "#") // resource group, account, share, ...
		account, rest, _ := strings.Cut(rest, "#")
		share, _, _ := strings.Cut(rest, "#")
		if !accountPattern.MatchString(account) {
			account = "" // Kubernetes puts the Secret's name there for volumes of azureFile: the account is in the Secret
		}
		return azureFile(cmp.Or(get("storageaccount", "storageaccountname"), account), cmp.Or(get("sharename"), share), get("server"), get("foldername"), options, readOnly)
	case OfficialSMB:
		return smb("source", get("source"), get("subdir"), options, readOnly)
	case OfficialNFS:
		path := "/" + strings.Trim(get("share"), "/")
		if sub := strings.Trim(get("subdir"), "/"); sub != "" {
			path = strings.TrimSuffix(path, "/") + "/" + sub
		}
		return NFS(get("server"), path, options, readOnly)
	case OfficialBlob:
		if protocol := get("protocol"); strings.EqualFold(protocol, "nfs") {
			return mount.Volume{}, errors.New("protocol: containers by NFS need the official driver")
		}
		return object(mount.AzureBlob, "containerName", get("containername"), "", get("server"), "", nil, readOnly)
	}
	return mount.Volume{}, fmt.Errorf("CSI driver %q is none that can be mounted here", clip(driver))
}

// Official tells whether a CSI driver is one of those whose volumes [CSI] reads and that others make. It may get what a volume is mounted with from
// elsewhere than its Secret, and mount by other means than ours.
func Official(driver string) bool {
	return slices.Contains([]string{AzureFileDriver, OfficialBlob, OfficialNFS, OfficialSMB}, driver)
}

// ByIdentity tells whether an official driver signs on to the store with an identity of the machine or of the pod, in the place of a Secret.
func ByIdentity(driver string, attributes map[string]string) bool {
	if driver != AzureFileDriver && driver != OfficialBlob {
		return false
	}
	by := strings.ToLower(attribute(attributes, "azurestorageauthtype"))
	return by != "" && by != "key" && by != "sas" || strings.EqualFold(attribute(attributes, "mountwithmanagedidentity"), "true") ||
		strings.EqualFold(attribute(attributes, "mountwithworkloadidentitytoken"), "true")
}

// attribute finds an attribute by one of its names, which are given in lower case.
func attribute(attributes map[string]string, names ...string) string {
	for name, value := range attributes {
		if slices.Contains(names, strings.ToLower(name)) {
			return value
		}
	}
	return ""
}

// known are the attributes of each type of ours, in lower case.
var known = map[string][]string{
	TypeNFS:       {"server", "path"},
	TypeSamba:     {"address"},
	TypeAzureBlob: {"container", "account", "prefix", "endpoint"},
	TypeAzureFile: {"share", "account", "server"},
	TypeS3:        {"bucket", "prefix", "endpoint", "region"},
}

func ours(attributes map[string]string, options []string, readOnly bool) (mount.Volume, error) {
	get := func(name string) string { return attribute(attributes, name) }
	kind := get("type")
	allowed, ok := known[kind]
	if !ok {
		return mount.Volume{}, fmt.Errorf("type: %q is none of %s, %s, %s, %s, %s", clip(kind), TypeNFS, TypeSamba, TypeAzureBlob, TypeAzureFile, TypeS3)
	}
	for name := range attributes {
		lower := strings.ToLower(name)
		if lower != "type" && !strings.Contains(lower, "/") && !slices.Contains(allowed, lower) { // "csi.storage.k8s.io/..." is Kubernetes'
			return mount.Volume{}, fmt.Errorf("%s: volumes of type %s have no such attribute; they have %s", clip(name), kind, strings.Join(allowed, ", "))
		}
	}
	switch kind {
	case TypeNFS:
		return NFS(get("server"), get("path"), options, readOnly)
	case TypeSamba:
		return smb("address", get("address"), "", options, readOnly)
	case TypeAzureFile:
		return azureFile(get("account"), get("share"), get("server"), "", options, readOnly)
	case TypeAzureBlob:
		server := get("endpoint")
		if account := get("account"); server == "" && account != "" {
			if !accountPattern.MatchString(account) {
				return mount.Volume{}, errors.New("account: lower-case letters and digits only")
			}
			server = "https://" + account + ".blob.core.windows.net"
		}
		return object(mount.AzureBlob, "container", get("container"), get("prefix"), server, "", options, readOnly)
	}
	region := get("region")
	if strings.ContainsFunc(region, control) || strings.ContainsAny(region, " ,\"'") || len(region) > 64 {
		return mount.Volume{}, errors.New("region: expected a name such as eu-central-1")
	}
	return object(mount.S3, "bucket", get("bucket"), get("prefix"), get("endpoint"), region, options, readOnly)
}

// ownConnection gives each volume a connection and a file system of the kernel's own. Two volumes of one share would else be one device, and the
// kubelet does not have a device unstaged as long as another directory has it: each would wait for the other, for ever.
const ownConnection = "nosharesock"

func smb(field, source, sub string, options []string, readOnly bool) (mount.Volume, error) {
	source, err := smbSource(field, source, sub)
	if err != nil {
		return mount.Volume{}, err
	}
	list, err := mountOptions(options)
	if err == nil && !slices.Contains(list, ownConnection) {
		list = append(list, ownConnection)
	}
	return mount.Volume{Kind: mount.SMB, Source: source, Options: list, ReadOnly: readOnly || slices.Contains(list, "ro")}, err
}

func object(kind mount.Kind, field, name, prefix, server, region string, options []string, readOnly bool) (mount.Volume, error) {
	source, err := objectSource(field, name, prefix)
	if err != nil {
		return mount.Volume{}, err
	}
	at, err := endpoint("endpoint", server)
	if err != nil {
		return mount.Volume{}, err
	}
	list, err := mountOptions(options)
	if err != nil {
		return mount.Volume{}, err
	}
	list, err = blobfuseOptions(strings.Join(list, " "))
	return mount.Volume{Kind: kind, Source: source, Endpoint: at, Region: region, Options: list, ReadOnly: readOnly || slices.Contains(list, "ro")}, err
}

// azureSuffix is the domain of Azure Files in the public cloud.
const azureSuffix = ".file.core.windows.net"

// AzureFile is a share of Azure Files, which the kernel mounts by SMB. Without an account it is the Secret's: see [WithSecret].
func AzureFile(account, share string, options []string, readOnly bool) (mount.Volume, error) {
	return azureFile(account, share, "", "", options, readOnly)
}

// unknownAccount stands in a source for the account that the Secret names.
const unknownAccount = "account-of-the-secret"

func azureFile(account, share, server, folder string, options []string, readOnly bool) (mount.Volume, error) {
	if !containerPattern.MatchString(share) {
		return mount.Volume{}, fmt.Errorf("shareName: %q is no name of a share", clip(share))
	}
	if account != "" && !accountPattern.MatchString(account) {
		return mount.Volume{}, errors.New("account: lower-case letters and digits only")
	}
	host := cmp.Or(server, cmp.Or(account, unknownAccount)+azureSuffix)
	v, err := smb("server", "//"+host+"/"+share, folder, options, readOnly)
	if err != nil {
		return v, err
	}
	// As the official driver mounts it, unless the volume says otherwise.
	for _, option := range []string{"dir_mode=0777", "file_mode=0777", "actimeo=30", "mfsymlinks"} {
		name, _, _ := strings.Cut(option, "=")
		if !slices.ContainsFunc(v.Options, func(o string) bool { return o == name || strings.HasPrefix(o, name+"=") }) {
			v.Options = append(v.Options, option)
		}
	}
	return v, nil
}
