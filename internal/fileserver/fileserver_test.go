package fileserver_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
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

// TestLease: Linux' client may be silent for a third of the lease and 5 seconds, and the server may count one second too many.
func TestLease(t *testing.T) {
	seconds := func(name, conf string) float64 {
		t.Helper()
		var n float64
		_, rest, _ := strings.Cut(conf, name+" = ")
		if _, err := fmt.Sscanf(rest, "%f;", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	conf, err := twoExports().Ganesha()
	if err != nil {
		t.Fatal(err)
	}
	lease, grace := seconds("Lease_Lifetime", conf), seconds("Grace_Period", conf)
	if spare := lease - 1 - (lease/3 + 5); spare < 2 || grace < lease {
		t.Errorf("lease %v, grace period %v: a client has %v s to spare", lease, grace, spare)
	}
	for _, c := range []struct{ lease, grace time.Duration }{{7 * time.Second, 15 * time.Second}, {13 * time.Second, 12 * time.Second}} {
		short := twoExports()
		short.Lease, short.Grace = c.lease, c.grace
		if _, err := short.Ganesha(); err == nil || !strings.Contains(err.Error(), "11s or more") {
			t.Errorf("%+v: %v", c, err)
		}
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

// serve answers NFS calls, each with the words of a reply after the echo of its number, and goes silent after the last one.
func serve(t *testing.T, replies ...[]uint32) string {
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
		for _, words := range replies {
			head := make([]byte, 8)
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head)&^(1<<31))-4); err != nil {
				return
			}
			reply := append([]byte(nil), head[4:]...)
			for _, w := range words {
				reply = binary.BigEndian.AppendUint32(reply, w)
			}
			// In two fragments, as a server may.
			_, _ = conn.Write(append([]byte{0, 0, 0, 4}, reply[:4]...))
			_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, 1<<31|uint32(len(reply)-4)), reply[4:]...))
		}
	}()
	return l.Addr().String()
}

// compound is the reply to a successful compound whose first operation is op.
func compound(op uint32, result ...uint32) []uint32 {
	return append([]uint32{1, 0, 0, 0, 0, 0, 0, 1, op, 0}, result...)
}

func TestProbeNFS(t *testing.T) {
	const reply, accepted, ok = 1, 0, 0
	exchange := compound(42, 7, 7, 1, 0)
	session := compound(43, 1, 2, 3, 4, 1, 0)
	failed := func(status uint32) []uint32 { return []uint32{reply, accepted, 0, 0, ok, status, 0, 1, 53, 0} }
	cases := []struct {
		name    string
		replies [][]uint32
		want    string // "" = healthy
	}{
		{"healthy", [][]uint32{exchange, session, compound(53), compound(44), compound(57)}, ""},
		{"no such export", [][]uint32{exchange, session, failed(2), compound(44), compound(57)}, "no such export"},
		{"unknown status", [][]uint32{exchange, session, failed(10099)}, "NFS4ERR 10099"},
		{"only version 4.0", [][]uint32{{reply, accepted, 0, 0, ok, 10021, 0, 0}}, "does not speak NFS 4.1"},
		{"rejected", [][]uint32{{reply, 1, 0, 0, ok, 0}}, "not an accepted answer"},
		{"another program", [][]uint32{{reply, accepted, 0, 0, 1}}, "does not speak NFSv4"},
		{"cut off", [][]uint32{{reply, accepted}}, "cut off"},
		{"cut off in a session's name", [][]uint32{exchange, compound(43, 1, 2)}, "cut off"},
		{"another operation", [][]uint32{compound(9)}, "cut off"},
		{"absurd verifier", [][]uint32{{reply, accepted, 0, 1 << 30, 0, 0}}, "cut off"},
	}
	for _, c := range cases {
		err := fileserver.ProbeNFS(t.Context(), serve(t, c.replies...), "data")
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
