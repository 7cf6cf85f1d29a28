package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// scene is a checker whose checks are the test's, on a clock of the test's own.
type scene struct {
	*checker
	mu      sync.Mutex
	begun   map[string][]time.Duration // by storage, since the start
	now, at map[string]int             // checks that run of a storage, and at most
	all     int
	most    int
	start   time.Time
	how     func(ctx context.Context, o storagecheck.Order) storagecheck.Result
}

func newScene(t *testing.T, p pace, how func(ctx context.Context, o storagecheck.Order) storagecheck.Result) *scene {
	t.Helper()
	s := &scene{begun: map[string][]time.Duration{}, now: map[string]int{}, at: map[string]int{}, start: time.Now(), how: how}
	s.checker = newChecker(p, s.check)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go s.run(ctx)
	return s
}

func (s *scene) check(ctx context.Context, o storagecheck.Order) storagecheck.Result {
	s.mu.Lock()
	s.begun[o.Storage] = append(s.begun[o.Storage], time.Since(s.start))
	s.now[o.Storage]++
	s.all++
	s.at[o.Storage], s.most = max(s.at[o.Storage], s.now[o.Storage]), max(s.most, s.all)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now[o.Storage]--
		s.all--
	}()
	return s.how(ctx, o)
}

func (s *scene) count(storage string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.begun[storage])
}

// crowd is how many checks ran at once at most: of all storages, and of one.
func (s *scene) crowd(storage string) (all, one int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most, s.at[storage]
}

func nfs(name, server string) storagecheck.Order {
	return storagecheck.Order{Storage: name, Type: "nfs", Mount: &mount.Volume{Kind: mount.NFS, Source: server + ":/" + name}}
}

func version(v string, orders ...storagecheck.Order) (list []order) {
	for _, o := range orders {
		list = append(list, order{o, v})
	}
	return list
}

func well(context.Context, storagecheck.Order) storagecheck.Result {
	time.Sleep(100 * time.Millisecond)
	return storagecheck.Result{OK: true, Free: 1, Size: 2}
}

// TestNeighbours: when a storage fails or is well again, the others of its server are looked at soon, and no others.
func TestNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		s := newScene(t, defaultPace(), func(ctx context.Context, o storagecheck.Order) storagecheck.Result {
			if away.Load() && host(o) == "a" {
				return storagecheck.Result{Message: "Connection refused"}
			}
			return well(ctx, o)
		})
		orders := version("1", nfs("one", "a"), nfs("two", "a"), nfs("three", "a"), nfs("other", "b"))
		s.set(orders)
		time.Sleep(10 * time.Second)
		away.Store(true)
		s.recheck(func(o storagecheck.Order) bool { return o.Storage == "one" })
		time.Sleep(5 * time.Second)
		for name, want := range map[string]bool{"one": false, "two": false, "three": false, "other": true} {
			if got := s.results()[name].OK; got != want {
				t.Errorf("%s is well: %t", name, got)
			}
		}
		if n := s.count("other"); n != 1 {
			t.Errorf("another server's storage was checked %d times", n)
		}
		time.Sleep(10 * time.Minute)
		away.Store(false)
		began := time.Now()
		for !s.results()["one"].OK || !s.results()["two"].OK || !s.results()["three"].OK {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > defaultPace().retryMax*6/5+5*time.Second {
			t.Errorf("all are well after %s", took)
		}
	})
}

func TestWellStoragesAreCheckedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, defaultPace(), well)
		s.set(version("1", nfs("home", "a")))
		time.Sleep(3 * time.Second)
		r := s.results()["home"]
		if !r.OK || r.Order != "1" || r.Latency != 100*time.Millisecond || r.Free != 1 || r.Size != 2 {
			t.Errorf("after the first check: %+v", r)
		}
		time.Sleep(time.Hour)
		if n := s.count("home"); n < 10 || n > 16 {
			t.Errorf("%d checks in an hour, want about 12", n)
		}
		// A new version of the order is another matter: at once, and nothing of before counts for it.
		before := s.count("home")
		s.set(version("2", nfs("home", "b")))
		time.Sleep(3 * time.Second)
		if n := s.count("home") - before; n != 1 || s.results()["home"].Order != "2" {
			t.Errorf("%d checks after the order changed, result of %q", n, s.results()["home"].Order)
		}
		s.set(nil)
		if len(s.results()) != 0 {
			t.Error("there are results without orders")
		}
		time.Sleep(time.Hour)
		if n := s.count("home") - before; n != 1 {
			t.Errorf("checked %d times without an order", n-1)
		}
	})
}

func TestFailingStoragesAreCheckedMoreOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, defaultPace(), func(context.Context, storagecheck.Order) storagecheck.Result {
			return storagecheck.Result{Message: "Connection refused"}
		})
		s.set(version("1", nfs("home", "a")))
		time.Sleep(30 * time.Second)
		if n := s.count("home"); n != 2 && n != 3 {
			t.Errorf("%d checks in 30 s", n)
		}
		time.Sleep(time.Hour)
		if n := s.count("home"); n < 55 || n > 70 {
			t.Errorf("%d checks in an hour, want one a minute", n)
		}
		before := s.count("home")
		s.recheck(func(storagecheck.Order) bool { return true })
		synctest.Wait()
		if s.count("home") != before+1 {
			t.Error("what changed on the machine did not hurry it")
		}
	})
}

// TestHangingChecksAreLeftBehind: a server that is dead costs one check that hangs for each of its storages, and nothing else.
func TestHangingChecksAreLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := newScene(t, defaultPace(), func(ctx context.Context, o storagecheck.Order) storagecheck.Result {
			if strings.HasPrefix(o.Storage, "dead") {
				<-release // whatever the context says
			}
			return well(ctx, o)
		})
		var orders []storagecheck.Order
		for i := range 20 {
			orders = append(orders, nfs(fmt.Sprint("dead", i), "dead"), nfs(fmt.Sprint("well", i), "well"))
		}
		s.set(version("1", orders...))
		time.Sleep(10 * time.Second)
		for i := range 20 {
			if r := s.results()[fmt.Sprint("well", i)]; !r.OK {
				t.Errorf("well%d waits for a dead server: %+v", i, r)
			}
		}
		time.Sleep(10 * time.Minute)
		if running, left := s.checker.count(); running != 0 || left != 20 {
			t.Errorf("%d checks run, %d are left behind", running, left)
		}
		goroutines, wellBefore := goroutinesHere(t), s.count("well0")
		time.Sleep(10 * time.Minute)
		if n := goroutinesHere(t); n > goroutines {
			t.Errorf("%d goroutines, were %d", n, goroutines)
		}
		if n := s.count("well0") - wellBefore; n < 1 || n > 4 {
			t.Errorf("%d checks of another storage in ten minutes", n)
		}
		r := s.results()["dead0"]
		if r.OK || !r.Hung || !strings.Contains(r.Message, "Connection timed out") || s.count("dead0") != 1 {
			t.Errorf("%d checks: %+v", s.count("dead0"), r)
		}
		close(release) // the server is back
		time.Sleep(30 * time.Second)
		for i := range 20 {
			if r := s.results()[fmt.Sprint("dead", i)]; !r.OK || r.Hung {
				t.Errorf("dead%d is back and is said to be %+v", i, r)
			}
		}
		if _, one := s.crowd("dead0"); one != 1 {
			t.Errorf("%d checks of one storage at once", one)
		}
	})
}

// goroutinesHere counts those of the test's own bubble: what the runtime and other tests start comes and goes.
func goroutinesHere(t *testing.T) int {
	t.Helper()
	synctest.Wait()
	text := make([]byte, 16<<20)
	n := strings.Count(string(text[:runtime.Stack(text, true)]), "synctest bubble ")
	if n == 0 {
		t.Fatal("the runtime names no goroutine's bubble")
	}
	return n
}

func TestOneCheckOfAStorageAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, defaultPace(), func(ctx context.Context, o storagecheck.Order) storagecheck.Result {
			time.Sleep(5 * time.Second)
			return storagecheck.Result{OK: true}
		})
		var orders []storagecheck.Order
		for i := range 30 {
			orders = append(orders, nfs(fmt.Sprint("s", i), fmt.Sprint("server", i)))
		}
		for v := range 40 {
			s.set(version(fmt.Sprint(v), orders...))
			s.recheck(func(storagecheck.Order) bool { return true })
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Minute)
		if all, one := s.crowd("s0"); all != 4 || one != 1 {
			t.Errorf("%d checks at once, %d of one storage", all, one)
		}
		for name, r := range s.results() {
			if r.Order != "39" {
				t.Errorf("%s: the newest result is of order %s", name, r.Order)
			}
		}
	})
}

// TestUnchecked: a storage that cannot be checked is no failure: it is looked at as seldom as one that is well, and says nothing of its server's others.
func TestUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := defaultPace()
		s := newScene(t, p, func(ctx context.Context, o storagecheck.Order) storagecheck.Result {
			if o.Storage == "unchecked" {
				return storagecheck.Result{Unchecked: true, Message: "only the driver was looked for"}
			}
			return well(ctx, o)
		})
		ended := map[string]int{}
		s.ended = func(result string, _ time.Duration) { ended[result]++ } // one at a time: the checker holds its lock
		s.set(version("1", nfs("well", "a")))
		time.Sleep(10 * time.Second)
		s.set(version("1", nfs("well", "a"), nfs("unchecked", "a")))
		time.Sleep(p.period / 2)
		if well, unchecked := s.count("well"), s.count("unchecked"); well != 1 || unchecked != 1 {
			t.Errorf("within half a period it was looked at %d times, and its neighbour %d times", unchecked, well)
		}
		time.Sleep(10 * p.period)
		if n := s.count("unchecked"); n < 9 || n > 14 {
			t.Errorf("in ten periods it was looked at %d times", n)
		}
		synctest.Wait()
		if ended["unchecked"] != s.count("unchecked") || ended["failed"] != 0 {
			t.Errorf("counted are %v", ended)
		}
	})
}

// TestTooManyHang: beyond a number of checks that hang, no further one is begun, and what was known stands.
func TestTooManyHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		release := make(chan struct{})
		p := defaultPace()
		p.left = 3
		s := newScene(t, p, func(ctx context.Context, o storagecheck.Order) storagecheck.Result {
			if dead.Load() {
				<-release
			}
			return storagecheck.Result{OK: true}
		})
		var orders []storagecheck.Order
		for i := range 10 {
			orders = append(orders, nfs(fmt.Sprint("s", i), fmt.Sprint("server", i)))
		}
		s.set(version("1", orders...))
		time.Sleep(10 * time.Second)
		dead.Store(true)
		time.Sleep(time.Hour)
		dead.Store(false)
		s.set(version("1", append(orders, nfs("new", "x"))...))
		time.Sleep(time.Minute)
		_, left := s.checker.count()
		if left < 3 || left > 3+4 {
			t.Errorf("%d checks hang", left)
		}
		hung := 0
		for name, r := range s.results() {
			if r.Hung {
				hung++
			}
			if r.Hung == r.Unchecked || r.OK {
				t.Errorf("%s was well an hour ago, and is said to be %+v", name, r)
			}
			if age := time.Since(r.Time); age > time.Minute {
				t.Errorf("%s: what is so still is told to be %s old", name, age)
			}
		}
		if hung != left || !strings.Contains(s.results()["new"].Message, "too many") {
			t.Errorf("%d results hang, %d checks do; the new one: %+v", hung, left, s.results()["new"])
		}
		close(release) // the servers are back
		time.Sleep(time.Minute)
		for name, r := range s.results() {
			if !r.OK || r.Unchecked || r.Hung {
				t.Errorf("%s is well again, and is said to be %+v", name, r)
			}
		}
	})
}

func TestEarlierResultsCountForTheSameOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, defaultPace(), well)
		s.remember(map[string]storagecheck.Result{"same": {OK: true, Order: "1"}, "other": {OK: true, Order: "0"}, "bad": {Order: "1", Message: "m"}, "gone": {OK: true, Order: "1"}})
		s.set(version("1", nfs("same", "a"), nfs("other", "a"), nfs("bad", "a")))
		now := s.results()
		if len(now) != 2 || !now["same"].OK || now["bad"].Message != "m" {
			t.Errorf("at once: %+v", now)
		}
		time.Sleep(2 * time.Minute)
		for name, r := range s.results() {
			if !r.OK || r.Order != "1" || r.Time.IsZero() || s.count(name) != 1 {
				t.Errorf("%s was checked %d times: %+v", name, s.count(name), r)
			}
		}
	})
}

// fakeMounter does checks as the test says; it can do nothing else.
type fakeMounter struct {
	mount.Mounter
	check  func(context.Context, mount.Volume, mount.Secret) (mount.Checked, error)
	served func() ([]mount.Served, error)
}

func (f fakeMounter) Check(ctx context.Context, v mount.Volume, s mount.Secret) (mount.Checked, error) {
	return f.check(ctx, v, s)
}

func (f fakeMounter) Served(context.Context) ([]mount.Served, error) { return f.served() }

func TestLook(t *testing.T) {
	facts := storagecheck.Facts{Flex: []string{"microsoft.com/smb"}, CSI: []string{"csi.pai.storage", "file.csi.azure.com", "nfs.csi.k8s.io"}, Own: []string{"file.csi.azure.com"}}
	secret := mount.Secret{"username": "alice", "password": "pass word+", "accountkey": "a", "accountname": "store"}
	volume := &mount.Volume{Kind: mount.SMB, Source: "//10.0.0.1/home"}
	ok := func() (mount.Checked, error) {
		return mount.Checked{Total: time.Second, Usage: mount.Usage{Free: 5, Size: 9}}, nil
	}
	said := func(output string) func() (mount.Checked, error) {
		return func() (mount.Checked, error) {
			return mount.Checked{}, &mount.Error{Op: "mount //10.0.0.1/home", Output: output, Err: errors.New("exit status 32")}
		}
	}
	for _, c := range []struct {
		name    string
		order   storagecheck.Order
		answer  func() (mount.Checked, error)
		path    error
		message string // a part of it; "" is OK
		hung    bool
		denied  bool
	}{
		{name: "fault is told as it is", order: storagecheck.Order{Mount: volume, Fault: `secrets "s" not found`}, message: `secrets "s" not found`},
		{name: "FlexVolume driver is missing", order: storagecheck.Order{Flex: "azure/blobfuse", Mount: volume}, message: "no volume plugin matched"},
		{name: "CSI driver is missing", order: storagecheck.Order{Driver: "blob.csi.azure.com", Mount: volume}, message: "driver name blob.csi.azure.com not found in the list of registered CSI drivers"},
		{name: "path is missing", order: storagecheck.Order{Path: "/data"}, path: errors.New(`path "/data" does not exist`), message: `path "/data" does not exist`},
		{name: "wrong password", order: storagecheck.Order{Mount: volume, Secret: secret}, answer: said("mount error(13): Permission denied"), message: "mount error(13): Permission denied"},
		{name: "helper repeats a secret", order: storagecheck.Order{Mount: volume, Secret: secret}, answer: said("alice: pass word+ or pass+word%2B is wrong"), message: "alice: [redacted] or [redacted] is wrong"},
		{name: "long message", order: storagecheck.Order{Mount: volume}, answer: said(strings.Repeat("ä", 3000)), message: "ää…"},
		{name: "time is up", order: storagecheck.Order{Mount: volume}, answer: func() (mount.Checked, error) {
			return mount.Checked{}, &mount.Error{Op: "check", Output: "Connection timed out", Err: context.DeadlineExceeded}
		}, message: "Connection timed out", hung: true},
		{name: "mounted", order: storagecheck.Order{Mount: volume, Flex: "microsoft.com/smb", Driver: "csi.pai.storage", Secret: secret}, answer: ok},
		{name: "written into by others alone", order: storagecheck.Order{Mount: volume}, answer: func() (mount.Checked, error) {
			return mount.Checked{Total: time.Second, Usage: mount.Usage{Free: 5, Size: 9}, WriteDenied: true}, nil
		}, denied: true},
		{name: "an official driver's volume without a Secret", order: storagecheck.Order{Driver: "csi.pai.storage", OwnFault: "the Secret lacks the key"}},
		{name: "the same where the agent is the driver", order: storagecheck.Order{Driver: "file.csi.azure.com", OwnFault: "the Secret lacks the key"}, message: "the Secret lacks the key"},
		{name: "path is there", order: storagecheck.Order{Path: "/data"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := looker{facts: func() storagecheck.Facts { return facts }, path: func(context.Context, string) error { return c.path },
				mounter: fakeMounter{check: func(context.Context, mount.Volume, mount.Secret) (mount.Checked, error) {
					if c.answer == nil {
						t.Error("something was mounted")
						return mount.Checked{}, nil
					}
					return c.answer()
				}}}
			r := l.look(t.Context(), c.order)
			if r.OK != (c.message == "") || !strings.Contains(r.Message, c.message) || r.Hung != c.hung || r.WriteDenied != c.denied || len(r.Message) > longest+10 {
				t.Errorf("%+v", r)
			}
			if r.OK && c.order.Mount != nil && (r.Latency != time.Second || r.Free != 5 || r.Size != 9) {
				t.Errorf("numbers: %+v", r)
			}
			for _, canary := range []string{"pass word", "pass+word"} {
				if strings.Contains(r.Message, canary) {
					t.Errorf("a secret is told: %s", r.Message)
				}
			}
		})
	}
}

