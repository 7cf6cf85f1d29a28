package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// TestSilentStore: a store that takes connections and never answers keeps neither a process that is killed nor one that waits.
func TestSilentStore(t *testing.T) {
	l := newLab(t)
	target := l.mount("a", l.volume)
	text := random(t, 100_000)
	put(t, filepath.Join(target, "a.txt"), text)
	if err := os.Mkdir(filepath.Join(target, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.unmount(target)

	var silent atomic.Bool
	arrived, end := make(chan struct{}, 1000), make(chan struct{})
	l.before(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if !silent.Load() {
			return false
		}
		if r.Method == http.MethodGet {
			arrived <- struct{}{}
		}
		select {
		case <-end:
		case <-r.Context().Done():
		}
		return true
	})
	t.Cleanup(func() { close(end) }) // before the server is closed
	target = l.mount("b", l.volume)
	file, directory := filepath.Join(target, "a.txt"), filepath.Join(target, "d")
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	for _, command := range [][]string{{"cat", file}, {"ls", directory}} {
		cmd := exec.Command(command[0], command[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		<-arrived
		_ = cmd.Process.Kill()
		var done bool
		await.Promised(t, command[0]+" ends", 5*time.Second, func() bool {
			select {
			case <-ended:
				done = true
			default:
			}
			return done
		})
	}
	answer := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(file)
		answer <- err
	}()
	var read error
	await.Promised(t, "a read ends", 45*time.Second, func() bool {
		select {
		case read = <-answer:
			return true
		default:
			return false
		}
	})
	if !errors.Is(read, unix.EIO) {
		t.Errorf("a read: %v", read)
	}
	l.unmount(target)
}

// TestPulse: whatever a store answers, it lives.
func TestPulse(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	p := pulseOf(mount.Volume{Kind: mount.S3, Endpoint: server.URL}, "")
	if !p.alive() {
		t.Error("a server that answers 404 is dead")
	}
	server.Close()
	p = pulseOf(mount.Volume{Kind: mount.S3, Endpoint: server.URL}, "")
	if p.alive() {
		t.Error("a server that is not there lives")
	}
	for want, v := range map[string]mount.Volume{
		"https://acc.blob.core.windows.net":      {Kind: mount.AzureBlob},
		"https://s3.eu-west-1.amazonaws.com":     {Kind: mount.S3, Region: "eu-west-1"},
		"https://s3.amazonaws.com":               {Kind: mount.S3},
		"https://s3.cn-north-1.amazonaws.com.cn": {Kind: mount.S3, Region: "cn-north-1"},
		"https://acc.blob.core.chinacloudapi.cn": {Kind: mount.AzureBlob, Endpoint: "acc.blob.core.chinacloudapi.cn"},
	} {
		if got := pulseOf(v, "acc").url; got != want {
			t.Errorf("%+v: %s", v, got)
		}
	}
}

// stuck is a file system whose operations end when it is released.
type stuck struct {
	fuse.RawFileSystem
	begun   chan struct{}
	release chan struct{}
}

func newStuck() stuck {
	return stuck{fuse.NewDefaultRawFileSystem(), make(chan struct{}, 1000), make(chan struct{})}
}

func (s stuck) end() fuse.Status {
	s.begun <- struct{}{}
	<-s.release
	return fuse.OK
}

func (s stuck) Lookup(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status {
	return s.end()
}

func (s stuck) Rename(<-chan struct{}, *fuse.RenameIn, string, string) fuse.Status { return s.end() }
func (s stuck) Unlink(<-chan struct{}, *fuse.InHeader, string) fuse.Status         { return s.end() }
func (s stuck) Rmdir(<-chan struct{}, *fuse.InHeader, string) fuse.Status          { return s.end() }

func (s stuck) Mkdir(<-chan struct{}, *fuse.MkdirIn, string, *fuse.EntryOut) fuse.Status {
	return s.end()
}

func (s stuck) Create(<-chan struct{}, *fuse.CreateIn, string, *fuse.CreateOut) fuse.Status {
	return s.end()
}

func (s stuck) SetAttr(<-chan struct{}, *fuse.SetAttrIn, *fuse.AttrOut) fuse.Status { return s.end() }

func (s stuck) Write(<-chan struct{}, *fuse.WriteIn, []byte) (uint32, fuse.Status) {
	return 4, s.end()
}

// nobody is a process that is no more.
const nobody = 1 << 30

// TestSignals: a signal that does not kill ends what only looks, and not what changes something; one that kills ends both.
func TestSignals(t *testing.T) {
	cancel := make(chan struct{})
	close(cancel)
	head := func(process int) fuse.InHeader {
		return fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID, Caller: fuse.Caller{Pid: uint32(process)}}
	}
	for name, c := range map[string]struct {
		changes   bool
		operation func(h *handles, in fuse.InHeader) fuse.Status
	}{
		"lookup": {false, func(h *handles, in fuse.InHeader) fuse.Status { return h.Lookup(cancel, &in, "a", &fuse.EntryOut{}) }},
		"rename": {true, func(h *handles, in fuse.InHeader) fuse.Status {
			return h.Rename(cancel, &fuse.RenameIn{InHeader: in, Newdir: fuse.FUSE_ROOT_ID}, "a", "b")
		}},
		"unlink": {true, func(h *handles, in fuse.InHeader) fuse.Status { return h.Unlink(cancel, &in, "a") }},
		"rmdir":  {true, func(h *handles, in fuse.InHeader) fuse.Status { return h.Rmdir(cancel, &in, "a") }},
		"mkdir": {true, func(h *handles, in fuse.InHeader) fuse.Status {
			return h.Mkdir(cancel, &fuse.MkdirIn{InHeader: in}, "a", &fuse.EntryOut{})
		}},
		"create": {true, func(h *handles, in fuse.InHeader) fuse.Status {
			return h.Create(cancel, &fuse.CreateIn{InHeader: in}, "a", &fuse.CreateOut{})
		}},
		"chmod": {true, func(h *handles, in fuse.InHeader) fuse.Status {
			return h.SetAttr(cancel, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: in}}, &fuse.AttrOut{})
		}},
		"write": {true, func(h *handles, in fuse.InHeader) fuse.Status {
			_, status := h.Write(cancel, &fuse.WriteIn{InHeader: in}, []byte("text"))
			return status
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := newStuck()
				h := &handles{RawFileSystem: files, open: map[uint64]uint64{}, tree: tree{dirs: map[uint64]*directory{}}, pulse: &pulse{}, space: &space{dir: "/"}}
				var status fuse.Status
				var ended bool
				go func() { status = c.operation(h, head(os.Getpid())); ended = true }()
				time.Sleep(2 * signalTime)
				synctest.Wait()
				if ended == c.changes || ended && status != fuse.EINTR {
					t.Errorf("after a signal it has ended: %v, %v", ended, status)
				}
				if status := c.operation(h, head(nobody)); status != fuse.EINTR {
					t.Errorf("of a process that was killed: %v", status)
				}
				close(files.release)
				synctest.Wait()
				if c.changes && (!ended || !status.Ok()) {
					t.Errorf("at its end: %v, %v", ended, status)
				}
				if n := h.abandoned.Load(); n != 0 {
					t.Errorf("%d are counted that go on", n)
				}
			})
		})
	}
}

