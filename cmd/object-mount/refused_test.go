package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// newLab is an engine with a server of S3.
func newLab(t *testing.T) *lab {
	t.Helper()
	program := build(t, "object-mount", ".")
	s := s3Store(t)
	t.Cleanup(func() { s.stop() })
	dir, err := os.MkdirTemp("", "om-") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{store: s, dir: dir, engine: &mount.Engine{Dir: filepath.Join(dir, "state"), ObjectMount: program}}
	t.Cleanup(l.end)
	return l
}

// before puts a server before the store, which answers what answer leaves to it.
func (l *lab) before(t *testing.T, answer func(http.ResponseWriter, *http.Request) bool) {
	t.Helper()
	behind, err := url.Parse(l.volume.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// Signatures are for the host that the request names, which this keeps.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = behind.Scheme, behind.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	l.volume.Endpoint = server.URL
}

// refuse answers for a store that will never take files whose names have the word "refused".
func refuse(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "refused") {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprint(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>KeyTooLongError</Code><Message>Your key is too long</Message></Error>`)
	return true
}

// TestRefusedForGood: what the store will never take keeps neither the unmount nor the next mount, and is lost visibly.
func TestRefusedForGood(t *testing.T) {
	l := newLab(t)
	l.before(t, refuse)
	target := l.mount("a", l.volume)
	text := random(t, 1000)
	for i := range 5 {
		put(t, filepath.Join(target, fmt.Sprintf("refused-%d", i)), text)
	}
	put(t, filepath.Join(target, "taken"), text)
	same(t, filepath.Join(target, "refused-0"), text)
	l.unmount(target)
	var lost mount.Served
	all, err := l.engine.Served(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("what is kept: %+v %v", all, err)
	}
	if lost = all[0]; lost.Alive || lost.Target != target || lost.Pending != 5 || lost.Files[0] != "refused-0" || !strings.Contains(lost.Fault, "KeyTooLongError") {
		t.Errorf("it is said: %+v", lost)
	}
	kept, err := filepath.Glob(filepath.Join(l.dir, "state/lost/*/cache/vfs/store/images/refused-*"))
	if err != nil || len(kept) != 5 {
		t.Fatalf("kept: %v %v", kept, err)
	}
	same(t, kept[0], text)
	target = l.mount("a", l.volume)
	same(t, filepath.Join(target, "taken"), text)
	if _, err := os.Stat(filepath.Join(target, "refused-0")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was refused: %v", err)
	}
	l.unmount(target)
}

// TestRefusedInACopy: a file that the store refuses stays while a container has a copy of the mount in a namespace of its own, and can still rename it.
func TestRefusedInACopy(t *testing.T) {
	l := newLab(t)
	said := make(chan struct{}, 1000)
	l.before(t, func(w http.ResponseWriter, r *http.Request) bool {
		refused := refuse(w, r)
		if refused {
			said <- struct{}{}
		}
		return refused
	})
	target := l.mount("a", l.volume)
	text := random(t, 1000)
	put(t, filepath.Join(target, "refused"), text)
	container := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; read line")
	in, err := container.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := container.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := container.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = container.Wait() }()
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	unmounted := make(chan error, 1)
	go func() { unmounted <- l.engine.Unmount(await.Context(t), target) }()
	await.Until(t, "it is unmounted", func() bool { mounted, _ := l.engine.Mounted(t.Context(), target); return !mounted })
	for range refusedTries + 1 {
		select {
		case <-said:
		case err := <-unmounted:
			t.Fatalf("it is done with before a container is: %v", err)
		}
	}
	inside := filepath.Join(fmt.Sprintf("/proc/%d/root", container.Process.Pid), target)
	if err := os.Rename(filepath.Join(inside, "refused"), filepath.Join(inside, "taken")); err != nil {
		t.Errorf("a container renames it: %v", err)
	}
	if err := <-unmounted; err != nil {
		t.Error(err)
	}
	target = l.mount("b", l.volume)
	same(t, filepath.Join(target, "taken"), text)
	l.unmount(target)
}

// TestLongNames: a name whose key the store does not take is refused when it is made.
func TestLongNames(t *testing.T) {
	l := newLab(t)
	l.volume.Source += "/prefix"
	target := l.mount("a", l.volume)
	part := strings.Repeat("a", 240)
	deep := target
	for range 4 {
		deep = filepath.Join(deep, part)
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	// prefix/ and four times 241: 971 bytes.
	fits, long := strings.Repeat("b", 1024-971), strings.Repeat("b", 1024-971+1)
	put(t, filepath.Join(deep, fits), []byte("text"))
	put(t, filepath.Join(target, "short"), []byte("text"))
	refused := map[string]error{
		"create": os.WriteFile(filepath.Join(deep, long), nil, 0o644),
		"mkdir":  os.Mkdir(filepath.Join(deep, fits[1:]+"cc"), 0o755),
		"mknod":  unix.Mknod(filepath.Join(deep, long), unix.S_IFREG|0o644, 0),
		"rename": os.Rename(filepath.Join(target, "short"), filepath.Join(deep, long)),
	}
	if err := os.Mkdir(filepath.Join(deep, fits[1:]), 0o755); err != nil {
		t.Errorf("a directory that fits: %v", err)
	}
	for what, err := range refused {
		if !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Files that wait below a directory move with it.
	if err := os.Mkdir(filepath.Join(target, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(target, "d", strings.Repeat("e", 250)), []byte("text"))
	if err := os.Rename(filepath.Join(target, "d"), filepath.Join(deep, "d")); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a directory with a file whose key becomes too long: %v", err)
	}
	l.unmount(target)
	target = l.mount("b", l.volume)
	same(t, filepath.Join(target, strings.TrimPrefix(deep, filepath.Join(l.dir, "a")), fits), []byte("text"))
	l.unmount(target)
}

func TestKeys(t *testing.T) {
	ascii, wide := strings.Repeat("a", 1024), strings.Repeat("ü", 1024)
	for name, c := range map[string]struct {
		volume  mount.Volume
		backend string
		key     string
		want    bool
	}{
		"S3":                    {mount.Volume{Kind: mount.S3, Source: "b"}, "s3", ascii, false},
		"S3, one more":          {mount.Volume{Kind: mount.S3, Source: "b"}, "s3", ascii + "a", true},
		"S3, a prefix":          {mount.Volume{Kind: mount.S3, Source: "b/p"}, "s3", ascii[2:] + "a", true},
		"S3 counts bytes":       {mount.Volume{Kind: mount.S3, Source: "b"}, "s3", wide[:1026], true},
		"Azure":                 {mount.Volume{Kind: mount.AzureBlob, Source: "b"}, "azureblob", wide, false},
		"Azure, one more":       {mount.Volume{Kind: mount.AzureBlob, Source: "b"}, "azureblob", wide + "a", true},
		"as the library writes": {mount.Volume{Kind: mount.S3, Source: "b"}, "s3", ascii[1:] + "\xff", true},
	} {
		if got := keysOf(c.volume, c.backend).tooLong(c.key); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestRefuses(t *testing.T) {
	const s3 = "operation error S3: PutObject, https response error StatusCode: %d, RequestID: , HostID: , api error %s: it says"
	const azure = "PUT https://a.blob.core.windows.net/c/f\n----\nRESPONSE %d: %[1]d It\nERROR CODE: %s\n----"
	for _, form := range []string{s3, azure} {
		for _, c := range []struct {
			status int
			code   string
			want   bool
		}{
			{400, "KeyTooLongError", true}, {413, "EntityTooLarge", true}, {400, "InvalidResourceName", true}, {400, "InvalidUri", true},
			{400, "XMinioInvalidObjectName", true}, {400, "RequestTimeout", false}, {400, "ExpiredToken", false},
			{404, "NoSuchBucket", false}, {404, "ContainerNotFound", false}, {409, "LeaseIdMissing", false}, {409, "ContainerBeingDeleted", false},
			{412, "ConditionNotMet", false}, {400, "BadDigest", false}, {400, "IncompleteBody", false}, {400, "XMinioAdminBucketQuotaExceeded", false},
			{401, "X", false}, {403, "AccessDenied", false}, {408, "X", false}, {429, "X", false}, {500, "InternalError", false}, {503, "SlowDown", false},
		} {
			if got := refuses(fmt.Sprintf(form, c.status, c.code)); got != c.want {
				t.Errorf("%d %s: %v", c.status, c.code, got)
			}
		}
	}
	for _, text := range []string{
		"dial tcp: connection refused",
		"operation error S3: PutObject, https response error StatusCode: 404, RequestID: , HostID: , deserialization failed", // an ingress's own
		"PUT https://a.blob.core.windows.net/c/f\n----\nRESPONSE 413: 413 Request Entity Too Large\nERROR CODE UNAVAILABLE\n----",
	} {
		if refuses(text) {
			t.Errorf("for good: %s", text)
		}
	}
}

// TestRefusalsInARow: only refusals in a row are for good, and of these one has to be a last try.
func TestRefusalsInARow(t *testing.T) {
	const (
		refused = "https response error StatusCode: 400, RequestID: , HostID: , api error KeyTooLongError: Your key is too long"
		away    = "dial tcp: connection refused"
	)
	type try struct {
		number int
		why    string
	}
	for name, c := range map[string]struct {
		tries []try
		want  bool
	}{
		"thrice":                           {[]try{{1, refused}, {2, refused}, {3, refused}}, true},
		"twice":                            {[]try{{1, refused}, {2, refused}}, false},
		"after outages":                    {[]try{{1, away}, {2, away}, {3, refused}}, false},
		"an outage between":                {[]try{{1, refused}, {2, refused}, {3, away}, {4, refused}}, false},
		"an outage at last":                {[]try{{1, refused}, {2, refused}, {3, refused}, {4, away}}, false},
		"uploaded, and written once more":  {[]try{{1, refused}, {2, refused}, {1, refused}}, false},
		"one that was cut off is between":  {[]try{{1, refused}, {2, refused}, {4, refused}}, false},
		"thrice, after outages":            {[]try{{1, away}, {2, refused}, {3, refused}, {4, refused}}, true},
		"another file's do not count here": {[]try{{1, refused}}, false},
	} {
		l := &logger{out: io.Discard, hide: newHider(nil)}
		say := func(file string, x try) {
			l.write(slog.LevelError, fmt.Sprintf("ERROR : %s: vfs cache: failed to upload try #%d, will retry in 10s: %s", file, x.number, x.why))
		}
		for i := range 3 {
			say("other", try{i + 1, refused})
		}
		for _, x := range c.tries {
			say("a b", x)
		}
		r := l.refusal("a b")
		if r.forGood() != c.want || r.last {
			t.Errorf("%s: %+v", name, r)
		}
		l.lastTries()
		if l.refusal("a b").last {
			t.Errorf("%s: a try of before is a last one", name)
		}
		if say("a b", try{r.try + 1, refused}); !l.refusal("a b").last {
			t.Errorf("%s: a last try is none", name)
		}
	}
}

// TestLogIsBounded: the same failure is not written each time, and the log does not grow without end.
func TestLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := rotate(f, filepath.Join(dir, "cache"))
	if r == nil {
		t.Fatal("the log is not found")
	}
	l := &logger{out: r, hide: newHider(nil)}
	for i := range 1000 {
		l.write(slog.LevelError, fmt.Sprintf("ERROR : a b: vfs cache: failed to upload try #%d, will retry in %v: https response error StatusCode: 400, RequestID: %d, api error KeyTooLongError: x\n", i, time.Duration(i)*time.Second, i))
	}
	if text, _ := os.ReadFile(path); strings.Count(string(text), "\n") != 1 || !strings.Contains(string(text), "a b: vfs cache: failed") {
		t.Errorf("the same 1000 times: %s", text)
	}
	if r := l.refusal("a b"); !r.forGood() || !strings.Contains(r.why, "KeyTooLongError") {
		t.Errorf("it is refused: %+v", r)
	}
	l.write(slog.LevelError, "ERROR : a b: vfs cache: failed to upload try #1001, will retry in 5m0s: connection refused")
	if r := l.refusal("a b"); r != (refusal{}) {
		t.Errorf("it is refused no more: %+v", r)
	}
	r.most = 10_000
	for i := range 1000 {
		l.printf("another %d: %s", i, strings.Repeat("x", 100))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v %v", entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Size() > r.most {
			t.Errorf("%s: %v %v", e.Name(), info, err)
		}
	}
	if text, _ := os.ReadFile(path); !strings.Contains(string(text), "another 999") {
		t.Error("the last line is not in the log")
	}
}
