package agent

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// tree is a machine of files.
func tree(t *testing.T, files map[string]string) *machine {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.Contains(name, "bin/") || strings.Contains(name, "~") {
			mode = 0o755
		}
		if target, link := strings.CutPrefix(text, "-> "); link {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return &machine{root: filepath.Join(dir, "root"), proc: filepath.Join(dir, "proc"), flex: filepath.Join(dir, "flex")}
}

func kernel(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

func TestFacts(t *testing.T) {
	release := kernel(t)
	m := tree(t, map[string]string{
		// As on a machine whose /sbin is a link, and whose helper is an absolute one.
		"root/sbin":                "-> usr/sbin",
		"root/usr/sbin/mount.nfs":  "-> /opt/nfs/bin/mount",
		"root/opt/nfs/bin/mount":   "#!",
		"root/usr/bin/fusermount3": "-> /nowhere",
		"root/lib":                 "-> usr/lib",
		"root/usr/lib/modules/" + release + "/modules.dep":     "kernel/fs/nfs/nfs.ko.xz: kernel/net/sunrpc/sunrpc.ko.xz\nkernel/fs/smb/client/cifs.ko: kernel/fs/nls/nls_base.ko\n",
		"root/usr/lib/modules/" + release + "/modules.builtin": "kernel/fs/fuse/fuse.ko\n",
		"proc/modules":               "nfs 400000 1 - Live 0x0\nsunrpc 600000 2 nfs,lockd, Live 0x0\n",
		"proc/filesystems":           "nodev\tsysfs\n\text4\nnodev\tnfs\n",
		"flex/microsoft.com~smb/smb": "#!",
		"flex/azure~blobfuse/.pai":   "",
		"flex/notadriver":            "",
		"root/dev/fuse":              "",
	})
	f, err := m.facts()
	if err != nil {
		t.Fatal(err)
	}
	want := storagecheck.Facts{
		Helpers: map[string]bool{"mount.nfs": true, "mount.cifs": false, "fusermount3": false},
		Modules: map[string]string{"nfs": "loaded", "nfsv4": "absent", "cifs": "loadable", "fuse": "loaded"},
		FUSE:    true, Flex: []string{"microsoft.com/smb"}, CSI: []string{}, Kernel: release,
	}
	if got, wish := text(t, f), text(t, want); got != wish {
		t.Errorf("got  %s\nwant %s", got, wish)
	}
	// The package is removed.
	if err := os.Remove(filepath.Join(m.root, "usr/sbin/mount.nfs")); err != nil {
		t.Fatal(err)
	}
	if f, err = m.facts(); err != nil || f.Helpers["mount.nfs"] {
		t.Errorf("after the helper's end: %+v, %v", f, err)
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestBareMachine: a kernel without modules, and a machine without anything.
func TestBareMachine(t *testing.T) {
	m := tree(t, map[string]string{"root/etc/hostname": "x", "proc/filesystems": "nodev\tsysfs\n"})
	f, err := m.facts()
	if err != nil || f.FUSE || f.Modules["nfs"] != "absent" || f.Helpers["mount.nfs"] || len(f.Flex) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
	for label, can := range canMount(f) {
		if can {
			t.Errorf("it can mount %s", label)
		}
	}
	if err := m.loadFUSE(t.Context()); err == nil || !strings.Contains(err.Error(), "no modprobe") {
		t.Error(err)
	}
}

func full() storagecheck.Facts {
	return storagecheck.Facts{Helpers: map[string]bool{"mount.nfs": true}, Modules: map[string]string{"nfs": "loadable", "cifs": "loadable", "fuse": "loaded"}, FUSE: true,
		Flex: []string{"azure/blobfuse", "microsoft.com/smb"}, CSI: []string{"csi.pai.storage", "file.csi.azure.com"}}
}

func TestCanMount(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*storagecheck.Facts)
		lost   string // types that cannot be mounted any more
	}{
		{"everything", func(*storagecheck.Facts) {}, ""},
		{"no mount.nfs", func(f *storagecheck.Facts) { f.Helpers = nil }, "nfs"},
		{"no nfs in the kernel", func(f *storagecheck.Facts) { f.Modules["nfs"] = "absent" }, "nfs"},
		{"no cifs", func(f *storagecheck.Facts) { f.Modules["cifs"] = "absent" }, "azureFile samba"},
		{"no FUSE", func(f *storagecheck.Facts) { f.FUSE = false }, "azureBlob s3"},
		{"no CSI drivers", func(f *storagecheck.Facts) { f.CSI = nil }, "azureFile s3"},
		{"no FlexVolume drivers", func(f *storagecheck.Facts) { f.Flex = nil }, ""},
		{"no drivers", func(f *storagecheck.Facts) { f.Flex, f.CSI = nil, nil }, "azureBlob azureFile s3 samba"},
		{"official drivers", func(f *storagecheck.Facts) {
			f.Flex, f.CSI = nil, []string{"smb.csi.k8s.io", "blob.csi.azure.com", "file.csi.azure.com"}
		}, "s3"},
	} {
		f := full()
		c.change(&f)
		var lost []string
		for name, can := range canMount(f) {
			if !can {
				lost = append(lost, string(name))
			}
		}
		slices.Sort(lost)
		if got := strings.Join(lost, " "); got != c.lost {
			t.Errorf("%s: it cannot mount %q, want %q", c.name, got, c.lost)
		}
		for _, kind := range []pai.StorageType{pai.StorageNFS, pai.StorageSamba, pai.StorageAzureBlob, pai.StorageAzureFile, pai.StorageS3} {
			o := storagecheck.Order{Type: string(kind)}
			if kind == pai.StorageAzureFile {
				o.Driver = "file.csi.azure.com"
			}
			if kind == pai.StorageS3 {
				o.Driver = "csi.pai.storage"
			}
			if slices.Contains(lost, string(kind)) && len(f.Flex)+len(f.CSI) > 0 && !affected(o, full(), f) {
				t.Errorf("%s: %s is not checked again", c.name, kind)
			}
		}
	}
	if affected(storagecheck.Order{Type: "nfs", Driver: "csi.pai.storage"}, full(), full()) {
		t.Error("nothing changed, and a storage is checked again")
	}
}

func TestLabelPatch(t *testing.T) {
	can := map[pai.StorageType]bool{"nfs": true, "samba": false}
	for _, c := range []struct {
		name                string
		labels, annotations map[string]string
		want                string
	}{
		{"new node", nil, nil, `{"metadata":{"labels":{"pai.storage/can-mount-nfs":"true","pai.storage/can-mount-samba":"false"}}}`},
		{"as it should be", map[string]string{labelPrefix + "nfs": "true", labelPrefix + "samba": "false"}, nil, ""},
		{"one is wrong", map[string]string{labelPrefix + "nfs": "false", labelPrefix + "samba": "false", "x": "y"}, nil, `{"metadata":{"labels":{"pai.storage/can-mount-nfs":"true"}}}`},
		{"an administrator's own", map[string]string{labelPrefix + "nfs": "false"}, map[string]string{pinned: "nfs, samba"}, ""},
		{"pinned is another", map[string]string{labelPrefix + "nfs": "false"}, map[string]string{pinned: "samba"}, `{"metadata":{"labels":{"pai.storage/can-mount-nfs":"true"}}}`},
	} {
		if got := string(labelPatch(c.labels, c.annotations, can)); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestInstallPrograms(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "bin")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("pai-mount", "one")
	if err := installPrograms(from, to); err == nil || !strings.Contains(err.Error(), "object-mount") {
		t.Errorf("a program is missing: %v", err)
	}
	write("object-mount", "x")
	old, err := os.Open(filepath.Join(to, "pai-mount")) // it runs
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	write("pai-mount", "two")
	for range 2 {
		if err := installPrograms(from, to); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(to, "pai-mount"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	was := make([]byte, 3)
	if _, err := old.Read(was); err != nil || string(was) != "one" {
		t.Errorf("the program that runs was written into: %q, %v", was, err)
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestServedMounts(t *testing.T) {
	dir, proc, asked := t.TempDir(), t.TempDir(), 0
	var answer []mount.Served
	var fault error
	s := &servedMounts{dir: dir, proc: proc, every: time.Hour, mounter: fakeMounter{served: func() ([]mount.Served, error) { asked++; return slices.Clone(answer), fault }}}
	list := func(wantAsked int) []mount.Served {
		t.Helper()
		got, err := s.list(t.Context())
		if err != nil {
			t.Error(err)
		}
		if asked != wantAsked {
			t.Errorf("the engine was asked %d times, want %d", asked, wantAsked)
		}
		return got
	}
	list(0) // there is nothing to ask for
	for _, d := range []string{filepath.Join(dir, "mounts", "a"), filepath.Join(proc, "7")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	answer = []mount.Served{{Target: "/t", PID: 7, Alive: true, Files: []string{"1", "2", "3", "4", "5", "6"}}}
	if got := list(1); len(got) != 1 || !got[0].Alive || len(got[0].Files) != mostFiles {
		t.Errorf("%+v", got)
	}
	list(1)
	if err := os.Remove(filepath.Join(proc, "7")); err != nil {
		t.Fatal(err)
	}
	answer = []mount.Served{{Target: "/t", PID: 7}}
	if got := list(2); len(got) != 1 || got[0].Alive {
		t.Errorf("its process is gone: %+v", got)
	}
	list(2)
	// It is unmounted, and what it had not uploaded is kept until somebody looked at it.
	if err := os.Mkdir(filepath.Join(dir, "lost"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "mounts", "a"), filepath.Join(dir, "lost", "a-1")); err != nil {
		t.Fatal(err)
	}
	answer = []mount.Served{{Target: "/t", PID: 7, Lost: true, Pending: 1}}
	if got := list(3); len(got) != 1 || !got[0].Lost {
		t.Errorf("what was lost: %+v", got)
	}
	restarted := *s
	restarted.seen, restarted.known = "", nil
	s = &restarted
	if got := list(4); len(got) != 1 || !got[0].Lost {
		t.Errorf("an agent that begins is told of %+v", got)
	}
	if err := os.Remove(filepath.Join(dir, "lost", "a-1")); err != nil {
		t.Fatal(err)
	}
	if got := list(4); len(got) != 0 {
		t.Errorf("somebody removed it, and it is still told: %+v", got)
	}
	if err := os.Mkdir(filepath.Join(dir, "mounts", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	fault = errors.New("no answer")
	s.every = 0
	if _, err := s.list(t.Context()); !errors.Is(err, fault) {
		t.Error(err)
	}
}

func TestPathOnTheMachine(t *testing.T) {
	m := tree(t, map[string]string{"root/data/file": "", "root/link": "-> /data", "root/out": "-> ../../../../../../etc/passwd"})
	for path, want := range map[string]string{"/data": "", "/link/file": "", "/nowhere": `path "/nowhere" does not exist`, "/data/file/x": "does not exist", "/out": "does not exist"} {
		var said strings.Builder
		status := lookFor(m.root, path, &said)
		if (status == 0) != (want == "") || !strings.Contains(said.String(), want) {
			t.Errorf("%s: %d %s", path, status, said.String())
		}
	}
}

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	if list, err := sockets(filepath.Join(dir, "none")); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "a.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if list, err := sockets(dir); err != nil || len(list) != 1 || !strings.HasPrefix(list[0], "a.sock ") {
		t.Errorf("%v, %v", list, err)
	}
}

// TestDrivers: Azure File's driver gives way to another, and comes back.
func TestDrivers(t *testing.T) {
	var others []string
	var fault, startFault error
	var log []string
	d := &drivers{
		announce: func(_ context.Context, name string) error { log = append(log, "!"+name); return nil },
		others:   func(context.Context) ([]string, error) { return others, fault },
		start: func(name string) (func(), error) {
			if startFault != nil {
				return nil, startFault
			}
			log = append(log, "+"+name)
			return func() { log = append(log, "-"+name) }, nil
		},
	}
	var b board
	step := func(name, want string) {
		t.Helper()
		log = nil
		d.decide(t.Context(), func(what string, err error) { b.fault(what, err) })
		if got := strings.Join(log, " "); got != want {
			t.Errorf("%s: %s, want %s; faults %q", name, got, want, b.getFaults())
		}
	}
	fault = errors.New("no registry")
	step("nobody knows who is there", "")
	fault, startFault = nil, errors.New("address in use")
	step("it cannot start", "")
	if got := strings.Join(b.getFaults(), "; "); !strings.Contains(got, "start CSI driver file.csi.azure.com: address in use") {
		t.Error(got)
	}
	startFault = nil
	step("alone", "+csi.pai.storage +file.csi.azure.com")
	if len(b.getFaults()) != 0 {
		t.Error(b.getFaults())
	}
	step("nothing changed", "")
	others = []string{"file.csi.azure.com", "nfs.csi.k8s.io"}
	step("the official one comes", "-file.csi.azure.com !file.csi.azure.com")
	others, d.settle = nil, time.Hour
	step("it is started anew, perhaps", "")
	d.settle = 0
	step("and goes", "+file.csi.azure.com")
	others = []string{"csi.pai.storage"}
	step("somebody else has our name", "")
	if got := strings.Join(b.getFaults(), "; "); !strings.Contains(got, "another program is registered as CSI driver csi.pai.storage") {
		t.Error(got)
	}
	log = nil
	d.stop()
	if len(log) != 2 || len(d.names()) != 0 {
		t.Errorf("at the end: %v, %v", log, d.names())
	}
}
