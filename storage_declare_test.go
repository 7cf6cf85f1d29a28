package pai_test

import (
	"fmt"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

// declarations are good ones, one of each type.
func declarations() []pai.StorageDeclaration {
	smb := pai.Secret{"username": "u", "password": "p"}
	return []pai.StorageDeclaration{
		{Name: "n", Type: pai.StorageNFS, Server: "10.0.0.1", Path: "/data", MountOptions: []string{"nfsvers=4.1", "hard"}, ReadOnly: true},
		{Name: "n", Type: pai.StorageNFS, Server: "fd00::1", Path: "/", Size: "1.5Ti"},
		{Name: "n", Type: pai.StorageSamba, Address: "//files.example.org/team", Secret: smb},
		{Name: "n", Type: pai.StorageSamba, Address: "//files/team share/a/b", SecretName: "smb-secret"},
		{Name: "n", Type: pai.StorageAzureBlob, Container: "archive", Secret: pai.Secret{"accountname": "a", "accountsastoken": "t"}},
		{Name: "n", Type: pai.StorageAzureBlob, Account: "team1", Container: "archive", Prefix: "2026/raw", Secret: pai.Secret{"accountkey": "k"},
			Options: map[string]string{"endpoint": "http://127.0.0.1:10000/team1"}},
		{Name: "n", Type: pai.StorageAzureBlob, Account: "team1", Container: "$web", Secret: pai.Secret{"accountname": "team1", "accountsastoken": "t"}},
		{Name: "n", Type: pai.StorageAzureFile, Share: "share", SecretName: "azure"},
		{Name: "n", Type: pai.StorageAzureFile, Account: "team1", Share: "share", Server: "files.example.org", Secret: pai.Secret{"azurestorageaccountkey": "k"}},
		{Name: "n", Type: pai.StorageS3, Bucket: "data.sets", Prefix: "a b/c", Endpoint: "https://[fd00::1]:9000", Region: "eu-west-1", Secret: pai.Secret{"accesskey": "a", "secretkey": "s"}},
		{Name: "n", Type: pai.StorageS3, Bucket: "open-data", Anonymous: true, ReadOnly: true},
		{Name: "n", Type: pai.StorageHostPath, Path: "/srv"},
		{Name: "n", Type: pai.StorageLocal, Path: "/srv", Nodes: []string{"worker1", "worker2"}},
	}
}

func TestNormalizeTakesEveryType(t *testing.T) {
	for _, d := range declarations() {
		got, err := d.Normalize()
		if err != nil || (d.Size == "" && got.Size != "10Gi") {
			t.Errorf("%+v: size %q, %v", d, got.Size, err)
		}
	}
}

func TestNormalizeNamesEveryFault(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		d    pai.StorageDeclaration
		want []string
	}{
		{pai.StorageDeclaration{}, []string{"name: ", "type: "}},
		{pai.StorageDeclaration{Name: "n", Type: "cephfs"}, []string{`type: "cephfs": choose one of azureBlob, azureFile, hostPath, local, nfs, s3, samba`}},
		{pai.StorageDeclaration{Name: pai.StorageName(strings.Repeat("n", 241)), Type: pai.StorageHostPath, Path: "/x"}, []string{"name: at most 240"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageNFS, Path: "data", Address: "//a/b", Size: "-1", SecretName: "s"},
			[]string{"server: missing", "path: ", "address: storages of type nfs have none", "size: ", "secret: storages of type nfs have none"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageNFS, Server: "a b", Path: "/a/../b"}, []string{"server: ", "path: "}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageNFS, Server: "h", Path: "/a\nb", MountOptions: []string{"", "a,b", "password=x", "-o\x00"}},
			[]string{"path: ", "mountOptions[0]: ", "mountOptions[1]: ", "mountOptions[2]: credentials belong", "mountOptions[3]: "}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageNFS, Server: "h", Path: "/a", Options: map[string]string{"a": "b"}}, []string{"options: storages of type nfs have none"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageSamba, Address: "/host/share"}, []string{"address: ", "secret: missing"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageSamba, Address: "//host/share", SecretName: "Bad", Secret: pai.Secret{"username": "u", "extra": "SECRET"}},
			[]string{"secretName: not beside", "secretName: that cannot be", "secret.password: missing", `secret["extra"]: unknown`}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageSamba, Address: "//host/share", Secret: pai.Secret{"username": "u", "password": "SECRET\n"},
			Options: map[string]string{"accountkey": "SECRET", "x\n": "y"}},
			[]string{"secret.password: too long, or", "options: storages of type samba have none", "options.accountkey: credentials", `options["x\n"]`}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureBlob, Container: "c", Secret: pai.Secret{"accountkey": "SECRET"}}, []string{"secret.accountname: missing"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureBlob, Account: "Team", Container: "c", Bucket: "b", Secret: pai.Secret{"accountname": "SECRET", "accountkey": "SECRET"}},
			[]string{`accountName: "Team": lower-case`, "bucket: storages of type azureBlob have none", "secret.accountname: is another account"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureBlob, Account: "team", Container: "c", Prefix: "../x", Endpoint: "https://u:SECRET@h", SecretName: "s",
			Options: map[string]string{"tmppath": "/mnt", "prefix": "y", "sasToken": "SECRET"}},
			[]string{"prefix: ", "endpoint: a URL without a user", `options["tmppath"]: unknown; the options of type azureBlob are endpoint, prefix`, "options.prefix: contradicts", "options.sasToken: credentials"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureBlob, Account: "team", Container: "c"}, []string{"need one with accountkey or accountsastoken, or secretName"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureFile, Account: "t", Share: "s", Server: "a b", Endpoint: "https://h", Secret: pai.Secret{"accountkey": "SECRET"}},
			[]string{"accountName: ", "server: ", "endpoint: storages of type azureFile have none", "secret.azurestorageaccountkey: missing", `secret["accountkey"]: unknown`}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageS3}, []string{"bucket: missing", "need one with accesskey and secretkey, or secretName, or anonymous"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageS3, Bucket: "a..b", Endpoint: "ftp://h", Region: "x y", Prefix: "a//b", Secret: pai.Secret{"accesskey": "SECRET"}},
			[]string{"bucket: ", "endpoint: expected a URL", "region: ", "prefix: ", "secret.secretkey: missing"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageS3, Bucket: "UPPER", Endpoint: "https://h/?X-Amz-Signature=SECRET", Prefix: "a,b", SecretName: "s", Anonymous: true},
			[]string{"bucket: ", "endpoint: a URL without", "prefix: \"a,b\": commas", "anonymous: not beside a secret"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageS3, Bucket: "bucket", Endpoint: "https://h:0/", Anonymous: true}, []string{"endpoint: expected a port"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageS3, Bucket: "bucket", Endpoint: "https://h/%2e%2e/%0a", Anonymous: true}, []string{"endpoint: the path"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageSamba, Address: "//h/s", Anonymous: true}, []string{"anonymous: storages of type samba cannot be", "secret: missing"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureBlob, Container: "Bad_", Secret: pai.Secret{"accountname": "a"}},
			[]string{"containerName: ", "secret.accountkey or accountsastoken: missing"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageSamba, Address: "//u:SECRET@host/share", SecretName: "SECRET 1", MountOptions: []string{"-o pass=SECRET",
			"--account-key SECRET", "url=https://u:SECRET@host/", "dir_mode=0777"}, Options: map[string]string{"mountoptions": "a=b,pwd=SECRET", "u": "https://h/?sig=SECRET"}},
			[]string{"address: (withheld)", "secretName: that", "mountOptions[0]: cred", "mountOptions[1]: cred", "mountOptions[2]: cred", "options.mountoptions: cred", "options.u: cred"}},
		{pai.StorageDeclaration{Name: "n", Type: pai.StorageLocal, Path: "/" + long + long + long + long, Nodes: []string{"ok", "Not OK"}, ReadOnly: true},
			[]string{"path: ", `nodes: "Not OK"`, "readOnly: "}},
	} {
		_, err := c.d.Normalize()
		if pai.CodeOf(err) != pai.InvalidParametersError {
			t.Errorf("%+v: got %v", c.d, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %q is not in %q", c.d, want, err)
			}
		}
		if strings.Contains(err.Error(), "mountOptions[3]: cred") {
			t.Errorf("%+v: an option without credentials is refused: %v", c.d, err)
		}
		if strings.Contains(err.Error(), "SECRET") || strings.ContainsAny(err.Error(), "\n\x00") || len(err.Error()) > 1000 {
			t.Errorf("%+v: got %q", c.d, err)
		}
	}
}

