package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// shapes are files of every kind, read after a remount.
func (l *lab) shapes(t *testing.T) {
	target := l.mount("shapes", l.volume)
	big := random(t, 32<<20)
	put(t, filepath.Join(target, "big32"), big)
	small := map[string][]byte{}
	if err := os.Mkdir(filepath.Join(target, "many"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		name := fmt.Sprintf("many/%03d", i)
		small[name] = random(t, 100+i)
		put(t, filepath.Join(target, name), small[name])
	}
	put(t, filepath.Join(target, "none"), nil)
	sparse := make([]byte, 3<<20)
	f, err := os.Create(filepath.Join(target, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{2 << 20, 5, 1<<20 + 17, len(sparse) - 4} {
		copy(sparse[at:], "here")
		if _, err := f.WriteAt([]byte("here"), int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(target, "exchange"), []byte("a"))
	one, other := filepath.Join(target, "exchange"), filepath.Join(target, "none")
	if err := unix.Renameat2(unix.AT_FDCWD, one, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE); !errors.Is(err, unix.EINVAL) {
		t.Errorf("exchanging two files: %v", err)
	}
	l.unmount(target)

	target = l.mount("shapes-2", l.volume)
	same(t, filepath.Join(target, "big32"), big)
	same(t, filepath.Join(target, "sparse"), sparse)
	same(t, filepath.Join(target, "none"), nil)
	for name, text := range small {
		same(t, filepath.Join(target, name), text)
	}
	// A change in the middle of what the cache does not have.
	f, err = os.OpenFile(filepath.Join(target, "big32"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	copy(big[20<<20:], "changed")
	_, err = f.WriteAt([]byte("changed"), 20<<20)
	if err := errors.Join(err, f.Truncate(30<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	l.unmount(target)
	target = l.mount("shapes-3", l.volume)
	same(t, filepath.Join(target, "big32"), big[:30<<20])
	l.unmount(target)
}

func (l *lab) served(t *testing.T, target string) mount.Served {
	t.Helper()
	all, err := l.engine.Served(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Target == target {
			return s
		}
	}
	t.Fatalf("%s is not served", target)
	return mount.Served{}
}

// killedUnderLoad kills the process while four writers write: each file that was closed is in the store after the next mount.
func (l *lab) killedUnderLoad(t *testing.T) {
	for round := range 3 {
		target := l.mount("load", l.volume)
		dir := filepath.Join(target, fmt.Sprintf("load-%d", round))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		closed := map[string][]byte{}
		var writers sync.WaitGroup
		enough := make(chan struct{}, 1)
		for w := range 4 {
			writers.Go(func() {
				for i := 0; ; i++ {
					name := filepath.Join(dir, fmt.Sprintf("%d-%d", w, i))
					text := bytes.Repeat([]byte(name), 2000)
					if os.WriteFile(name, text, 0o644) != nil {
						return // it was killed
					}
					mu.Lock()
					closed[name] = text
					n := len(closed)
					mu.Unlock()
					if n >= 60 {
						select {
						case enough <- struct{}{}:
						default:
						}
					}
				}
			})
		}
		<-enough
		if err := unix.Kill(l.served(t, target).PID, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		writers.Wait()
		target = l.mount("load", l.volume)
		l.unmount(target)
		target = l.mount("load-after", l.volume)
		for name, text := range closed {
			same(t, strings.Replace(name, "/load/", "/load-after/", 1), text)
		}
		l.unmount(target)
	}
}

// cut: a mount that is taken away by force while a file is open ends, and what was written is in the store.
func (l *lab) cut(t *testing.T) {
	target := l.mount("cut", l.volume)
	f, err := os.Create(filepath.Join(target, "open-at-the-end"))
	if err != nil {
		t.Fatal(err)
	}
	text := random(t, 10_000)
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(target, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // what comes of it is not ours to say
	l.unmount(target)
	target = l.mount("cut-after", l.volume)
	same(t, filepath.Join(target, "open-at-the-end"), text)
	l.unmount(target)
}

// copied: a container with a mount namespace of its own that got a copy of the mount does not keep its process.
func (l *lab) copied(t *testing.T) {
	target := l.mount("copied", l.volume)
	text := random(t, 3000)
	put(t, filepath.Join(target, "copied"), text)
	other := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read line")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = other.Wait() }()
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	l.unmount(target)
	target = l.mount("copied-after", l.volume)
	same(t, filepath.Join(target, "copied"), text)
	l.unmount(target)
}

// prefix: a directory of a container that nothing lies in yet is mounted like any other; one of a container that is not there is refused.
func (l *lab) prefix(t *testing.T) {
	v := l.volume
	v.Source += "/some/where"
	target := l.mount("prefix", v)
	put(t, filepath.Join(target, "below"), []byte("text"))
	l.unmount(target)
	target = l.mount("whole", l.volume)
	same(t, filepath.Join(target, "some/where/below"), []byte("text"))
	l.unmount(target)
	v.Source = "no-such-place/some/where"
	if err := l.engine.Mount(t.Context(), filepath.Join(l.dir, "refused"), v, l.secret); err == nil || !strings.Contains(err.Error(), "no-such-place does not exist") {
		t.Errorf("a directory of a container that is not there: %v", err)
	}
}

// logs: with the store away, uploads fail; neither what is said of it nor the log has anything of the secret.
func (l *lab) logs(t *testing.T) {
	secrets := []mount.Secret{l.secret}
	if l.volume.Kind == mount.AzureBlob {
		secrets = append(secrets, mount.Secret{"accountname": account, "accountsastoken": "?" + sharedAccess(t)})
	}
	whole := l.secret
	defer func() { l.secret = whole }()
	for _, secret := range secrets {
		l.secret = secret
		target := l.mount("logs", l.volume)
		text := random(t, 20_000)
		l.writeAndStop(filepath.Join(target, "logged"), text)
		var s mount.Served
		await.Until(t, "the fault is said", func() bool { s = l.served(t, target); return s.Fault != "" })
		logs, err := filepath.Glob(filepath.Join(l.dir, "state/mounts/*/log"))
		if err != nil || len(logs) != 1 {
			t.Fatalf("logs: %v %v", logs, err)
		}
		log, err := os.ReadFile(logs[0])
		if err != nil || !strings.Contains(string(log), "logged") || !strings.Contains(s.Fault, "connection refused") {
			t.Errorf("the upload that did not work: %v, %s\n%s", err, s.Fault, log)
		}
		for key, value := range secret {
			if key == "accountname" || key == "accesskey" {
				continue
			}
			parts, _ := url.ParseQuery(strings.TrimPrefix(value, "?"))
			for _, part := range []string{value, strings.TrimPrefix(value, "?"), url.QueryEscape(value), parts.Get("sig"), url.QueryEscape(parts.Get("sig"))} {
				if part != "" && (strings.Contains(string(log), part) || strings.Contains(s.Fault, part)) {
					t.Errorf("%s is in the log or the fault: %s\n%s", key, s.Fault, log)
				}
			}
		}
		l.run()
		l.unmount(target)
		target = l.mount("logs-after", l.volume)
		same(t, filepath.Join(target, "logged"), text)
		l.unmount(target)
	}
}

// sharedAccess is a token for everything in the emulator's account.
func sharedAccess(t *testing.T) string {
	t.Helper()
	const version = "2021-12-02"
	end := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05Z")
	signed := strings.Join([]string{account, "rwdlac", "b", "sco", "", end, "", "http,https", version, "", ""}, "\n")
	key, err := base64.StdEncoding.DecodeString(accountKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return url.Values{"sv": {version}, "ss": {"b"}, "srt": {"sco"}, "sp": {"rwdlac"}, "se": {end}, "spr": {"http,https"},
		"sig": {base64.StdEncoding.EncodeToString(mac.Sum(nil))}}.Encode()
}

// TestGivesUp: a second signal ends a process whose files cannot be uploaded; it says so, and they are kept.
func TestGivesUp(t *testing.T) {
	program := build(t, "object-mount", ".")
	s := s3Store(t)
	t.Cleanup(func() { s.stop() })
	dir, err := os.MkdirTemp("", "om-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{store: s, dir: dir, engine: &mount.Engine{Dir: filepath.Join(dir, "state"), ObjectMount: program}}
	t.Cleanup(l.end)
	target := l.mount("a", l.volume)
	l.writeAndStop(filepath.Join(target, "left"), []byte("12345"))
	pid := l.served(t, target).PID
	for range 2 {
		if err := unix.Kill(pid, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		await.Until(t, "it is unmounted", func() bool { mounted, _ := l.engine.Mounted(t.Context(), target); return !mounted })
	}
	await.Until(t, "it ends", func() bool { return !l.served(t, target).Alive })
	if s := l.served(t, target); s.Pending != 1 || s.Bytes != 5 {
		t.Errorf("it is said: %+v", s)
	}
	_ = l.engine.Unmount(await.Context(t), target) // what is kept of it is the engine's matter
}
