package fileserver_test

import (
	"context"
	"encoding/binary"
	"flag"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/fileserver"
)

var update = flag.Bool("update", false, "write the golden files")

func twoExports() fileserver.NFS {
	nodes := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	return fileserver.NFS{RecoveryDir: "/share/.nfs-server", Exports: []fileserver.Export{
		{ID: 1, Path: "/share/data", Pseudo: "/data", Clients: nodes, UID: 1000, GID: 1000},
		{ID: 2, Path: "/share/users", Pseudo: "/users", Clients: append(nodes, netip.MustParsePrefix("192.0.2.7/32")), UID: 1000, GID: 1000},
	}}
}

func TestGaneshaGolden(t *testing.T) {
	got, err := twoExports().Ganesha()
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/ganesha.conf"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("ganesha.conf (-want +got), go test -update writes it:\n%s", diff)
	}
}

func TestGaneshaRefuses(t *testing.T) {
	faults := map[string]func(*fileserver.NFS){
		"not an absolute path":   func(n *fileserver.NFS) { n.Exports[0].Path = "share" },
		"a way up":               func(n *fileserver.NFS) { n.Exports[0].Path = "/share/../etc" },
		"a quote":                func(n *fileserver.NFS) { n.Exports[0].Path = `/share"; Access_Type = RW; #` },
		"a newline":              func(n *fileserver.NFS) { n.Exports[0].Pseudo = "/data\n}" },
		"a second block":         func(n *fileserver.NFS) { n.Exports[0].Pseudo = "/data}EXPORT{" },
		"nobody may use it":      func(n *fileserver.NFS) { n.Exports[0].Clients = nil },
		"an id out of range":     func(n *fileserver.NFS) { n.Exports[0].ID = 0 },
		"a recovery dir of junk": func(n *fileserver.NFS) { n.RecoveryDir = "" },
	}
	for name, fault := range faults {
		n := twoExports()
		fault(&n)
		if text, err := n.Ganesha(); err == nil {
			t.Errorf("%s: rendered\n%s", name, text)
		}
	}
}

// FuzzGanesha: whatever a path is, the text has as many blocks as exports, or there is no text.
func FuzzGanesha(f *testing.F) {
	f.Add("/share/data", "/data")
	f.Add("/a\"b", "/x;y")
	f.Fuzz(func(t *testing.T, path, pseudo string) {
		n := twoExports()
		n.Exports[0].Path, n.Exports[0].Pseudo = path, pseudo
		text, err := n.Ganesha()
		if err != nil {
			return
		}
		if strings.Count(text, "EXPORT {") != 2 || strings.Count(text, "\"")%2 != 0 || strings.Count(text, "{") != strings.Count(text, "}") {
			t.Errorf("%q and %q smuggled something in:\n%s", path, pseudo, text)
		}
	})
}

// serve answers one NFS call with the words of a reply, after the echo of its number.
func serve(t *testing.T, words ...uint32) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		head := make([]byte, 8)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		reply := binary.BigEndian.AppendUint32(nil, 0)
		reply = append(reply, head[4:]...)
		for _, w := range words {
			reply = binary.BigEndian.AppendUint32(reply, w)
		}
		// In two fragments, as a server may.
		first, rest := append([]byte(nil), reply[:8]...), reply[8:]
		binary.BigEndian.PutUint32(first, 4)
		_, _ = conn.Write(first)
		_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, 1<<31|uint32(len(rest))), rest...))
	}()
	return l.Addr().String()
}

func TestProbeNFS(t *testing.T) {
	const reply, accepted, ok = 1, 0, 0
	cases := []struct {
		name  string
		words []uint32
		want  string // "" = healthy
	}{
		{"healthy", []uint32{reply, accepted, 0, 0, ok, 0}, ""},
		{"no such export", []uint32{reply, accepted, 0, 0, ok, 2}, "no such export"},
		{"unknown status", []uint32{reply, accepted, 0, 0, ok, 10099}, "NFS4ERR 10099"},
		{"rejected", []uint32{reply, 1, 0, 0, ok, 0}, "not an accepted answer"},
		{"another program", []uint32{reply, accepted, 0, 0, 1}, "does not speak NFSv4"},
		{"cut off", []uint32{reply, accepted}, "cut off"},
		{"absurd verifier", []uint32{reply, accepted, 0, 1 << 30, 0, 0}, "cut off"},
	}
	for _, c := range cases {
		err := fileserver.ProbeNFS(t.Context(), serve(t, c.words...), "data")
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v lacks %q", c.name, err, c.want)
		}
	}
}

func TestProbeNFSEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts nothing: the kernel does, and no answer comes
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := fileserver.ProbeNFS(ctx, l.Addr().String(), "data"); err == nil {
		t.Error("a silent server is healthy")
	}
}
