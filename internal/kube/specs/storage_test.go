package specs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// TestGoldenStorages compares the objects of a storage of each type with testdata/storage-TYPE.golden.
func TestGoldenStorages(t *testing.T) {
	for _, d := range []pai.StorageDeclaration{
		{Name: "data", Type: pai.StorageNFS, Server: "10.0.0.1", Path: "/data", MountOptions: []string{"nfsvers=4.1"}, ReadOnly: true},
		{Name: "home", Type: pai.StorageSamba, Address: "//10.0.0.1/users", Personal: true, MountOptions: []string{"vers=3.1.1", "seal"},
			Secret: pai.Secret{"username": "smbuser", "password": "smbpwd"}},
		{Name: "archive", Type: pai.StorageAzureBlob, Account: "team", Container: "archive", SecretName: "blob-secret", MountOptions: []string{"allow_other"},
			Options: map[string]string{"endpoint": "http://10.0.0.254:10000/team", "prefix": "2026"}},
		{Name: "files", Type: pai.StorageAzureFile, Account: "team", Share: "files", Server: "10.0.0.1", Secret: pai.Secret{"azurestorageaccountkey": "k"}},
		{Name: "models", Type: pai.StorageS3, Bucket: "models", Prefix: "llm", Endpoint: "https://s3.example.org", Region: "eu-west-1", ReadOnly: true,
			Secret: pai.Secret{"accesskey": "a", "secretkey": "s"}},
		{Name: "open", Type: pai.StorageS3, Bucket: "open-data", Anonymous: true},
		{Name: "scratch", Type: pai.StorageHostPath, Path: "/scratch"},
		{Name: "disk", Type: pai.StorageLocal, Path: "/disk", Nodes: []string{"worker1"}},
	} {
		name := string(d.Type)
		if d.Anonymous {
			name += "-anonymous"
		}
		t.Run(name, func(t *testing.T) {
			got := storageText(t, d)
			golden := filepath.Join("testdata", "storage-"+name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s differs; if that is right: go test ./internal/kube/specs -update\n%s", golden, diff)
			}
		})
	}
}

func storageText(t *testing.T, d pai.StorageDeclaration) string {
	t.Helper()
	d, err := d.Normalize()
	if err != nil {
		t.Fatal(err)
	}
	volume, err1 := specs.Volume("default", "d1", d)
	claim, err2 := specs.Claim("default", "d1", d)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	objects := []any{volume, claim}
	if len(d.Secret) > 0 {
		objects = append(objects, specs.StorageSecret("default", "d1", d, "uid-of-the-volume"))
	}
	text := ""
	for _, o := range objects {
		part, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		text += "---\n" + string(part)
	}
	return text
}
