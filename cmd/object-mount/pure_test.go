package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/smithy-go"
	"github.com/rclone/rclone/fs"

	"github.com/pai-storage/pai-storage/internal/mount"
)

func TestOptions(t *testing.T) {
	o, err := fileSystem(mount.Volume{Options: []string{"allow_other", "umask=027", "uid=1000", "gid=2000", "file_mode=0640", "dir_mode=0750", "ro"}})
	if err != nil || o.Umask != 0o27 || o.UID != 1000 || o.GID != 2000 || o.FilePerms != 0o640 || o.DirPerms != 0o750 || !o.ReadOnly {
		t.Errorf("%+v %v", o, err)
	}
	if o, err := fileSystem(mount.Volume{}); err != nil || o.FilePerms != 0o777 || o.ReadOnly {
		t.Errorf("without options: %+v %v", o, err)
	}
	for _, bad := range []string{"frobnicate", "umask=99", "umask", "uid=-1", "uid=x", "gid=4294967296", "file_mode=01777", "allow_root", ""} {
		if _, err := fileSystem(mount.Volume{Options: []string{bad}}); err == nil || !strings.Contains(err.Error(), "bad option "+bad) {
			t.Errorf("option %q: %v", bad, err)
		}
	}
}

func TestSettingsRefuse(t *testing.T) {
	key := mount.Secret{"accountname": "a", "accountkey": "canary"}
	for name, c := range map[string]struct {
		volume mount.Volume
		secret mount.Secret
		want   string
	}{
		"no container": {mount.Volume{Kind: mount.AzureBlob}, key, "names no container"},
		"another kind": {mount.Volume{Kind: mount.NFS, Source: "a:/b"}, key, "no object store"},
		"no account":   {mount.Volume{Kind: mount.AzureBlob, Source: "c"}, mount.Secret{"accountkey": "canary"}, "no accountname"},
		"no key":       {mount.Volume{Kind: mount.AzureBlob, Source: "c"}, mount.Secret{"accountname": "a"}, "neither accountkey nor accountsastoken"},
	} {
		_, _, err := settings(c.volume, c.secret)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettings(t *testing.T) {
	_, set, err := settings(mount.Volume{Kind: mount.AzureBlob, Source: "c/dir"}, mount.Secret{"accountname": "a", "accountsastoken": "?sv=1&sig=x"})
	if err != nil || set["sas_url"] != "https://a.blob.core.windows.net/c?sv=1&sig=x" || set["key"] != "" {
		t.Errorf("SAS: %v %v", set, err)
	}
	_, set, err = settings(mount.Volume{Kind: mount.S3, Source: "b", Region: "eu-west-1"}, nil)
	if err != nil || set["provider"] != "AWS" || set["access_key_id"] != "" || set["env_auth"] != "false" || set["region"] != "eu-west-1" {
		t.Errorf("anonymous S3: %v %v", set, err)
	}
}

func TestSecretsAreHidden(t *testing.T) {
	const key, sig = "canary+key/of=", "canary+sig/x="
	h := newHider(mount.Secret{"accountname": "account", "accountkey": key, "accountsastoken": "?sv=2021&sp=rwl&sig=" + url.QueryEscape(sig)})
	for _, text := range []string{
		"key " + key, "escaped " + url.QueryEscape(key) + " " + url.PathEscape(key), "raw " + sig,
		`Put "https://account.blob.core.windows.net/c/f?comp=block&sig=` + url.QueryEscape(sig) + `&sp=rwl": dial tcp: refused`,
		"https://x/?X-Amz-Signature=canaryhex&X-Amz-Credential=canaryid/2026",
		"sig=canary-of-another",
	} {
		if got := h.from(text); strings.Contains(got, "canary") {
			t.Errorf("%q shows the secret: %q", text, got)
		}
	}
	if got := h.from("account says no"); got != "account says no" {
		t.Errorf("a harmless text: %q", got)
	}
}

func TestExplain(t *testing.T) {
	azureError := func(status int, code string) error {
		return fmt.Errorf("list: %w", &azcore.ResponseError{StatusCode: status, ErrorCode: code, RawResponse: &http.Response{}})
	}
	blob := mount.Volume{Kind: mount.AzureBlob, Source: "images/dir"}
	bucket := mount.Volume{Kind: mount.S3, Source: "images", Endpoint: "http://10.0.0.9:9000"}
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for want, c := range map[string]struct {
		volume mount.Volume
		err    error
	}{
		"azure: container images does not exist": {blob, azureError(404, "ContainerNotFound")},
		"s3: bucket images does not exist":       {bucket, fs.ErrorDirNotFound},
		"azure: authentication failed: Azure does not accept the key for container images (403 Authentication":                 {blob, azureError(403, "AuthenticationFailed")},
		"azure: authentication failed: Azure does not accept the key for container images, or not from this address (403 Auth": {blob, azureError(403, "AuthorizationFailure")},
		"azure: authentication failed: Azure does not accept the key for container images: it may not list it (403 Authoriz":   {blob, azureError(403, "AuthorizationPermissionMismatch")},
		"s3: authentication failed: http://10.0.0.9:9000 does not accept the key for bucket images (0 SignatureDoesNotMatch":   {bucket, &smithy.GenericAPIError{Code: "SignatureDoesNotMatch"}},
		"s3: Connection refused by http://10.0.0.9:9000":                                                                       {bucket, refused},
		"azure: could not resolve address: no such host: a.":                                                                   {blob, &net.DNSError{Name: "a.blob.core.windows.net", IsNotFound: true}},
		"s3: Connection timed out": {bucket, context.DeadlineExceeded},
		"s3: No route to host":     {bucket, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}},
		"azure: something else":    {blob, errors.New("something\n  else")},
	} {
		if got := explain(c.volume, c.err); got == nil || !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%v\nwant %s", got, want)
		}
	}
	if explain(blob, nil) != nil {
		t.Error("no error is one")
	}
}

