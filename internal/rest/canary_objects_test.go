package rest_test

import (
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pai-storage/pai-storage/internal/kube"
)

// applied is where kubectl keeps a copy of the whole object.
const applied = "kubectl.kubernetes.io/last-applied-configuration"

// plantedObjects are a cluster whose objects have a secret wherever one may lie.
func plantedObjects(c *canaries) []runtime.Object {
	out := []runtime.Object{
		kept("pai-system", "rest-server-signing-key", "", map[string]string{"key": c.plant("signing key in its Secret")}),
		secret(kube.UserNamespace, "carla", "username", map[string]string{"password": c.plant("password hash"), "grouplist": `["default","leaving"]`,
			"extension": `{"jobSSH":{"key":"` + c.plant("private key at the original's place") + `"},"deep":{"list":["-----BEGIN OPENSSH PRIVATE KEY-----` +
				c.plant("private key in a list") + `"]},"pem":"-----BEGIN RSA PRIVATE KEY-----` + c.plant("private key") + `"}`, "more": c.plant("unknown field of a user")}),
		secret(kube.UserNamespace, "broken", "username", map[string]string{"password": c.plant("password of a broken user"), "grouplist": c.plant("broken groups"),
			"extension": `{"jobSSH":` + c.plant("broken extension")}),
		secret(kube.UserNamespace, "broken2", "username", map[string]string{"grouplist": `{"a":"` + c.plant("groups of a wrong type") + `"}`}),
		secret(kube.GroupNamespace, "leaving", "groupname", map[string]string{"extension": `{}`, "more": c.plant("unknown field of a group")}),
		kept(kube.TokenNamespace, hex.EncodeToString([]byte("carla")), "", map[string]string{"id": c.plant("listed token")}),
		secret(kube.StorageAccountNamespace, "carla", "username", map[string]string{"nthash": c.plant("NT hash"), "set": "2026-11-23T10:00:00Z", "admin": "false",
			"more": c.plant("unknown field of a storage account")}),
		secret(kube.StorageAccountNamespace, "broken", "username", map[string]string{"nthash": c.plant("NT hash of a broken account"), "set": c.plant("broken time")}),
		kept("default", "job-broken", "pai.storage/job", map[string]string{"job.yaml": c.plant("broken job")}),
	}
	out = append(out, plantedPods(c)...)
	return append(out, plantedStorages(c)...)
}

func kept(namespace, name, typ string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Type: corev1.SecretType(typ), Data: map[string][]byte{}}
	for key, value := range data {
		s.Data[key] = []byte(value)
	}
	return s
}

func plantedPods(c *canaries) []runtime.Object {
	env := []corev1.EnvVar{{Name: "DB_PASSWORD", Value: c.plant("environment of a pod")}, {Name: "AWS_SECRET_ACCESS_KEY", Value: c.plant("environment of a pod")},
		{Name: "DATABASE_URL", Value: "postgres://user:" + c.plant("URL in the environment of a pod") + "@host/db"},
		{Name: "UPLOAD", Value: "https://host/c?sv=1&sig=" + c.plant("signed URL in the environment of a pod") + "&se=2"}}
	volumes := []corev1.Volume{
		{Name: "flex", VolumeSource: corev1.VolumeSource{FlexVolume: &corev1.FlexVolumeSource{Driver: "azure/blobfuse",
			Options: map[string]string{"accountkey": c.plant("inline FlexVolume"), "mountoptions": "--account-key=" + c.plant("options of an inline FlexVolume")}}}},
		{Name: "csi", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "x",
			VolumeAttributes: map[string]string{"password": c.plant("inline CSI volume"), "url": "https://u:" + c.plant("URL of an inline CSI volume") + "@host/"}}}},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod", Annotations: map[string]string{applied: c.plant("copy of a pod")}},
		Spec: corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "c", Env: env}}, InitContainers: []corev1.Container{{Name: "i", Env: env}},
			EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "e", Env: env}}}},
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Annotations: map[string]string{applied: c.plant("copy of a node")}}}
	return []runtime.Object{pod, node}
}

// plantedStorages has a storage for each source, with secrets in the source, the options, the annotations, and the Secret that it refers to.
func plantedStorages(c *canaries) []runtime.Object {
	var out []runtime.Object
	for name, source := range sourcesWithSecrets(c.plant) {
		secretName := name + "-cred"
		pv := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-pv", Annotations: map[string]string{applied: c.plant("copy of volume " + name), "password": c.plant("annotation of volume " + name)}},
			Spec:       corev1.PersistentVolumeSpec{PersistentVolumeSource: source, MountOptions: optionsWithSecrets(c.plant, name)},
		}
		claim := boundTo(name, pv.Name)
		claim.Annotations = map[string]string{applied: c.plant("copy of claim " + name), "password": c.plant("annotation of claim " + name)}
		out = append(out, pv, claim, kept("default", secretName, "", map[string]string{"password": c.plant("Secret of " + name)}))
	}
	exposed := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "all-exposed-pv"}, Spec: corev1.PersistentVolumeSpec{
		MountOptions:           []string{"password=" + c.plant("exposed option")},
		PersistentVolumeSource: csiSource("dshuttle", "", map[string]string{"accessKey": c.plant("exposed attribute")})}}
	claim := boundTo("all-exposed", exposed.Name)
	claim.Annotations = map[string]string{"pai.storage/expose-credentials": "true"}
	return append(out, exposed, claim)
}

