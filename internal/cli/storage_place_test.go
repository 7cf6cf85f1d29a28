package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// TestPlace: what people write as the URL of a storage is taken where it can work, and else it is said what is wrong.
func TestPlace(t *testing.T) {
	for text, want := range map[string]client.Declaration{
		"nfs://10.0.0.1/data":                          {Type: pai.StorageNFS, Server: "10.0.0.1", Path: "/data"},
		"nfs://10.0.0.1/":                              {Type: pai.StorageNFS, Server: "10.0.0.1", Path: "/"},
		"nfs://10.0.0.1:/data":                         {Type: pai.StorageNFS, Server: "10.0.0.1", Path: "/data"},
		"nfs://[fd00::10]/data":                        {Type: pai.StorageNFS, Server: "fd00::10", Path: "/data"},
		"nfs://host:2050/data":                         {Type: pai.StorageNFS, Server: "host", Path: "/data", MountOptions: []string{"port=2050"}},
		"nfs://[fd00::10]:2050/d":                      {Type: pai.StorageNFS, Server: "fd00::10", Path: "/d", MountOptions: []string{"port=2050"}},
		"smb://[fd00::10]/team":                        {Type: pai.StorageSamba, Address: "//fd00::10/team"},
		"cifs://host:4450/team/a/":                     {Type: pai.StorageSamba, Address: "//host/team/a", MountOptions: []string{"port=4450"}},
		"azblob://team1/archive/p":                     {Type: pai.StorageAzureBlob, AccountName: "team1", ContainerName: "archive", Prefix: "p"},
		"azblob://team1.blob.core.windows.net/archive": {Type: pai.StorageAzureBlob, AccountName: "team1", ContainerName: "archive"},
		"azblob://archive":                             {Type: pai.StorageAzureBlob, ContainerName: "archive"},
		"azfile://team1.file.core.windows.net/share":   {Type: pai.StorageAzureFile, AccountName: "team1", ShareName: "share"},
		"s3://models/a/b":                              {Type: pai.StorageS3, Bucket: "models", Prefix: "a/b"},
		"hostpath:///srv":                              {Type: pai.StorageHostPath, Path: "/srv"},
		"local://w1,w2/srv":                            {Type: pai.StorageLocal, Path: "/srv", Nodes: []string{"w1", "w2"}},
	} {
		var got client.Declaration
		if err := place(text, &got); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.1:/data": "with :// behind its type", "nfs:/data": "with ://", "ftp://h/d": `"ftp://": choose nfs`, "nfs:///data": "does not say the server", "s3://": "does not say the bucket: expected s3://BUCKET",
		"smb://h": "does not say the share: expected smb://HOST/SHARE", "smb:///s": "does not say the host", "azblob://": "the account and the container",
		"azblob://team1.blob.core.windows.net/": "the container", "azfile://a/s/d": "takes no directory", "local:///srv": "the node", "local://w1": "the path",
		"hostpath://srv": "three slashes", "hostpath://": "the path", "nfs://fd00::10/data": "in brackets", "nfs://[fd00::10/data": "bracket", "nfs://h:CANARY/d": "no port",
		"nfs://h:0/d": "between 1 and 65535", "nfs://h:99999/d": "between 1 and 65535", "s3://bucket:9000/p": "--endpoint https://HOST:9000", "azfile://a:445/s": "has no port",
		"smb://u:CANARY@h/s": "--secret-from", "https://acct.blob.core.windows.net/c?sig=CANARY": "azblob://ACCOUNT/CONTAINER", "azblob://a/c?sig=CANARY": `"?" or "#"`,
		"nfs://h": "nfs://SERVER/ for everything", "nfs://h/a#CANARY": "%23", "nfs://h/100%": "%25", "abfss://c@a.dfs.core.windows.net/": "azblob://ACCOUNT/CONTAINER",
	} {
		err := place(text, &client.Declaration{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
	if err := place("nfs://h:2050/d", &client.Declaration{MountOptions: []string{"port=2049"}}); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("two ports: got %v", err)
	}
}
