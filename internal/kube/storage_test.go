package kube

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

func flex(driver string, options map[string]string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{FlexVolume: &corev1.FlexPersistentVolumeSource{
		Driver: driver, Options: options, ReadOnly: true, SecretRef: &corev1.SecretReference{Name: "cred"}}}
}

func csi(driver string, attributes map[string]string) corev1.PersistentVolumeSource {
	return corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
		Driver: driver, VolumeHandle: "handle", VolumeAttributes: attributes, NodeStageSecretRef: &corev1.SecretReference{Name: "cred"}}}
}

// TestStorageTable has a row for each source that a volume may have, with CANARY wherever a secret can be.
func TestStorageTable(t *testing.T) {
	type data = map[string]string
	for _, c := range []struct {
		name     string
		source   corev1.PersistentVolumeSource
		options  []string
		kind     pai.StorageType
		data     data
		readOnly bool
		secret   string
		mount    []string
	}{
		{"nfs", corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "10.0.0.1", Path: "/data"}},
			[]string{"nfsvers=4.1", "hard"}, pai.StorageNFS, data{"server": "10.0.0.1", "path": "/data"}, false, "", []string{"nfsvers=4.1", "hard"}},
		{"nfs read-only", corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/", ReadOnly: true}}, nil,
			pai.StorageNFS, data{"server": "s", "path": "/"}, true, "", nil},
		{"nfs csi", csi("nfs.csi.k8s.io", data{"server": "s", "share": "/a/", "subDir": "/b"}), nil, pai.StorageNFS, data{"server": "s", "path": "/a/b"}, false, "cred", nil},
		{"smb flex", flex("microsoft.com/smb", data{"source": "//host/share", "mountoptions": "vers=3.0,username=CANARY,password=CANARY"}), nil,
			pai.StorageSamba, data{"address": "//host/share"}, true, "cred", []string{"vers=3.0"}},
		{"smb csi", csi("smb.csi.k8s.io", data{"source": "//host/share"}), []string{"dir_mode=0777", "credentials=/CANARY"}, pai.StorageSamba,
			data{"address": "//host/share"}, false, "cred", []string{"dir_mode=0777"}},
		{"blobfuse", flex("azure/blobfuse", data{"container": "c", "accountname": "a", "accountkey": "CANARY"}), nil, pai.StorageAzureBlob,
			data{"containerName": "c", "accountName": "a"}, true, "cred", nil},
		{"blob csi", csi("blob.csi.azure.com", data{"containerName": "c", "storageAccount": "a", "AzureStorageAccountKey": "CANARY"}), nil, pai.StorageAzureBlob,
			data{"containerName": "c", "accountName": "a"}, false, "cred", nil},
		{"azure file", corev1.PersistentVolumeSource{AzureFile: &corev1.AzureFilePersistentVolumeSource{SecretName: "azure-secret", ShareName: "aksshare", ReadOnly: true}},
			[]string{"dir_mode=0777"}, pai.StorageAzureFile, data{"shareName": "aksshare"}, true, "azure-secret", []string{"dir_mode=0777"}},
		{"file csi", csi("file.csi.azure.com", data{"shareName": "s", "storageAccount": "a"}), nil, pai.StorageAzureFile,
			data{"shareName": "s", "accountName": "a"}, false, "cred", nil},
		{"our smb", csi("csi.pai.storage", data{"type": "samba", "address": "//u:CANARY@host/share/a"}), []string{"vers=3.0", "password=CANARY"}, pai.StorageSamba,
			data{"address": "//host/share/a"}, false, "cred", []string{"vers=3.0"}},
		{"our nfs", csi("csi.pai.storage", data{"type": "nfs", "server": "s", "path": "/a", "password": "CANARY"}), nil, pai.StorageNFS, data{"server": "s", "path": "/a"}, false, "cred", nil},
		{"our blob", csi("csi.pai.storage", data{"type": "azureBlob", "account": "a", "container": "c", "endpoint": "https://u:CANARY@h/a", "accountkey": "CANARY"}), nil,
			pai.StorageAzureBlob, data{"containerName": "c", "accountName": "a", "endpoint": "https://h/a"}, false, "cred", nil},
		{"our file", csi("csi.pai.storage", data{"Type": "azureFile", "share": "s", "server": "h"}), nil, pai.StorageAzureFile, data{"shareName": "s", "server": "h"}, false, "cred", nil},
		{"our s3", csi("csi.pai.storage", data{"type": "s3", "bucket": "b", "prefix": "p/q", "endpoint": "https://h:9000/?sig=CANARY", "region": "r", "secretkey": "CANARY"}), nil,
			pai.StorageS3, data{"bucket": "b", "prefix": "p/q", "endpoint": "https://h:9000/?sig=(withheld)", "region": "r"}, false, "cred", nil},
		{"our unknown", csi("csi.pai.storage", data{"type": "CANARY"}), nil, pai.StorageOther, data{"driver": "csi.pai.storage"}, false, "cred", nil},
		{"dshuttle", csi("dshuttle", data{"address": "x", "path": "/y", "accessKey": "CANARY", "Password": "CANARY"}), nil, pai.StorageDshuttle,
			data{"address": "x", "path": "/y"}, false, "cred", nil},
		{"dshuttle with addresses", csi("dshuttle", data{"address": "https://u:CANARY@h/x", "blob": "https://h/c?sv=1&sig=CANARY&se=2", "sig": "CANARY",
			"options": "vers=3,password=CANARY", "path": "/user=a,b@c"}), []string{"noauth", "vers=3.0,username=u,password=CANARY,seal", "-o pass=CANARY", "--account-key CANARY",
			"endpoint=https://u:CANARY@h/"}, pai.StorageDshuttle, data{"address": "https://h/x", "blob": "https://h/c?sv=1&sig=(withheld)&se=2", "options": "vers=3", "path": "/user=a,b@c"},
			false, "cred", []string{"noauth", "vers=3.0,seal", "endpoint=https://h/"}},
		{"smb with a user", csi("smb.csi.k8s.io", data{"source": "//u:CANARY@host/share"}), nil, pai.StorageSamba, data{"address": "//host/share"}, false, "cred", nil},
		{"nfs with a user", csi("nfs.csi.k8s.io", data{"server": "u:CANARY@host", "share": "/a:b@c"}), nil, pai.StorageNFS, data{"server": "host", "path": "/a:b@c"}, false, "cred", nil},
		{"host path", corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/x"}}, nil, pai.StorageHostPath, data{"path": "/x"}, false, "", nil},
		{"local", corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/x"}}, nil, pai.StorageLocal, data{"path": "/x"}, false, "", nil},
		{"other csi", csi("x.example", data{"key": "CANARY"}), nil, pai.StorageOther, data{"driver": "x.example"}, false, "cred", nil},
		{"other flex", flex("x/y", data{"key": "CANARY"}), nil, pai.StorageOther, data{"driver": "x/y"}, true, "cred", nil},
		{"cephfs", corev1.PersistentVolumeSource{CephFS: &corev1.CephFSPersistentVolumeSource{Monitors: []string{"m"}, SecretFile: "CANARY", ReadOnly: true}}, nil,
			pai.StorageOther, data{"driver": "cephfs"}, true, "", nil},
		{"nothing", corev1.PersistentVolumeSource{}, nil, pai.StorageUnknown, data{}, false, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := started(t,
				&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"}, Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: c.source, MountOptions: c.options}},
				boundClaim("st", "pv"))
			got, err := cluster.Storage(t.Context(), "st")
			if err != nil {
				t.Fatal(err)
			}
			want := pai.Storage{Name: "st", Share: true, VolumeName: "pv", Bound: true, Type: c.kind, Data: c.data, ReadOnly: c.readOnly, SecretName: c.secret, MountOptions: c.mount}
			if c.source.CSI != nil {
				want.Handle = c.source.CSI.Driver + " handle"
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if text := fmt.Sprintf("%+v", got); strings.Contains(text, "CANARY") {
				t.Errorf("a secret is shown: %s", text)
			}
		})
	}
}