// TestOfficialNFS: a driver that brings its own mount.nfs does not need the worker's, and without that nothing can be said of its volumes.
func TestOfficialNFS(t *testing.T) {
	facts := full()
	facts.CSI = append(facts.CSI, "nfs.csi.k8s.io")
	mounted := 0
	l := looker{facts: func() storagecheck.Facts { return facts }, mounter: fakeMounter{check: func(context.Context, mount.Volume, mount.Secret) (mount.Checked, error) {
		mounted++
		return mount.Checked{}, nil
	}}}
	o := nfs("home", "10.0.0.1")
	o.Driver = "nfs.csi.k8s.io"
	if r := l.look(t.Context(), o); !r.OK || r.Unchecked || mounted != 1 {
		t.Errorf("%+v", r)
	}
	facts.Helpers = map[string]bool{}
	if r := l.look(t.Context(), o); !r.Unchecked || !strings.Contains(r.Message, "mount.nfs") || mounted != 1 {
		t.Errorf("%+v", r)
	}
	if !canMount(facts)["nfs"] {
		t.Error("volumes of the driver can be mounted")
	}
	facts.CSI = []string{"csi.pai.storage"}
	if r := l.look(t.Context(), o); r.OK || r.Unchecked || canMount(facts)["nfs"] {
		t.Errorf("%+v", r)
	}
}

func TestHost(t *testing.T) {
	for want, v := range map[string]mount.Volume{
		"10.0.0.1":        {Kind: mount.NFS, Source: "10.0.0.1:/data"},
		"[fd00::1]":       {Kind: mount.NFS, Source: "[fd00::1]:/data"},
		"files":           {Kind: mount.SMB, Source: "//files/share/dir"},
		"127.0.0.1:10000": {Kind: mount.AzureBlob, Source: "c", Endpoint: "http://127.0.0.1:10000/devstoreaccount1"},
		"":                {Kind: mount.S3, Source: "bucket"},
	} {
		if got := host(storagecheck.Order{Mount: &v}); got != want {
			t.Errorf("%+v: %q, want %q", v, got, want)
		}
	}
}
