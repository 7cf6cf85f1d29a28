package volume

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/mount"
)

func TestVolumes(t *testing.T) {
	csi := func(driver, handle string, attributes map[string]string, options ...string) func() (mount.Volume, error) {
		return func() (mount.Volume, error) { return CSI(driver, attributes, handle, options, false) }
	}
	flex := func(driver string, options map[string]string) func() (mount.Volume, error) {
		return func() (mount.Volume, error) { return Flex(driver, options, false) }
	}
	type attributes = map[string]string
	for name, c := range map[string]struct {
		read func() (mount.Volume, error)
		want mount.Volume
		err  string
	}{
		"smb":                    {read: flex(FlexSMB, attributes{"source": "//10.0.0.1/data", "mountoptions": "vers=3.0, dir_mode=0777", "kubernetes.io/readwrite": "rw"}), want: mount.Volume{Kind: mount.SMB, Source: "//10.0.0.1/data", Options: []string{"vers=3.0", "dir_mode=0777"}}},
		"smb with backslashes":   {read: flex(FlexSMB, attributes{"source": `\\server\share\dir`, "mountoptions": "ro"}), want: mount.Volume{Kind: mount.SMB, Source: "//server/share/dir", Options: []string{"ro"}, ReadOnly: true}},
		"smb without share":      {read: flex(FlexSMB, attributes{"source": "//server"}), err: "source: expected //HOST/SHARE"},
		"smb climbs":             {read: flex(FlexSMB, attributes{"source": "//server/share/../other"}), err: "source:"},
		"smb with an option":     {read: flex(FlexSMB, attributes{"source": "//server/share,password=x"}), err: "no comma"},
		"smb with a password":    {read: flex(FlexSMB, attributes{"source": "//server/share", "mountoptions": "vers=3.0,pass=hunter2"}), err: "pass belongs into the Secret"},
		"smb with credentials":   {read: flex(FlexSMB, attributes{"source": "//server/share", "mountoptions": "credentials=/etc/shadow"}), err: "credentials belongs into the Secret"},
		"smb with a line":        {read: flex(FlexSMB, attributes{"source": "//server/share", "mountoptions": "vers=3.0\nuid=0"}), err: "control characters"},
		"another flex driver":    {read: flex("acme/foo", nil), err: "not one of ours"},
		"blobfuse":               {read: flex(FlexBlob, attributes{"container": "images", "tmppath": "/tmp/x", "mountoptions": "--file-cache-timeout-in-seconds=120 --log-level LOG_ERR -o allow_other,uid=1000 -o attr_timeout=240 --use-https=true"}), want: mount.Volume{Kind: mount.AzureBlob, Source: "images", Options: []string{"allow_other", "uid=1000"}}},
		"blobfuse, modes":        {read: flex(FlexBlob, attributes{"container": "images", "mountoptions": "-o allow_other,default_permissions,umask=077"}), want: mount.Volume{Kind: mount.AzureBlob, Source: "images", Options: []string{"allow_other", "default_permissions", "umask=077"}}},
		"blobfuse, unknown":      {read: flex(FlexBlob, attributes{"container": "images", "mountoptions": "--virtual-directory=true"}), err: "--virtual-directory has no counterpart"},
		"blobfuse, FUSE unknown": {read: flex(FlexBlob, attributes{"container": "images", "mountoptions": "-o subtype=x"}), err: `"subtype" is unknown`},
		"blobfuse, no container": {read: flex(FlexBlob, nil), err: "container: missing"},
		"our nfs":                {read: csi(CSIDriver, "", attributes{"type": "nfs", "server": "fd00::1", "path": "/data"}, "nfsvers=4.1"), want: mount.Volume{Kind: mount.NFS, Source: "[fd00::1]:/data", Options: []string{"nfsvers=4.1"}}},
		"our smb":                {read: csi(CSIDriver, "", attributes{"type": "samba", "address": "//host/share"}), want: mount.Volume{Kind: mount.SMB, Source: "//host/share", Options: []string{"nosharesock"}}},
		"our blob":               {read: csi(CSIDriver, "", attributes{"type": "azureBlob", "account": "acme", "container": "images", "prefix": "/a/b/"}), want: mount.Volume{Kind: mount.AzureBlob, Source: "images/a/b", Endpoint: "https://acme.blob.core.windows.net"}},
		"our blob, emulator":     {read: csi(CSIDriver, "", attributes{"type": "azureBlob", "container": "images", "endpoint": "http://10.0.0.1:10000/dev/"}), want: mount.Volume{Kind: mount.AzureBlob, Source: "images", Endpoint: "http://10.0.0.1:10000/dev"}},
		"our s3":                 {read: csi(CSIDriver, "", attributes{"type": "s3", "bucket": "my.bucket", "endpoint": "objects.example.org", "region": "eu-1"}, "uid=1000"), want: mount.Volume{Kind: mount.S3, Source: "my.bucket", Endpoint: "https://objects.example.org", Region: "eu-1", Options: []string{"uid=1000"}}},
		"our s3, key in the URL": {read: csi(CSIDriver, "", attributes{"type": "s3", "bucket": "bucket", "endpoint": "https://key:secret@host"}), err: "without credentials"},
		"our s3, unknown":        {read: csi(CSIDriver, "", attributes{"type": "s3", "bucket": "bucket", "colour": "red"}), err: "colour: volumes of type s3 have no such attribute"},
		"our s3, climbs":         {read: csi(CSIDriver, "", attributes{"type": "s3", "bucket": "bucket", "prefix": "a/../../b"}), err: "prefix:"},
		"our unknown":            {read: csi(CSIDriver, "", attributes{"type": "tape"}), err: `type: "tape" is none of`},
		"azure file translated":  {read: csi(AzureFileDriver, "rg#acme#aksshare#name#default", attributes{"shareName": "aksshare"}, "dir_mode=0755", "nobrl"), want: mount.Volume{Kind: mount.SMB, Source: "//acme.file.core.windows.net/aksshare", Options: []string{"dir_mode=0755", "nobrl", "nosharesock", "file_mode=0777", "actimeo=30", "mfsymlinks"}}},
		"azure file, its Secret": {read: csi(AzureFileDriver, "rg#team.azure.secret#aksshare#name#default", attributes{"shareName": "aksshare"}, "dir_mode=0755", "nobrl"), want: mount.Volume{Kind: mount.SMB, Source: "//account-of-the-secret.file.core.windows.net/aksshare", Options: []string{"dir_mode=0755", "nobrl", "nosharesock", "file_mode=0777", "actimeo=30", "mfsymlinks"}}},
		"azure file, server":     {read: csi(AzureFileDriver, "x", attributes{"sharename": "aksshare", "server": "files.example.org", "foldername": "sub"}, "mfsymlinks", "actimeo=1", "file_mode=0600", "dir_mode=0700"), want: mount.Volume{Kind: mount.SMB, Source: "//files.example.org/aksshare/sub", Options: []string{"mfsymlinks", "actimeo=1", "file_mode=0600", "dir_mode=0700", "nosharesock"}}},
		"azure file by NFS":      {read: csi(AzureFileDriver, "x", attributes{"shareName": "aksshare", "protocol": "nfs"}), err: "need the official driver"},
		"a user with a password": {read: csi(CSIDriver, "", attributes{"type": "samba", "address": "//host/share"}, "username=bob%hunter2"), err: "belongs into the Secret"},
		"a password in the host": {read: csi(CSIDriver, "", attributes{"type": "samba", "address": "//bob:hunter2@host/share"}), err: "without a user"},
		"an option as zone":      {read: csi(CSIDriver, "", attributes{"type": "samba", "address": "//fe80::1%a,sec=none/share"}), err: "address:"},
		"a zone":                 {read: csi(CSIDriver, "", attributes{"type": "samba", "address": "//fe80::1%eth0/share"}), want: mount.Volume{Kind: mount.SMB, Source: "//fe80::1%eth0/share", Options: []string{"nosharesock"}}},
		"official smb":           {read: csi(OfficialSMB, "", attributes{"Source": "//host/share", "subDir": "a"}), want: mount.Volume{Kind: mount.SMB, Source: "//host/share/a", Options: []string{"nosharesock"}}},
		"official nfs":           {read: csi(OfficialNFS, "", attributes{"server": "host", "share": "/", "subDir": "a"}), want: mount.Volume{Kind: mount.NFS, Source: "host:/a"}},
		"official blob":          {read: csi(OfficialBlob, "", attributes{"containerName": "images"}, "-o allow_other"), want: mount.Volume{Kind: mount.AzureBlob, Source: "images"}},
		"another CSI driver":     {read: csi("ebs.csi.aws.com", "", nil), err: "none that can be mounted here"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.read()
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err == "" && cmp.Diff(c.want, got) != "":
				t.Error(cmp.Diff(c.want, got))
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	azureFiles, err := AzureFile("", "aksshare", nil, false)
	if err != nil {
		t.Fatal(err)
	}
	completed, err := WithSecret(azureFiles, map[string]string{"azurestorageaccountname": "acme\n"})
	if err != nil || completed.Source != "//acme.file.core.windows.net/aksshare" {
		t.Errorf("%+v, %v", completed, err)
	}
	if _, err := WithSecret(azureFiles, map[string]string{"azurestorageaccountname": "evil.example.org/x#"}); err == nil {
		t.Error("an account that is a host was taken")
	}
	blob := mount.Volume{Kind: mount.AzureBlob, Source: "images"}
	for name, c := range map[string]struct {
		driver string
		volume mount.Volume
		raw    map[string]string
		want   mount.Secret
		err    string
	}{
		"smb":                               {FlexSMB, mount.Volume{Kind: mount.SMB, Source: "//h/s"}, map[string]string{"username": "u", "password": "p w,\n", "domain": "D"}, mount.Secret{"username": "u", "password": "p w,", "domain": "D"}, ""},
		"smb, guest":                        {FlexSMB, mount.Volume{Kind: mount.SMB, Source: "//h/s", Options: []string{"guest"}}, nil, mount.Secret{}, ""},
		"smb, no user":                      {FlexSMB, mount.Volume{Kind: mount.SMB, Source: "//h/s"}, map[string]string{"password": "p"}, nil, "the Secret lacks the key username"},
		"smb, no password":                  {FlexSMB, mount.Volume{Kind: mount.SMB, Source: "//h/s"}, map[string]string{"username": "u"}, nil, "the Secret lacks the key password"},
		"azure file":                        {AzureFileDriver, completed, map[string]string{"azurestorageaccountname": "acme", "azurestorageaccountkey": "k"}, mount.Secret{"username": "acme", "password": "k"}, ""},
		"azure file, none":                  {CSIDriver, completed, map[string]string{"azurestorageaccountname": "acme"}, nil, "the Secret lacks the key azurestorageaccountkey"},
		"blob":                              {FlexBlob, blob, map[string]string{"accountname": "a", "accountkey": "k", "blobendpoint": "x"}, mount.Secret{"accountname": "a", "accountkey": "k"}, ""},
		"blob, official":                    {OfficialBlob, blob, map[string]string{"azurestorageaccountname": "a", "azurestorageaccountsastoken": "?sv=1"}, mount.Secret{"accountname": "a", "accountsastoken": "?sv=1"}, ""},
		"blob, no key":                      {FlexBlob, blob, map[string]string{"accountname": "a"}, nil, "the Secret lacks the key accountkey"},
		"blob, account in the volume":       {CSIDriver, mount.Volume{Kind: mount.AzureBlob, Source: "images", Endpoint: "https://acme.blob.core.windows.net"}, map[string]string{"accountkey": "k"}, mount.Secret{"accountname": "acme", "accountkey": "k"}, ""},
		"blob, account of an emulator":      {CSIDriver, mount.Volume{Kind: mount.AzureBlob, Source: "images", Endpoint: "http://10.0.0.1:10000/dev"}, map[string]string{"accountkey": "k"}, mount.Secret{"accountname": "dev", "accountkey": "k"}, ""},
		"azure file, account in the volume": {CSIDriver, completed, map[string]string{"azurestorageaccountkey": "k"}, mount.Secret{"username": "acme", "password": "k"}, ""},
		"azure file, account nowhere":       {AzureFileDriver, azureFiles, map[string]string{"azurestorageaccountkey": "k"}, nil, "the Secret lacks the key azurestorageaccountname"},
		"smb, domain":                       {FlexSMB, mount.Volume{Kind: mount.SMB, Source: "//h/s"}, map[string]string{"username": `CORP\u`, "password": "p"}, mount.Secret{"username": "u", "password": "p", "domain": "CORP"}, ""},
		"s3":                                {CSIDriver, mount.Volume{Kind: mount.S3}, map[string]string{"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}, mount.Secret{"accesskey": "a", "secretkey": "s"}, ""},
		"s3, anonymous":                     {CSIDriver, mount.Volume{Kind: mount.S3}, nil, mount.Secret{}, ""},
		"s3, half":                          {CSIDriver, mount.Volume{Kind: mount.S3}, map[string]string{"accesskey": "a"}, nil, "the Secret lacks the key secretkey"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Secret(c.driver, c.volume, c.raw)
			if c.err != "" && (err == nil || err.Error() != c.err) || c.err == "" && (err != nil || cmp.Diff(c.want, got) != "") {
				t.Errorf("%v (%v), want %v (%q)", map[string]string(got), err, map[string]string(c.want), c.err)
			}
		})
	}
	if text := fmt.Sprintf("%v %+v %#v", mount.Secret{"password": "hunter2"}, mount.Secret{"password": "hunter2"}, mount.Secret{"password": "hunter2"}); strings.Contains(text, "hunter2") {
		t.Error(text)
	}
}

// FuzzOptions: whatever a volume says, an option stays one option, and what a source names is inside of what it names.
func FuzzOptions(f *testing.F) {
	f.Add("//host/share", "vers=3.0,uid=0", "images", "--use-https=true -o allow_other")
	f.Fuzz(func(t *testing.T, source, options, container, words string) {
		for _, read := range []func() (mount.Volume, error){
			func() (mount.Volume, error) {
				return Flex(FlexSMB, map[string]string{"source": source, "mountoptions": options}, false)
			},
			func() (mount.Volume, error) {
				return Flex(FlexBlob, map[string]string{"container": container, "mountoptions": words}, false)
			},
			func() (mount.Volume, error) {
				return CSI(CSIDriver, map[string]string{"type": "s3", "bucket": container, "prefix": source, "endpoint": words}, "", []string{options}, false)
			},
			func() (mount.Volume, error) { return NFS(container, source, []string{options}, false) },
		} {
			v, err := read()
			if err != nil {
				continue
			}
			if strings.ContainsAny(v.Source+v.Endpoint+v.Region, "\n\x00") || slices.Contains(strings.Split(v.Source, "/"), "..") && v.Kind != mount.NFS {
				t.Errorf("source %q, endpoint %q", v.Source, v.Endpoint)
			}
			for _, o := range v.Options {
				if strings.ContainsAny(o, ",\n\x00") {
					t.Errorf("option %q is several", o)
				}
			}
		}
	})
}