func boundTo(name, volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: volume},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
}

func csiSource(driver, secretName string, attributes map[string]string) corev1.PersistentVolumeSource {
	s := &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "handle", VolumeAttributes: attributes}
	if secretName != "" {
		s.NodeStageSecretRef = &corev1.SecretReference{Name: secretName, Namespace: "default"}
	}
	return corev1.PersistentVolumeSource{CSI: s}
}

func flexSource(driver, secretName string, options map[string]string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{FlexVolume: &corev1.FlexPersistentVolumeSource{
		Driver: driver, SecretRef: &corev1.SecretReference{Name: secretName, Namespace: "default"}, Options: options}}
}

// sourcesWithSecrets is a source of each kind, by the storage that it makes.
func sourcesWithSecrets(plant func(string) string) map[string]corev1.PersistentVolumeSource {
	publish := csiSource("smb.csi.k8s.io", "", map[string]string{"source": "//user:" + plant("address of in-smb-csi") + "@host/share"})
	publish.CSI.NodePublishSecretRef = &corev1.SecretReference{Name: "in-smb-csi-cred", Namespace: "default"}
	return map[string]corev1.PersistentVolumeSource{
		"in-nfs":     {NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/data"}},
		"in-nfs-csi": csiSource("nfs.csi.k8s.io", "", map[string]string{"server": "user:" + plant("server of in-nfs-csi") + "@10.0.0.1", "share": "/data"}),
		"in-smb": flexSource("microsoft.com/smb", "in-smb-cred", map[string]string{"source": "//user:" + plant("address of in-smb") + "@host/share",
			"mountoptions": "vers=3.0,username=u,password=" + plant("options of in-smb")}),
		"in-smb-csi": publish,
		"in-blobfuse": flexSource("azure/blobfuse", "in-blobfuse-cred", map[string]string{"container": "c", "accountname": "a", "accountkey": plant("key of in-blobfuse"),
			"mountoptions": "--tmp-path=/mnt --account-key=" + plant("options of in-blobfuse") + " -o allow_other"}),
		"in-blob-csi": csiSource("blob.csi.azure.com", "in-blob-csi-cred", map[string]string{"containerName": "c", "storageAccount": "a",
			"storageSasToken": plant("SAS of in-blob-csi"), "AzureStorageAccountKey": plant("key of in-blob-csi")}),
		"in-file":     {AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: "in-file-cred", ShareName: "s"}},
		"in-file-csi": csiSource("file.csi.azure.com", "in-file-csi-cred", map[string]string{"shareName": "s", "storageAccount": "a", "storageAccountKey": plant("key of in-file-csi")}),
		"in-our-blob": csiSource("csi.pai.storage", "in-our-blob-cred", map[string]string{"type": "azureBlob", "account": "a", "container": "c",
			"endpoint": "https://u:" + plant("endpoint of in-our-blob") + "@h", "accountkey": plant("key of in-our-blob")}),
		"in-our-s3": csiSource("csi.pai.storage", "in-our-s3-cred", map[string]string{"type": "s3", "bucket": "b", "region": "r", "endpoint": "https://h",
			"secretkey": plant("key of in-our-s3")}),
		"in-dshuttle": csiSource("dshuttle", "in-dshuttle-cred", map[string]string{"address": "https://user:" + plant("address of in-dshuttle") + "@host/x", "path": "/y",
			"accessKey": plant("key of in-dshuttle"), "password": plant("password of in-dshuttle"), "blob": "https://host/c?sv=1&sig=" + plant("signed URL of in-dshuttle") + "&se=2",
			"sig": plant("signature of in-dshuttle"), "options": "vers=3,password=" + plant("options of in-dshuttle")}),
		"in-host":  {HostPath: &corev1.HostPathVolumeSource{Path: "/x"}},
		"in-local": {Local: &corev1.LocalVolumeSource{Path: "/x"}},
		"in-other": csiSource("x.example", "in-other-cred", map[string]string{"key": plant("key of in-other")}),
		"in-flex":  flexSource("x/y", "in-flex-cred", map[string]string{"key": plant("key of in-flex"), "mountoptions": "a=b,pass=" + plant("options of in-flex")}),
		"in-ceph": {CephFS: &corev1.CephFSPersistentVolumeSource{Monitors: []string{"m"}, User: plant("user of in-ceph"), SecretFile: "/" + plant("file of in-ceph"),
			SecretRef: &corev1.SecretReference{Name: "in-ceph-cred"}}},
		"in-none": {},
	}
}

// optionsWithSecrets are mount options in every spelling that a mount command takes.
func optionsWithSecrets(plant func(string) string, name string) []string {
	secret := func() string { return plant("mount option of " + name) }
	return []string{"hard", "dir_mode=0777", "password=" + secret(), "pass=" + secret(), "vers=3.0,username=u,password2=" + secret() + ",seal",
		"-o password=" + secret(), "--account-key=" + secret(), "--account-key " + secret(), "sig=" + secret(), "credentials=/" + secret(),
		"endpoint=https://u:" + secret() + "@host/", "blob=https://host/c?sv=1&sig=" + secret(), "user=u%" + secret(), "PassWord = " + secret()}
}