// TestKilledWithoutRoom: a process that waits for room and is killed leaves, also when it got another signal before.
func TestKilledWithoutRoom(t *testing.T) {
	process := exec.Command("sleep", "1000")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	h := &handles{RawFileSystem: newStuck(), pulse: &pulse{}, space: &space{dir: "/", keep: 1 << 62}}
	cancel, ended := make(chan struct{}), make(chan fuse.Status, 1)
	go func() {
		_, status := h.Write(cancel, &fuse.WriteIn{InHeader: fuse.InHeader{Caller: fuse.Caller{Pid: uint32(process.Process.Pid)}}}, []byte("text"))
		ended <- status
	}()
	cancel <- struct{}{} // as soon as it waits
	_ = process.Process.Kill()
	_ = process.Wait()
	if status := <-ended; status != fuse.EINTR {
		t.Errorf("it gets %v", status)
	}
}

// TestAbandoned: at a store that is dead no more is begun when many operations go on that nobody waits for; with each that ends one more may be.
func TestAbandoned(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	files := newStuck()
	h := &handles{RawFileSystem: files, tree: tree{dirs: map[uint64]*directory{}}, pulse: pulseOf(mount.Volume{Kind: mount.S3, Endpoint: server.URL}, "")}
	cancel := make(chan struct{})
	in := fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID, Caller: fuse.Caller{Pid: nobody}}
	var all sync.WaitGroup
	for range mostAbandoned {
		all.Go(func() { h.Unlink(cancel, &in, "a") })
	}
	for range mostAbandoned {
		<-files.begun
	}
	close(cancel)
	all.Wait()
	in.Pid = 0
	if status := h.Unlink(nil, &in, "a"); status != fuse.EIO || len(files.begun) != 0 {
		t.Fatalf("one more: %v, %d begun", status, len(files.begun))
	}
	files.release <- struct{}{}
	await.Until(t, "one ends", func() bool { return h.abandoned.Load() < mostAbandoned })
	go h.Unlink(nil, &in, "a")
	<-files.begun
	close(files.release)
	await.Until(t, "all end", func() bool { return h.abandoned.Load() == 0 })
}