func boundClaim(name, volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: volume},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
}

func TestCredentialsAreShownOnRequest(t *testing.T) {
	c := boundClaim("st", "pv")
	c.Annotations = map[string]string{exposeAnnotation: "true"}
	cluster := started(t, c, &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: csi("dshuttle", map[string]string{"password": "shown"})}})
	if got, err := cluster.Storage(t.Context(), "st"); err != nil || got.Data["password"] != "shown" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPersonalAndUnbound(t *testing.T) {
	personal, shared := boundClaim("a", ""), boundClaim("b", "gone")
	personal.Labels, personal.Status.Phase = map[string]string{"share": "false"}, corev1.ClaimPending
	shared.Labels, shared.Status.Phase = map[string]string{"share": "true"}, corev1.ClaimLost
	cluster := started(t, personal, shared)
	got, err := cluster.Storages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []pai.Storage{
		{Name: "a", Type: pai.StorageUnknown, Data: map[string]string{}, Reason: "no volume is bound to its claim yet: there is no volume"},
		{Name: "b", Share: true, VolumeName: "gone", Type: pai.StorageUnknown, Data: map[string]string{}, Reason: "its volume gone is gone; make a volume of that name again, or declare the storage anew after: kubectl delete pvc b -n default"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := cluster.Storage(t.Context(), "none"); pai.CodeOf(err) != pai.NoStorageError {
		t.Errorf("got %v", err)
	}
}

// TestShareLabel: a label that says neither true nor false never shows everybody the whole of what was meant to be personal.
func TestShareLabel(t *testing.T) {
	for _, c := range []struct {
		label          any
		share, refused bool
	}{
		{nil, true, false}, {"true", true, false}, {"false", false, false},
		{"False", false, true}, {"FALSE", false, true}, {"no", false, true}, {"0", false, true}, {"", false, true}, {"True", false, true}, {"yes", false, true},
	} {
		st := boundClaim("st", "st-pv")
		if value, ok := c.label.(string); ok {
			st.Labels = map[string]string{"share": value}
		}
		var log strings.Builder
		client := kubefake.New(st, holding("st"), &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "st-pv"},
			Spec: corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}}}})
		cluster, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		cluster.claims.put(st.DeepCopy())
		cluster.volumes.put(mustVolume(t, client, "st-pv"))
		cluster.groups.put(holding("st"))
		got, err := cluster.Storage(t.Context(), "st")
		if err != nil || got.Share != c.share || got.Refused != c.refused || got.Usable() == c.refused || !got.Bound {
			t.Errorf("%v: got %+v, %v", c.label, got, err)
		}
		if _, ordered, err := cluster.orderFor(t.Context(), "st"); ordered == c.refused || err != nil {
			t.Errorf("%v: workers mount it: %t, %v", c.label, ordered, err)
		}
		if !c.refused {
			if got.Reason != "" || log.Len() > 0 {
				t.Errorf("%v: %q; the log has %s", c.label, got.Reason, &log)
			}
			continue
		}
		want := fmt.Sprintf(`the label share of its claim is %q, which is neither "true" nor "false"; for a personal storage: kubectl label pvc st -n default share=false --overwrite [STO-114]`, c.label)
		if got.Reason != want {
			t.Errorf("got %q, want %q", got.Reason, want)
		}
		if text := log.String(); !strings.Contains(text, "storage=st code=STO-114") {
			t.Errorf("%v: the log has %s", c.label, text)
		}
	}
}

func mustVolume(t *testing.T, client kubernetes.Interface, name string) *corev1.PersistentVolume {
	t.Helper()
	pv, err := client.CoreV1().PersistentVolumes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pv
}
