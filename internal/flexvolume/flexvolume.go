// Package flexvolume is the FlexVolume drivers microsoft.com/smb and azure/blobfuse: the kubelet's calls become calls of the engine of package
// mount, so that volumes of old mount as they are, with nothing else installed.
//
// Use [Conceal] and [Main] as the program that the kubelet calls, and [Install] to put it where the kubelet looks. Its rules:
//
//   - It says exactly one JSON object, on standard output, whatever happens.
//   - Secrets come in the kubelet's call, are taken out of the command line before anything else ([Conceal]) and go on through a pipe; no message
//     has their values.
//   - The kubelet has no time limit for such calls, so they have their own.
//
// Example:
//
//	/usr/libexec/kubernetes/kubelet-plugins/volume/exec/microsoft.com~smb/smb mount DIR '{"source":"//10.0.0.1/data",...}'
//	{"status":"Success"}
package flexvolume

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/pai-storage/pai-storage/internal/volume"
)

// Limits of calls.
const (
	mountLimit   = 90 * time.Second
	unmountLimit = 10 * time.Minute // with the uploads of an object store
)

// status is what the kubelet reads.
type status struct {
	Status       string        `json:"status"`
	Message      string        `json:"message,omitempty"`
	Capabilities *capabilities `json:"capabilities,omitempty"`
}

type capabilities struct {
	Attach          bool `json:"attach"`
	FSGroup         bool `json:"fsGroup"` // neither SMB nor an object store keeps owners
	SELinuxRelabel  bool `json:"selinuxRelabel"`
	SupportsMetrics bool `json:"supportsMetrics"`
}

// Main answers one call of the kubelet. driver is the FlexVolume driver, vendor/name.
func Main(ctx context.Context, driver string, args []string, m mount.Mounter, out io.Writer) int {
	return say(call(ctx, driver, args, m), out)
}

func say(s status, out io.Writer) int {
	if err := json.NewEncoder(out).Encode(s); err != nil || s.Status != "Success" {
		return 1
	}
	return 0
}

func call(ctx context.Context, driver string, args []string, m mount.Mounter) status {
	var err error
	switch {
	case len(args) >= 1 && args[0] == "init":
		return status{Status: "Success", Capabilities: &capabilities{SupportsMetrics: true}}
	case len(args) == 3 && args[0] == "mount":
		ctx, cancel := context.WithTimeout(ctx, mountLimit)
		defer cancel()
		err = mountVolume(ctx, driver, args[1], args[2], m)
	case len(args) == 2 && args[0] == "unmount":
		ctx, cancel := context.WithTimeout(ctx, unmountLimit)
		defer cancel()
		err = m.Unmount(ctx, args[1])
	case len(args) >= 1 && (args[0] == "mount" || args[0] == "unmount"):
		err = fmt.Errorf("%s has %s", args[0], plural.Of(len(args)-1, "argument"))
	default:
		return status{Status: "Not supported"}
	}
	if err != nil {
		return status{Status: "Failure", Message: err.Error()}
	}
	return status{Status: "Success"}
}

const secretPrefix = "kubernetes.io/secret/"

func mountVolume(ctx context.Context, driver, target, text string, m mount.Mounter) error {
	var said map[string]string
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return fmt.Errorf("the kubelet's options are no JSON object of texts") // the error could quote a secret
	}
	options, raw := map[string]string{}, map[string]string{}
	for key, value := range said {
		name, secret := strings.CutPrefix(key, secretPrefix)
		switch {
		case secret:
			plain, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				return fmt.Errorf("the key %s of the Secret is not encoded as the kubelet does", name)
			}
			raw[name] = string(plain)
		case !strings.HasPrefix(key, "kubernetes.io/"):
			options[key] = value
		}
	}
	v, err := volume.Flex(driver, options, said["kubernetes.io/readwrite"] == "ro")
	if err != nil {
		return err
	}
	if v, err = volume.WithSecret(v, raw); err != nil {
		return err
	}
	s, err := volume.Secret(driver, v, raw)
	if err != nil {
		return err
	}
	return m.Mount(ctx, target, v, s)
}
