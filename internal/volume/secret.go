package volume

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/pai-storage/pai-storage/internal/mount"
)

// secretKeys are the names under which drivers have what a volume is mounted with, by the engine's name. The first one of each list is the
// one that messages tell.
var secretKeys = map[mount.Kind]map[string][]string{
	mount.SMB: {
		"username": {"username", "azurestorageaccountname", "accountname"}, "password": {"password", "azurestorageaccountkey", "accountkey"}, "domain": {"domain"},
	},
	mount.AzureBlob: {
		"accountname": {"accountname", "azurestorageaccountname"}, "accountkey": {"accountkey", "azurestorageaccountkey"},
		"accountsastoken": {"accountsastoken", "azurestorageaccountsastoken"},
	},
	mount.S3: {
		"accesskey": {"accesskey", "access_key_id", "aws_access_key_id", "accesskeyid"}, "secretkey": {"secretkey", "secret_access_key", "aws_secret_access_key", "secretaccesskey"},
	},
}

// Secret reads the Secret of a volume: the keys of each driver become the engine's. driver decides what a message calls a key that is missing;
// the error has the words by which package doctor knows it. An account that the
// Secret does not have is the one that the volume names. An S3 volume without any key is one with anonymous access.
func Secret(driver string, v mount.Volume, raw map[string]string) (mount.Secret, error) {
	out := mount.Secret{}
	for key, names := range secretKeys[v.Kind] {
		for _, name := range names {
			if value := find(raw, name); value != "" && out[key] == "" {
				out[key] = strings.TrimRight(value, "\r\n")
			}
		}
	}
	named := accountOf(v)
	switch {
	case v.Kind == mount.AzureBlob && out["accountname"] == "" && named != "":
		out["accountname"] = named
	case isAzureFile(v) && out["username"] == "" && named != "" && out["password"] != "":
		out["username"] = named
	}
	if v.Kind == mount.SMB && out["domain"] == "" {
		if i := strings.IndexAny(out["username"], `\/`); i > 0 { // DOMAIN\user, as mount.cifs reads it
			out["domain"], out["username"] = out["username"][:i], out["username"][i+1:]
		}
	}
	azure := driver == AzureFileDriver || isAzureFile(v)
	missing := func(plain, ofAzure string) error {
		key := plain
		if azure {
			key = ofAzure
		}
		return fmt.Errorf("the Secret lacks the key %s", key)
	}
	switch v.Kind {
	case mount.SMB:
		guest := contains(v.Options, "guest") || contains(v.Options, "sec=none")
		switch {
		case out["username"] == "" && !guest:
			return nil, missing("username", "azurestorageaccountname")
		case out["password"] == "" && !guest:
			return nil, missing("password", "azurestorageaccountkey")
		}
	case mount.AzureBlob:
		switch {
		case out["accountname"] == "":
			return nil, missing("accountname", "azurestorageaccountname")
		case out["accountkey"] == "" && out["accountsastoken"] == "":
			return nil, missing("accountkey", "azurestorageaccountkey")
		}
	case mount.S3:
		switch {
		case out["accesskey"] == "" && out["secretkey"] != "":
			return nil, missing("accesskey", "accesskey")
		case out["secretkey"] == "" && out["accesskey"] != "":
			return nil, missing("secretkey", "secretkey")
		}
	}
	return out, nil
}

// WithSecret completes a volume by what drivers keep in the Secret although it is none: the endpoint of Azure Blob, the account of Azure Files.
func WithSecret(v mount.Volume, raw map[string]string) (mount.Volume, error) {
	found := func(name string) string { return strings.TrimRight(find(raw, name), "\r\n") }
	if v.Kind == mount.AzureBlob && v.Endpoint == "" {
		at, err := endpoint("blobendpoint", found("blobendpoint"))
		if err != nil {
			return v, err
		}
		v.Endpoint = at
	}
	if account := cmp.Or(found("azurestorageaccountname"), found("accountname")); isAzureFile(v) && account != "" {
		if !accountPattern.MatchString(account) {
			return v, fmt.Errorf("azurestorageaccountname: it is no name of an account")
		}
		_, share, _ := strings.Cut(strings.TrimPrefix(v.Source, "//"), "/")
		v.Source = "//" + account + azureSuffix + "/" + share
	}
	return v, nil
}

// accountOf is the account that a volume of Azure's names itself, by its server's name or, for an emulator, by the path of its endpoint.
func accountOf(v mount.Volume) string {
	account := ""
	switch u, err := url.Parse(v.Endpoint); {
	case isAzureFile(v):
		host, _, _ := strings.Cut(strings.TrimPrefix(v.Source, "//"), "/")
		account, _, _ = strings.Cut(host, ".")
	case v.Kind != mount.AzureBlob || err != nil:
	case strings.Contains(u.Host, ".blob."):
		account, _, _ = strings.Cut(u.Host, ".")
	default:
		account = strings.Trim(u.Path, "/")
	}
	if account == unknownAccount || !accountPattern.MatchString(account) {
		return ""
	}
	return account
}

// isAzureFile tells whether a share is one of Azure Files in the public cloud, whose user is the account.
func isAzureFile(v mount.Volume) bool {
	host, _, _ := strings.Cut(strings.TrimPrefix(v.Source, "//"), "/")
	return v.Kind == mount.SMB && strings.HasSuffix(host, azureSuffix)
}

func find(raw map[string]string, name string) string {
	if value, ok := raw[name]; ok {
		return value
	}
	for key, value := range raw {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

func contains(list []string, option string) bool {
	for _, o := range list {
		if o == option {
			return true
		}
	}
	return false
}
