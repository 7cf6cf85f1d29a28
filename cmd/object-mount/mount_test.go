package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/freeport"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// namespaced marks a test process whose mounts are its own: nobody else holds on to them.
const namespaced = "OBJECT_MOUNT_TEST_NAMESPACED"

func TestMain(m *testing.M) {
	if os.Getenv(namespaced) != "" {
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, `ring "mounts" is skipped: it mounts, which needs root`)
		if os.Getenv("PAI_TEST_ALL") != "" {
			os.Exit(1)
		}
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), namespaced+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // Go makes it private
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

const (
	account = "devstoreaccount1"
	// The key that every emulator has, from its public documentation.
	accountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	s3Key      = "test-key"
	s3Secret   = "test-secret-of-s3"
)

// store is a server of objects that runs for a test.
type store struct {
	t      *testing.T
	volume mount.Volume
	secret mount.Secret
	wrong  mount.Secret
	start  func() *exec.Cmd
	port   int
	cmd    *exec.Cmd
}

func (s *store) run() {
	s.t.Helper()
	s.cmd = s.start()
	log, err := os.OpenFile(filepath.Join(s.t.TempDir(), "server.log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	await.Until(s.t, "the server listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// stop ends the server in order: Azurite loses what it was told within the last seconds when it is killed.
func (s *store) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(await.Limit, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Wait()
}

// build compiles a program of this module.
func build(t *testing.T, name, path string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-buildvcs=false", "-o", out, path)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// azurite is Microsoft's emulator of Azure Blob.
func azurite(t *testing.T) *store {
	out, err := exec.Command("../../hack/install-azurite").Output()
	if err != nil {
		t.Fatalf("hack/install-azurite: %v", err)
	}
	s := &store{t: t, port: freeport.Take(t), secret: mount.Secret{"accountname": account, "accountkey": accountKey},
		wrong: mount.Secret{"accountname": account, "accountkey": base64.StdEncoding.EncodeToString([]byte("wrong, and as long as"))}}
	dir := t.TempDir()
	s.start = func() *exec.Cmd {
		return exec.Command(strings.TrimSpace(string(out)), "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", dir, "--blobHost", "127.0.0.1", "--blobPort", fmt.Sprint(s.port))
	}
	s.volume = mount.Volume{Kind: mount.AzureBlob, Source: "images", Endpoint: fmt.Sprintf("http://127.0.0.1:%d/%s", s.port, account)}
	s.run()
	makeContainer(t, s.volume.Endpoint, "images")
	return s
}

func makeContainer(t *testing.T, endpoint, name string) {
	t.Helper()
	date := time.Now().UTC().Format(http.TimeFormat)
	const version = "2021-12-02"
	signed := fmt.Sprintf("PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:%s\nx-ms-version:%s\n/%[3]s/%[3]s/%[4]s\nrestype:container", date, version, account, name)
	key, err := base64.StdEncoding.DecodeString(accountKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, endpoint+"/"+name+"?restype=container", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("x-ms-date", date)
	request.Header.Set("x-ms-version", version)
	request.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("container %s: %s", name, answer.Status)
	}
}

func s3Store(t *testing.T) *store {
	program := build(t, "s3server", "./s3server")
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data", "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(s3Key+":"+s3Secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &store{t: t, port: freeport.Take(t), secret: mount.Secret{"accesskey": s3Key, "secretkey": s3Secret}, wrong: mount.Secret{"accesskey": s3Key, "secretkey": "wrong-secret-of-s3"}}
	s.start = func() *exec.Cmd {
		return exec.Command(program, "--listen", fmt.Sprintf("127.0.0.1:%d", s.port), "--directory", filepath.Join(dir, "data"), "--key-file", key)
	}
	s.volume = mount.Volume{Kind: mount.S3, Source: "images", Endpoint: fmt.Sprintf("http://127.0.0.1:%d", s.port)}
	s.run()
	return s
}

// lab is an engine with a store.
type lab struct {
	*store
	engine *mount.Engine
	dir    string
}

// end leaves no process behind when a test failed.
func (l *lab) end() {
	all, _ := l.engine.Served(context.Background())
	for _, s := range all {
		if s.Alive {
			_ = unix.Kill(s.PID, unix.SIGKILL)
		}
	}
}

func (l *lab) mount(name string, v mount.Volume) string {
	l.t.Helper()
	target := filepath.Join(l.dir, name)
	began := time.Now()
	defer func() { await.Kept(l.t, "mount", time.Since(began), 30*time.Second) }()
	if err := l.engine.Mount(await.Context(l.t), target, v, l.secret); err != nil {
		l.t.Fatal(err)
	}
	return target
}

func (l *lab) unmount(target string) {
	l.t.Helper()
	began := time.Now()
	defer func() { await.Kept(l.t, "unmount", time.Since(began), time.Minute) }()
	if err := l.engine.Unmount(await.Context(l.t), target); err != nil {
		logs, _ := filepath.Glob(filepath.Join(l.dir, "state/mounts/*/log"))
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			l.t.Logf("%s", text)
		}
		l.t.Fatal(err)
	}
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes (%v), want other %d", path, len(got), err, len(want))
	}
}

func TestStores(t *testing.T) {
	program := build(t, "object-mount", ".")
	for name, open := range map[string]func(*testing.T) *store{"azurite": azurite, "s3": s3Store} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.stop() })
			// Not t.TempDir: its path is too long for a socket.
			dir, err := os.MkdirTemp("", "om-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			l := &lab{store: s, dir: dir, engine: &mount.Engine{Dir: filepath.Join(dir, "state"), ObjectMount: program}}
			t.Cleanup(l.end)
			t.Run("refused", func(t *testing.T) { l.refused(t) })
			t.Run("written, taken away, read", func(t *testing.T) { l.roundTrip(t) })
			t.Run("read-only", func(t *testing.T) { l.readOnly(t) })
			t.Run("two mounts of one volume", func(t *testing.T) { l.twice(t) })
			t.Run("killed", func(t *testing.T) { l.killed(t) })
			t.Run("many, big, sparse", func(t *testing.T) { l.shapes(t) })
			t.Run("killed under load", func(t *testing.T) { l.killedUnderLoad(t) })
			t.Run("connection cut", func(t *testing.T) { l.cut(t) })
			t.Run("a copy in another namespace", func(t *testing.T) { l.copied(t) })
			t.Run("a prefix", func(t *testing.T) { l.prefix(t) })
			t.Run("nothing secret is logged", func(t *testing.T) { l.logs(t) })
			t.Run("store away", func(t *testing.T) { l.storeAway(t) })
			t.Run("dead store", func(t *testing.T) { l.deadStore(t) })
		})
	}
}

