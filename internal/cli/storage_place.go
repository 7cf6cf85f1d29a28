package cli

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// placeForms are the URLs that say where storages are, by scheme.
var placeForms = map[string]string{
	"nfs": "nfs://SERVER/PATH", "smb": "smb://HOST/SHARE", "cifs": "cifs://HOST/SHARE", "azblob": "azblob://ACCOUNT/CONTAINER",
	"azfile": "azfile://ACCOUNT/SHARE", "s3": "s3://BUCKET", "hostpath": "hostpath:///PATH", "local": "local://NODE/PATH",
}

// place reads where a storage is. Errors quote nothing but the scheme: the rest may have a password in it.
func place(text string, d *client.Declaration) error {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return errors.New("where the storage is: expected a URL such as nfs://SERVER/PATH, with :// behind its type; see --help")
	}
	form, known := placeForms[scheme]
	if !known {
		return unknownScheme(scheme)
	}
	if host, _, _ := strings.Cut(rest, "/"); strings.Count(host, ":") > 1 && !strings.ContainsAny(host, "[@") {
		return fmt.Errorf("%s: an IPv6 address stands in brackets, as in %s://[fd00::10]/NAME", form, scheme)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("%s: this is no URL: %s", form, urlFault(err))
	case u.User != nil:
		return errors.New("a URL with a user or a password in it would be seen by everybody on this machine: use --secret-from")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf(`%s: nothing may follow "?" or "#"; in a name they are written %%3F and %%23, and secrets go into --secret-from`, form)
	}
	if err := placePort(u, d); err != nil {
		return err
	}
	return placeOf(u, form, d)
}

func unknownScheme(scheme string) error {
	hint := ""
	switch scheme {
	case "http", "https":
		hint = "; an object store is azblob://ACCOUNT/CONTAINER or s3://BUCKET, and --endpoint says where it is"
	case "wasb", "wasbs", "abfs", "abfss":
		hint = "; a container is azblob://ACCOUNT/CONTAINER"
	}
	if len(scheme) > 20 {
		scheme = scheme[:20] + "..."
	}
	return fmt.Errorf("%q: choose nfs, smb, azblob, azfile, s3, hostpath or local%s", scheme+"://", hint)
}

// urlFault says what is wrong with a URL without quoting it.
func urlFault(err error) string {
	for words, fault := range map[string]string{
		"invalid port": "behind the host's \":\" stands no port", "invalid URL escape": "a % is written %25", "missing ']'": "the bracket of the IPv6 address is not closed",
		"invalid character": "the host has characters that cannot be", "invalid userinfo": "it has a user or a password in it that cannot be: use --secret-from",
	} {
		if strings.Contains(err.Error(), words) {
			return fault
		}
	}
	return "see --help"
}

// placePort makes the port of a file server a mount option. What has no port is named.
func placePort(u *url.URL, d *client.Declaration) error {
	port := u.Port()
	if port == "" {
		return nil // SERVER:/PATH is how mount writes it
	}
	switch u.Scheme {
	case "nfs", "smb", "cifs":
	case "azblob", "s3":
		return fmt.Errorf("%s has no port: say where the object store is with --endpoint https://HOST:%s", placeForms[u.Scheme], port)
	default:
		return fmt.Errorf("%s has no port: take :%s away", placeForms[u.Scheme], port)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %s: expected one between 1 and 65535", port)
	}
	for _, option := range d.MountOptions {
		if value, is := strings.CutPrefix(option, "port="); is && value != port {
			return fmt.Errorf("the URL says port %s, and --mount-option %s another one", port, option)
		} else if is {
			return nil
		}
	}
	d.MountOptions = append(d.MountOptions, "port="+port)
	return nil
}

// missingIn says which part of a URL is missing.
func missingIn(form, what string) error {
	return fmt.Errorf("the URL does not say the %s: expected %s", what, form)
}

func placeOf(u *url.URL, form string, d *client.Declaration) error {
	host, share := u.Hostname(), strings.Trim(u.Path, "/")
	first, below, _ := strings.Cut(share, "/")
	if what := hostIs[u.Scheme]; host == "" && what != "" {
		return missingIn(form, what)
	}
	switch u.Scheme {
	case "nfs":
		if u.Path == "" {
			return fmt.Errorf("the URL does not say the path: expected %s, or nfs://SERVER/ for everything that the server exports", form)
		}
		d.Type, d.Server, d.Path = pai.StorageNFS, host, u.Path
	case "smb", "cifs":
		if share == "" {
			return missingIn(form, "share")
		}
		d.Type, d.Address = pai.StorageSamba, "//"+host+"/"+share
	case "azblob":
		account := strings.TrimSuffix(host, ".blob.core.windows.net")
		d.Type, d.AccountName, d.ContainerName, d.Prefix = pai.StorageAzureBlob, account, first, below
		if share == "" { // the account is in the secret
			if account != host {
				return missingIn(form, "container")
			}
			d.AccountName, d.ContainerName = "", host
		}
	case "azfile":
		account := strings.TrimSuffix(host, ".file.core.windows.net")
		d.Type, d.AccountName, d.ShareName = pai.StorageAzureFile, account, first
		if share == "" {
			if account != host {
				return missingIn(form, "share")
			}
			d.AccountName, d.ShareName = "", host
		}
		if below != "" {
			return errors.New("azfile://ACCOUNT/SHARE takes no directory: a storage is the whole share")
		}
	case "s3":
		d.Type, d.Bucket, d.Prefix = pai.StorageS3, host, share
	case "hostpath":
		if u.Host != "" {
			return errors.New("hostpath:///PATH has three slashes: it is a directory of whichever worker runs the task; for one of certain workers there is local://NODE/PATH")
		}
		if share == "" {
			return missingIn(form, "path")
		}
		d.Type, d.Path = pai.StorageHostPath, u.Path
	case "local":
		if share == "" {
			return missingIn(form, "path")
		}
		d.Type, d.Path, d.Nodes = pai.StorageLocal, u.Path, strings.Split(host, ",")
	}
	return nil
}

// hostIs says what stands in the place of the host.
var hostIs = map[string]string{"nfs": "server", "smb": "host", "cifs": "host", "azblob": "account and the container", "azfile": "account and the share",
	"s3": "bucket", "local": "node"}
