package taskinit

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// TestMain: the tests' program plays the program's part when it runs as somebody else.
func TestMain(m *testing.M) {
	if os.Getenv(actVariable) != "" {
		status, _ := Act(os.Args[1:])
		os.Exit(status)
	}
	if os.Getenv("PAI_TASK_INIT_MAIN") != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		kubetest.Skip(t, "unit", "folders are given to others here, which needs root: sudo make unit")
	}
}

// share is a directory that everybody reaches, as the root of a storage.
func share(t *testing.T, mode fs.FileMode, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "share-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

func folder(root string, uid int) Folder {
	return Folder{Storage: "home", Root: root, User: "alice", UID: uid, GID: uid}
}

func wantReason(t *testing.T, got *Failure, want string) {
	t.Helper()
	switch {
	case got == nil && want != "":
		t.Errorf("it worked, want %s", want)
	case got != nil && got.Reason != want:
		t.Errorf("got %s: %s, want %q", got.Reason, got.Detail, want)
	}
}

func wantOwner(t *testing.T, path string, uid int, mode fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if ownerOf(info) != uid || info.Mode().Perm() != mode {
		t.Errorf("%s: %s, want %d and %o", path, ownership(info), uid, mode)
	}
}

func TestFolderIsMadeForTheTask(t *testing.T) {
	needRoot(t)
	for _, uid := range []int{0, 1000, 4242} {
		root := share(t, 0o755, 0)
		wantReason(t, folder(root, uid).Make(), "")
		wantOwner(t, filepath.Join(root, "alice"), uid, 0o700)
		wantReason(t, folder(root, uid).Make(), "") // once more changes nothing
		wantOwner(t, filepath.Join(root, "alice"), uid, 0o700)
	}
}

func TestOddNames(t *testing.T) {
	needRoot(t)
	root := share(t, 0o755, 0)
	for _, name := range []string{"a.b-c_d", "ALICE", "alice", "_", "-rf", "..a", strings.Repeat("x", 200)} {
		f := folder(root, 1000)
		f.User = name
		wantReason(t, f.Make(), "")
		wantOwner(t, filepath.Join(root, name), 1000, 0o700)
	}
	for _, name := range []string{"", ".", "..", "a/b", "../alice", "a\x00b"} {
		f := folder(root, 1000)
		f.User = name
		wantReason(t, f.Make(), ReasonNotDirectory)
	}
}

func TestWhatIsThere(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		name     string
		prepare  string // a shell command in the storage's root
		uid      int
		readOnly bool
		want     string
		owner    int // afterwards, of a folder that can be used
		mode     fs.FileMode
	}{
		{name: "link to another user's folder", prepare: "mkdir bob && ln -s bob alice", uid: 1000, want: ReasonSymlink},
		{name: "link to nowhere", prepare: "ln -s /nowhere alice", uid: 1000, want: ReasonSymlink},
		{name: "file", prepare: "echo > alice", uid: 1000, want: ReasonNotDirectory},
		{name: "somebody else's", prepare: "mkdir -m 700 alice && chown 1001 alice", uid: 1000, want: ReasonDenied},
		{name: "somebody else's, readable", prepare: "mkdir -m 755 alice && chown 1001 alice", uid: 1000, want: ReasonDenied},
		{name: "somebody else's, readable, on a read-only storage", prepare: "mkdir -m 755 alice && chown 1001 alice", uid: 1000, readOnly: true, owner: 1001, mode: 0o755},
		{name: "somebody else's, writable by all", prepare: "mkdir alice && chmod 777 alice && chown 1001 alice", uid: 1000, owner: 1001, mode: 0o777},
		{name: "left by root", prepare: "mkdir -m 755 alice && echo > alice/file", uid: 1000, owner: 1000, mode: 0o755},
		{name: "left by nobody", prepare: "mkdir -m 700 alice && chown 65534 alice", uid: 1000, owner: 1000, mode: 0o700},
		{name: "root may everything", prepare: "mkdir -m 700 alice && chown 1001 alice", uid: 0, owner: 1001, mode: 0o700},
		{name: "absent on a read-only storage", prepare: "true", uid: 1000, readOnly: true, want: ReasonAbsent},
		{name: "closed on a read-only storage", prepare: "mkdir -m 700 alice && chown 1001 alice", uid: 1000, readOnly: true, want: ReasonDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := share(t, 0o755, 0)
			shell := exec.Command("sh", "-c", "umask 0; "+c.prepare)
			shell.Dir = root
			if out, err := shell.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			f := folder(root, c.uid)
			f.ReadOnly = c.readOnly
			wantReason(t, f.Make(), c.want)
			if c.want == "" {
				wantOwner(t, filepath.Join(root, "alice"), c.owner, c.mode)
			}
			if left, _ := filepath.Glob(filepath.Join(root, "alice", ".pai*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// squashed runs the program as a server sees a root that it does not trust: as nobody, without any power. What the task does, it does as
// nobody, too, when the task is root.
func squashed(t *testing.T, root string, mode fs.FileMode) (status int, failure Failure) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	identity, message := filepath.Join(root, "..", filepath.Base(root)+".identity"), filepath.Join(root, "..", filepath.Base(root)+".message")
	for _, file := range []string{identity, message} {
		if err := os.WriteFile(file, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(file) })
		if err := os.Chown(file, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "--user", "alice", "--identity", identity, "--termination-log", message, "--storage", "home="+root)
	cmd.Env = append(os.Environ(), "PAI_TASK_INIT_MAIN=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	_ = cmd.Run()
	text, err := os.ReadFile(message)
	if err != nil {
		t.Fatal(err)
	}
	failure, _ = ParseFailure(string(text))
	t.Log(said.String())
	return cmd.ProcessState.ExitCode(), failure
}

func TestSquashedRoot(t *testing.T) {
	needRoot(t)
	open := share(t, 0o1777, 0)
	if status, failure := squashed(t, open, 0o1777); status != 0 {
		t.Errorf("a root that everybody may write: %+v", failure)
	}
	wantOwner(t, filepath.Join(open, "alice"), nobody, 0o700)
	closed := share(t, 0o755, 0)
	status, failure := squashed(t, closed, 0o755)
	if status != 1 || failure.Reason != ReasonCreate || !strings.Contains(failure.Detail, "owner 0:0") {
		t.Errorf("a root that only its owner may write: %d, %+v", status, failure)
	}
}

// fake is a task's user for whom some things fail.
type fake struct{ made, used error }

func (a fake) mkdir(f Folder) error {
	if a.made != nil {
		return a.made
	}
	return os.Mkdir(f.path(), folderMode)
}
func (a fake) use(Folder) error { return a.used }

func TestServersThatSayNo(t *testing.T) {
	for _, c := range []struct {
		used error
		want string
	}{
		{syscall.EROFS, ReasonReadOnly}, {syscall.ENOSPC, ReasonNoSpace}, {syscall.EDQUOT, ReasonNoSpace}, {syscall.ESTALE, ReasonStale},
		{syscall.EIO, ReasonIO}, {syscall.EACCES, ReasonDenied}, {nil, ""},
	} {
		root := t.TempDir()
		if err := os.Mkdir(filepath.Join(root, "alice"), 0o700); err != nil {
			t.Fatal(err)
		}
		f := folder(root, 1000)
		f.as, f.ReadOnly = fake{used: c.used}, true
		wantReason(t, f.Make(), c.want)
	}
}

// TestFoldedNames: a file system that does not tell upper from lower case gives two users one folder.
func TestFoldedNames(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	for _, command := range []string{"truncate -s 8M " + image, "mkfs.vfat " + image, "mkdir " + dir + "/vfat", "mount -o loop,uid=1000 " + image + " " + dir + "/vfat"} {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			t.Logf("no vfat here (%s: %s): two names of one directory take its place", command, strings.TrimSpace(string(out)))
			foldedByHand(t)
			return
		}
	}
	t.Cleanup(func() { exec.Command("umount", dir+"/vfat").Run() })
	first, second := folder(dir+"/vfat", 1000), folder(dir+"/vfat", 1000)
	second.User = "ALICE"
	wantReason(t, first.Make(), "")
	wantReason(t, second.Make(), ReasonCaseClash)
	wantReason(t, first.Make(), "")
}

// foldedByHand looks at a directory through the name of another.
func foldedByHand(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "alice"), 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(filepath.Join(root, "alice"))
	if err != nil {
		t.Fatal(err)
	}
	f := folder(root, 1000)
	f.User = "Alice"
	if other, err := f.otherName(info); other != "alice" || err != nil {
		t.Errorf("got %q, %v", other, err)
	}
	f.User = "alice"
	if other, err := f.otherName(info); other != "" || err != nil {
		t.Errorf("the same name: got %q, %v", other, err)
	}
}

func TestProgramsArguments(t *testing.T) {
	for _, args := range [][]string{
		{}, {"--user", "a"}, {"--user", "a", "--identity", "/x"}, {"--user", "a", "--identity", "/x", "--storage", "home"},
		{"--user", "a", "--identity", "/x", "--storage", "home=relative"}, {"--user", "a", "--identity", "/x", "--storage", "h=/y", "more"},
		{"act", "mkdir", "/tmp/never", "false"},
	} {
		var said bytes.Buffer
		if status := Main(args, &said, &said); status != 2 || said.Len() == 0 {
			t.Errorf("%q: %d %s", args, status, said.String())
		}
	}
}

func TestMessage(t *testing.T) {
	long := Failure{Storage: "home", User: "alice", Reason: ReasonDenied, Detail: strings.Repeat("x\"", 4000)}
	text := long.Message()
	if got, ok := ParseFailure(text); !ok || len(text) > maxMessage || got.Storage != "home" || got.Reason != ReasonDenied {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	for _, bad := range []string{"", "{}", "hello", `{"paiTaskInit":2,"reason":"denied"}`, `{"paiTaskInit":1}`, "[]"} {
		if got, ok := ParseFailure(bad); ok {
			t.Errorf("%q is %+v", bad, got)
		}
	}
}