func TestStorageSecretsDoNotPrint(t *testing.T) {
	s := pai.Secret{"password": "CANARY"}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), fmt.Sprintf("%+v", pai.StorageDeclaration{Secret: s})} {
		if strings.Contains(text, "CANARY") {
			t.Error(text)
		}
	}
}

// TestNormalizeCompletesSecrets: the secret says the account as well, and the caller's own map stays as it was.
func TestNormalizeCompletesSecrets(t *testing.T) {
	given := pai.Secret{"accountkey": "k"}
	d, err := pai.StorageDeclaration{Name: "n", Type: pai.StorageAzureBlob, Account: "team", Container: "c", Secret: given,
		Options: map[string]string{"endpoint": "https://h", "prefix": "p"}}.Normalize()
	if err != nil || d.Secret["accountname"] != "team" || len(given) != 1 || d.Endpoint != "https://h" || d.Prefix != "p" || d.Options != nil {
		t.Errorf("got %+v with the account %q, given %d keys, %v", d, d.Secret["accountname"], len(given), err)
	}
}

// FuzzNormalize: whatever a declaration passes with, it is one line of text each that cannot become two.
func FuzzNormalize(f *testing.F) {
	f.Add("nfs", "10.0.0.1", "/data", "hard", "k", "v")
	f.Add("samba", "//host/share", "/x", "vers=3.0", "username", "p\x00")
	f.Fuzz(func(t *testing.T, typ, where, path, option, key, value string) {
		d, err := pai.StorageDeclaration{Name: "n", Type: pai.StorageType(typ), Server: where, Address: where, Account: where, Container: where, Share: where,
			Bucket: where, Prefix: path, Endpoint: where, Region: where, Path: path,
			MountOptions: []string{option}, Options: map[string]string{key: value}}.Normalize()
		if err != nil {
			if pai.CodeOf(err) != pai.InvalidParametersError {
				t.Errorf("got %v", err)
			}
			return
		}
		if strings.ContainsFunc(d.Server+d.Address+d.Path+d.Account+d.Container+d.Bucket+d.Prefix+d.Endpoint+d.Region+option+value, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(option, ",") {
			t.Errorf("%+v passed", d)
		}
	})
}
