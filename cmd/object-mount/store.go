package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/pai-storage/pai-storage/internal/mount"
	_ "github.com/rclone/rclone/backend/azureblob" // a kind of store
	_ "github.com/rclone/rclone/backend/local"     // the library's cache
	_ "github.com/rclone/rclone/backend/s3"        // a kind of store
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
)

// askTime is how long a store may take for its first answer.
const askTime = 15 * time.Second

// settings are the library's options for a store, which never touch a file or the environment.
func settings(v mount.Volume, s mount.Secret) (backend string, set configmap.Simple, err error) {
	container, _, _ := strings.Cut(strings.Trim(v.Source, "/"), "/")
	switch {
	case container == "":
		return "", nil, errors.New("the volume names no container or bucket")
	case v.Kind == mount.AzureBlob:
		set, err = azure(v, s, container)
		return "azureblob", set, err
	case v.Kind == mount.S3:
		return "s3", s3(v, s), nil
	}
	return "", nil, fmt.Errorf("kind %q is no object store; there are %s and %s", v.Kind, mount.AzureBlob, mount.S3)
}

func azure(v mount.Volume, s mount.Secret, container string) (configmap.Simple, error) {
	account, key, token := s["accountname"], strings.TrimSpace(s["accountkey"]), strings.TrimPrefix(strings.TrimSpace(s["accountsastoken"]), "?")
	if account == "" {
		return nil, errors.New("azure: the secret has no accountname")
	}
	endpoint := strings.TrimSuffix(v.Endpoint, "/")
	if endpoint == "" {
		endpoint = "https://" + account + ".blob.core.windows.net"
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	set := configmap.Simple{
		"account": account, "endpoint": endpoint, "env_auth": "false",
		"directory_markers": "true", "no_check_container": "true",
		"upload_concurrency": "4", // of 4 MiB each, for each of the files that are uploaded at a time
	}
	switch {
	case key != "":
		set["key"] = key
	case token != "":
		set["sas_url"] = endpoint + "/" + container + "?" + token
	default:
		return nil, errors.New("azure: the secret has neither accountkey nor accountsastoken")
	}
	return set, nil
}

func s3(v mount.Volume, s mount.Secret) configmap.Simple {
	set := configmap.Simple{
		"provider": "AWS", "env_auth": "false", "region": v.Region, "force_path_style": "false",
		"access_key_id": s["accesskey"], "secret_access_key": s["secretkey"],
		"directory_markers": "true", "no_check_bucket": "true",
		"copy_cutoff": "512Mi", // a store that copies more in one request may be silent for longer than we wait
	}
	if v.Endpoint != "" {
		set["provider"], set["endpoint"], set["force_path_style"] = "Other", v.Endpoint, "true"
	}
	return set
}

// open makes the store without asking it anything more than the library does.
func open(ctx context.Context, v mount.Volume, backend string, set configmap.Simple) (fs.Fs, error) {
	info, err := fs.Find(backend)
	if err != nil {
		return nil, err
	}
	all := configmap.Simple{}
	for i := range info.Options {
		o := info.Options[i].Copy()
		o.Value = nil // defaults alone: an environment could have set it
		if _, known := all[o.Name]; !known {
			all[o.Name] = o.String()
		}
	}
	for key, value := range set {
		all[key] = value
	}
	f, err := info.NewFs(ctx, remoteName, strings.Trim(v.Source, "/"), all)
	if errors.Is(err, fs.ErrorIsFile) {
		return nil, fmt.Errorf("%s is a file; name a container, or a directory in it", v.Source)
	}
	// What the library found out about the store need not be asked again.
	if hns, ok := all["hns"]; ok {
		set["hns"] = hns
	}
	return f, err
}

var errFirstPage = errors.New("the first page is enough")

// reach asks the store whether it can be used: a wrong key, a container that is not there and a server that is dead are told when mounting.
func reach(ctx context.Context, v mount.Volume, backend string, set configmap.Simple) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	quick, config := fs.AddConfig(ctx)
	config.LowLevelRetries = 1
	if err := dial(ctx, v.Endpoint); err != nil {
		return explain(v, err)
	}
	done := make(chan error, 1)
	go func() { // the library does not always listen to its context
		err := list(quick, v, backend, set)
		if container, _, below := strings.Cut(strings.Trim(v.Source, "/"), "/"); below && errors.Is(err, fs.ErrorDirNotFound) {
			// A directory without a file does not exist in an object store: it comes with the first.
			whole := v
			whole.Source = container
			err = list(quick, whole, backend, set)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return explain(v, err)
	case <-ctx.Done():
		return explain(v, ctx.Err())
	}
}

// dial connects to the store and hangs up. The library would try again and again to reach one that is down, and tell it in many words.
func dial(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "" {
		return nil // the public cloud's, or one that the library may understand
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// list reads the first page of the topmost directory.
func list(ctx context.Context, v mount.Volume, backend string, set configmap.Simple) error {
	f, err := open(ctx, v, backend, set)
	if err != nil {
		return err
	}
	lister, ok := f.(fs.ListPer)
	if !ok {
		_, err := f.List(ctx, "")
		return err
	}
	err = lister.ListP(ctx, "", func(fs.DirEntries) error { return errFirstPage })
	if errors.Is(err, errFirstPage) {
		return nil
	}
	return err
}

// explain puts a store's answer into words that package doctor knows.
func explain(v mount.Volume, err error) error {
	if err == nil {
		return nil
	}
	service, container := "azure", "container"
	if v.Kind == mount.S3 {
		service, container = "s3", "bucket"
	}
	name, _, _ := strings.Cut(strings.Trim(v.Source, "/"), "/")
	status, code := answerOf(err)
	var dns *net.DNSError
	var network net.Error
	var notBase64 base64.CorruptInputError
	switch {
	case errors.As(err, &notBase64):
		return fmt.Errorf("%s: authentication failed: %s does not accept the key for %s %s: it is no base64; correct the secret", service, where(v), container, name)
	case errors.Is(err, fs.ErrorDirNotFound), code == "ContainerNotFound", code == "NoSuchBucket", status == 404:
		return fmt.Errorf("%s: %s %s does not exist (404); create it, or correct its name in the volume", service, container, name)
	case code == "AuthorizationFailure":
		// Azure says so of an address that its rules keep out; its emulator of a wrong key.
		return fmt.Errorf("%s: authentication failed: %s does not accept the key for %s %s, or not from this address (%d %s); correct the secret, or the account's network rules", service, where(v), container, name, status, code)
	case code == "SignatureDoesNotMatch", code == "AuthenticationFailed", code == "InvalidAccessKeyId", code == "InvalidAuthenticationInfo", status == 401:
		return fmt.Errorf("%s: authentication failed: %s does not accept the key for %s %s (%d %s); correct the secret", service, where(v), container, name, status, code)
	case status == 403:
		return fmt.Errorf("%s: authentication failed: %s does not accept the key for %s %s: it may not list it (403 %s); grant it reading and listing", service, where(v), container, name, code)
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Errorf("%s: could not resolve address: no such host: %s; correct the account's name or the endpoint", service, dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: Connection refused by %s; start the store, or correct the endpoint", service, where(v))
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("%s: No route to host: %s; look at this machine's network, or correct the endpoint", service, where(v))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("%s: Connection timed out: %s did not answer within %s", service, where(v), askTime)
	}
	return fmt.Errorf("%s: %s", service, clip(strings.Join(strings.Fields(err.Error()), " ")))
}

// where is the store in one word: package doctor reads it.
func where(v mount.Volume) string {
	switch {
	case v.Endpoint != "":
		return v.Endpoint
	case v.Kind == mount.S3:
		return "AWS"
	}
	return "Azure"
}

// answerOf is the status and the code of what a store answered; zero when it did not.
func answerOf(err error) (status int, code string) {
	var a *azcore.ResponseError
	if errors.As(err, &a) {
		return a.StatusCode, a.ErrorCode
	}
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		status = r.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		code = api.ErrorCode()
	}
	return status, code
}