func (l *lab) refused(t *testing.T) {
	missing, option := l.volume, l.volume
	missing.Source = "no-such-place"
	option.Options = []string{"frobnicate"}
	for name, c := range map[string]struct {
		volume mount.Volume
		secret mount.Secret
		want   string
	}{
		"wrong key":         {l.volume, l.wrong, "authentication failed"},
		"missing container": {missing, l.secret, "no-such-place does not exist"},
		"unknown option":    {option, l.secret, "bad option frobnicate"},
	} {
		target := filepath.Join(l.dir, "refused")
		err := l.engine.Mount(t.Context(), target, c.volume, c.secret)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if mounted, _ := l.engine.Mounted(t.Context(), target); mounted {
			t.Errorf("%s is mounted", name)
		}
		for _, secret := range c.secret {
			if err != nil && secret != account && secret != s3Key && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the secret is in %v", name, err)
			}
		}
	}
	if left, _ := os.ReadDir(filepath.Join(l.dir, "state", "mounts")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func (l *lab) roundTrip(t *testing.T) {
	target := l.mount("a", l.volume)
	big, small := random(t, 5<<20), random(t, 1000)
	if err := os.MkdirAll(filepath.Join(target, "dir/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(target, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(target, "dir/big"), big)
	put(t, filepath.Join(target, "dir/sub/small ü"), small)
	put(t, filepath.Join(target, "moved"), small)
	if err := os.Rename(filepath.Join(target, "moved"), filepath.Join(target, "dir/moved")); err != nil {
		t.Error(err)
	}
	put(t, filepath.Join(target, "gone"), small)
	if err := os.Remove(filepath.Join(target, "gone")); err != nil {
		t.Error(err)
	}
	f, err := os.OpenFile(filepath.Join(target, "dir/sub/small ü"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte("more"))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Error(err)
	}
	l.unmount(target)
	if left, _ := os.ReadDir(filepath.Join(l.dir, "state", "mounts")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	target = l.mount("b", l.volume)
	same(t, filepath.Join(target, "dir/big"), big)
	same(t, filepath.Join(target, "dir/sub/small ü"), append(small, "more"...))
	same(t, filepath.Join(target, "dir/moved"), small)
	if info, err := os.Stat(filepath.Join(target, "empty")); err != nil || !info.IsDir() {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := os.Stat(filepath.Join(target, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deleted file: %v", err)
	}
	l.unmount(target)
}

func (l *lab) readOnly(t *testing.T) {
	v := l.volume
	v.ReadOnly = true
	target := l.mount("ro", v)
	defer l.unmount(target)
	if err := os.WriteFile(filepath.Join(target, "x"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("a write: %v", err)
	}
	if _, err := os.ReadFile(filepath.Join(target, "dir/moved")); err != nil {
		t.Error(err)
	}
}

// twice is what blobfuse could not: one volume for two pods of one machine.
func (l *lab) twice(t *testing.T) {
	one, two := l.mount("one", l.volume), l.mount("two", l.volume)
	text := random(t, 4096)
	put(t, filepath.Join(one, "from-one"), text)
	put(t, filepath.Join(two, "from-two"), text)
	await.Until(t, "one sees what two wrote", func() bool { got, _ := os.ReadFile(filepath.Join(one, "from-two")); return bytes.Equal(got, text) })
	await.Until(t, "two sees what one wrote", func() bool { got, _ := os.ReadFile(filepath.Join(two, "from-one")); return bytes.Equal(got, text) })
	l.unmount(one)
	same(t, filepath.Join(two, "from-one"), text)
	l.unmount(two)
}

// writeAndStop writes a file whose upload finds no store.
func (l *lab) writeAndStop(path string, text []byte) {
	l.t.Helper()
	f, err := os.Create(path)
	if err != nil {
		l.t.Fatal(err)
	}
	_, err = f.Write(text)
	l.stop()
	if err := errors.Join(err, f.Close()); err != nil {
		l.t.Fatal(err)
	}
}

// killed: what was not uploaded is said, and is uploaded by the next mount at the same place.
func (l *lab) killed(t *testing.T) {
	target := l.mount("killed", l.volume)
	text := random(t, 100_000)
	l.writeAndStop(filepath.Join(target, "left"), text)
	var served []mount.Served
	await.Until(t, "the file waits", func() bool {
		served, _ = l.engine.Served(t.Context())
		return len(served) == 1 && served[0].Pending == 1
	})
	if !served[0].Alive || served[0].Bytes != int64(len(text)) || len(served[0].Files) != 1 || served[0].Files[0] != "left" {
		t.Errorf("it is said: %+v", served[0])
	}
	if err := unix.Kill(served[0].PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "its death is noticed", func() bool {
		served, _ = l.engine.Served(t.Context())
		return len(served) == 1 && !served[0].Alive && served[0].Pending == 1
	})
	l.run()
	target = l.mount("killed", l.volume)
	await.Until(t, "the file is uploaded", func() bool {
		served, _ = l.engine.Served(t.Context())
		return served[0].Alive && served[0].Pending == 0
	})
	l.unmount(target)
	target = l.mount("after", l.volume)
	same(t, filepath.Join(target, "left"), text)
	l.unmount(target)
}

// storeAway: taking a mount away waits for the uploads, says so when it may not wait any longer, and loses nothing.
func (l *lab) storeAway(t *testing.T) {
	target := l.mount("away", l.volume)
	text := random(t, 50_000)
	l.writeAndStop(filepath.Join(target, "late"), text)
	unmounted := func() bool { mounted, err := l.engine.Mounted(t.Context(), target); return err == nil && !mounted }
	if err := l.engine.Unmount(await.Expiring(t, unmounted), target); err == nil || !strings.Contains(err.Error(), "1 file (50000 bytes) still being uploaded") {
		t.Errorf("it is said: %v", err)
	}
	l.run()
	l.unmount(target)
	target = l.mount("after", l.volume)
	same(t, filepath.Join(target, "late"), text)
	l.unmount(target)
}

func (l *lab) deadStore(t *testing.T) {
	l.stop()
	err := l.engine.Mount(t.Context(), filepath.Join(l.dir, "dead"), l.volume, l.secret)
	if err == nil || !strings.Contains(err.Error(), "Connection refused") {
		t.Errorf("a store that does not run: %v", err)
	}
}