// write makes a file of the cache, and its record unless that is "-".
func write(t *testing.T, cache, name, text, record string) {
	t.Helper()
	for place, content := range map[string]string{"vfs": text, "vfsMeta": record} {
		path := filepath.Join(cache, place, remoteName, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if content == "-" {
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLeftIn(t *testing.T) {
	cache := t.TempDir()
	if p, err := leftIn(cache, ""); err != nil || p.Pending != 0 {
		t.Errorf("an empty cache: %+v %v", p, err)
	}
	write(t, cache, "c/dir/dirty", "12345", `{"Dirty":true}`)
	write(t, cache, "c/clean", "12345", `{"Dirty":false}`)
	write(t, cache, "c/cut-off", "123", `{"Dir`)
	write(t, cache, "c/no-record", "1", "-")
	write(t, cache, "c/empty-no-record", "", "-")
	write(t, cache, "other/dirty", "1", `{"Dirty":true}`)
	p, err := leftIn(cache, "c")
	if err != nil || p.Pending != 3 || p.Bytes != 9 || !slices.Equal(p.Files, []string{"cut-off", "dir/dirty", "no-record"}) {
		t.Errorf("%+v %v", p, err)
	}
	if p, err := leftIn(cache, ""); err != nil || p.Pending != 4 {
		t.Errorf("of every volume: %+v %v", p, err)
	}
}

func TestRequests(t *testing.T) {
	for _, in := range []string{"", "\n", `{"secret":{"accountkey":"canary"`, `{"secret":"canary"}`, `{"target":"/x"}`} {
		for _, command := range []string{"serve", "pending"} {
			var out, errs strings.Builder
			code := program{stdin: strings.NewReader(in), stdout: &out, stderr: &errs}.main(t.Context(), []string{command})
			if code == 0 || errs.Len() == 0 || strings.Contains(errs.String(), "canary") {
				t.Errorf("%s of %q: %d, %s", command, in, code, &errs)
			}
		}
	}
}
