package flexvolume

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/volume"
)

// recorder is a Mounter that remembers what it was asked.
type recorder struct {
	mount.Mounter
	called string
	volume mount.Volume
	secret mount.Secret
	limit  time.Duration
	err    error
}

func (r *recorder) Mount(ctx context.Context, target string, v mount.Volume, s mount.Secret) error {
	end, _ := ctx.Deadline()
	r.called, r.volume, r.secret, r.limit = "mount "+target, v, s, time.Until(end)
	return r.err
}

func (r *recorder) Unmount(ctx context.Context, target string) error {
	end, _ := ctx.Deadline()
	r.called, r.limit = "unmount "+target, time.Until(end)
	return r.err
}

// kubelet says what the kubelet gives a driver: options, and a Secret in base64.
func kubelet(options, secret map[string]string) string {
	all := map[string]string{"kubernetes.io/fsType": "", "kubernetes.io/readwrite": "rw", "kubernetes.io/pod.name": "p", "kubernetes.io/pvOrVolumeName": "v"}
	for key, value := range secret {
		all["kubernetes.io/secret/"+key] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	for key, value := range options {
		all[key] = value
	}
	text, _ := json.Marshal(all)
	return string(text)
}

// answer runs the driver and reads its only JSON object.
func answer(t *testing.T, m mount.Mounter, driver string, args ...string) (status, int) {
	t.Helper()
	var out bytes.Buffer
	code := Main(t.Context(), driver, args, m, &out)
	d := json.NewDecoder(&out)
	var s status
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	if d.More() {
		t.Errorf("there is more than one object: %s", out.String())
	}
	if strings.Contains(s.Message, "CANARY") {
		t.Errorf("the message tells a secret: %s", s.Message)
	}
	return s, code
}

func TestInit(t *testing.T) {
	var out bytes.Buffer
	if code := Main(t.Context(), volume.FlexSMB, []string{"init"}, nil, &out); code != 0 {
		t.Error(code)
	}
	const want = `{"status":"Success","capabilities":{"attach":false,"fsGroup":false,"selinuxRelabel":false,"supportsMetrics":true}}` + "\n"
	if out.String() != want {
		t.Errorf("%s, want %s", out.String(), want)
	}
}

func TestCallsThatAreNotOurs(t *testing.T) {
	for _, args := range [][]string{{}, {"getvolumename", "{}"}, {"attach", "{}", "n"}, {"waitforattach", "d", "{}"}, {"mountdevice", "d", "x", "{}"}, {"expandvolume"}, {"nonsense"}} {
		if s, code := answer(t, &recorder{}, volume.FlexSMB, args...); s.Status != "Not supported" || code == 0 {
			t.Errorf("%v: %+v, %d", args, s, code)
		}
	}
	for _, args := range [][]string{{"mount"}, {"mount", "d"}, {"mount", "d", "{}", "more"}, {"unmount"}, {"unmount", "d", "{}"}} {
		r := &recorder{}
		if s, code := answer(t, r, volume.FlexSMB, args...); s.Status != "Failure" || code == 0 || r.called != "" {
			t.Errorf("%v: %+v, %d, called %s", args, s, code, r.called)
		}
	}
}

func TestMount(t *testing.T) {
	account := map[string]string{"username": "u", "password": "CANARY,\"'"}
	share := map[string]string{"source": "//h/s", "mountoptions": "vers=3.0,dir_mode=0777"}
	store := map[string]string{"accountname": "a", "accountkey": "CANARY"}
	for _, c := range []struct {
		name, driver, text string
		want               mount.Volume
		secret             mount.Secret
		said               string
	}{
		{name: "smb", driver: volume.FlexSMB, text: kubelet(share, account), want: mount.Volume{Kind: mount.SMB, Source: "//h/s", Options: []string{"vers=3.0", "dir_mode=0777"}}, secret: account},
		{name: "smb read-only", driver: volume.FlexSMB, text: kubelet(map[string]string{"source": "//h/s", "kubernetes.io/readwrite": "ro"}, account), want: mount.Volume{Kind: mount.SMB, Source: "//h/s", ReadOnly: true}, secret: account},
		{name: "blob", driver: volume.FlexBlob, text: kubelet(map[string]string{"container": "archive", "tmppath": "/tmp/x"}, store), want: mount.Volume{Kind: mount.AzureBlob, Source: "archive"}, secret: store},
		{name: "no password", driver: volume.FlexSMB, text: kubelet(share, map[string]string{"username": "u"}), said: "lacks the key password"},
		{name: "no account", driver: volume.FlexBlob, text: kubelet(map[string]string{"container": "archive"}, map[string]string{"accountkey": "CANARY"}), said: "lacks the key accountname"},
		{name: "no source", driver: volume.FlexSMB, text: kubelet(nil, account), said: "source"},
		{name: "a password among the options", driver: volume.FlexSMB, text: kubelet(map[string]string{"source": "//h/s", "mountoptions": "password=CANARY"}, account), said: "password"},
		{name: "not in base64", driver: volume.FlexSMB, text: `{"source":"//h/s","kubernetes.io/secret/password":"CANARY!"}`, said: "key password"},
		{name: "no JSON", driver: volume.FlexSMB, text: `{"kubernetes.io/secret/password":"CANARY`, said: "no JSON object"},
		{name: "no texts", driver: volume.FlexSMB, text: `{"source":7,"kubernetes.io/secret/password":"CANARY"}`, said: "no JSON object of texts"},
		{name: "unknown driver", driver: "acme.org/tape", text: kubelet(share, account), said: "acme.org/tape"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			s, code := answer(t, r, c.driver, "mount", "/pods/x", c.text)
			if c.said != "" {
				if s.Status != "Failure" || code == 0 || r.called != "" || !strings.Contains(s.Message, c.said) {
					t.Errorf("%+v, %d, called %q; want %q", s, code, r.called, c.said)
				}
				return
			}
			if s.Status != "Success" || code != 0 || r.called != "mount /pods/x" || r.limit <= 0 || r.limit > mountLimit {
				t.Errorf("%+v, %d, called %q with %s", s, code, r.called, r.limit)
			}
			if got, want := fmt.Sprintf("%+v %v", r.volume, map[string]string(r.secret)), fmt.Sprintf("%+v %v", c.want, map[string]string(c.secret)); got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
}

func TestFailuresAreTold(t *testing.T) {
	r := &recorder{err: &mount.Error{Op: "mount //h/s", Output: "mount error(13): Permission denied"}}
	s, code := answer(t, r, volume.FlexSMB, "mount", "/pods/x", kubelet(map[string]string{"source": "//h/s"}, map[string]string{"username": "u", "password": "CANARY"}))
	if s.Status != "Failure" || code == 0 || s.Message != "mount //h/s: mount error(13): Permission denied" {
		t.Errorf("%+v, %d", s, code)
	}
	r = &recorder{err: errors.New("busy")}
	if s, code := answer(t, r, volume.FlexBlob, "unmount", "/pods/x"); s.Status != "Failure" || s.Message != "busy" || code == 0 || r.called != "unmount /pods/x" || r.limit <= mountLimit || r.limit > unmountLimit {
		t.Errorf("%+v, %d, called %s with %s", s, code, r.called, r.limit)
	}
}

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "exec")
	if got, err := Installed(dir); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	foreign := filepath.Join(dir, "microsoft.com~smb/smb")
	ours := filepath.Join(dir, "azure~blobfuse/blobfuse")
	if err := os.MkdirAll(filepath.Dir(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, []byte("somebody's"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // somebody else's driver stays, and is told each time
		if err := Install(dir, "/bin/pai-mount", false); !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "microsoft.com/smb") || strings.Contains(err.Error(), "azure") {
			t.Errorf("%v", err)
		}
	}
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "somebody's" {
		t.Errorf("%q, %v", text, err)
	}
	before, err := os.Stat(ours)
	if err != nil || before.Mode().Perm() != 0o755 {
		t.Fatalf("%v, %v", before, err)
	}
	if err := Install(dir, "/bin/pai-mount", true); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(foreign); err != nil || string(text) != "#!/bin/sh\nexec /bin/pai-mount flexvolume microsoft.com/smb \"$@\"\n" {
		t.Errorf("%q, %v", text, err)
	}
	if after, err := os.Stat(ours); err != nil || !os.SameFile(before, after) {
		t.Errorf("%v: a driver that was the same was written anew", err)
	}
	if err := Install(dir, "/other/pai-mount", false); err != nil { // ours follow a program that moves
		t.Error(err)
	}
	if text, err := os.ReadFile(ours); err != nil || !strings.Contains(string(text), "/other/pai-mount") {
		t.Errorf("%q, %v", text, err)
	}
	// Somebody puts another driver in the place of ours.
	if err := os.WriteFile(ours, []byte("somebody's"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Install(dir, "/other/pai-mount", false); !errors.Is(err, ErrForeign) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "acme.org~tape"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Installed(dir); err != nil || !slices.Equal(got, []string{"azure/blobfuse", "microsoft.com/smb"}) {
		t.Errorf("%v, %v", got, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*/.*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
