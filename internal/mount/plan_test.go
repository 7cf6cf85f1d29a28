package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPlanSMB(t *testing.T) {
	plain := Secret{"username": "u", "password": "p,w=\"'"}
	for _, c := range []struct {
		name    string
		source  string
		options string
		secret  Secret
		want    string // parameters, flags as names alone
		mount   int
	}{
		{"plain", "//h/s", "", plain, "user=u pass=p,w=\"'", 0},
		{"directory", "//h/s/d/e", "vers=3.0", plain, "user=u pass=p,w=\"' vers=3.0", 0},
		{"domain", "//h/s", "", Secret{"username": "u", "password": "p", "domain": "D"}, "user=u pass=p domain=D", 0},
		{"domain in the name", "//h/s", "", Secret{"username": `D\u`, "password": "p"}, "user=u pass=p domain=D", 0},
		{"domain in both", "//h/s", "", Secret{"username": `D\u`, "password": "p", "domain": "E"}, "user=u pass=p domain=E", 0},
		{"guest", "//h/s", "guest", nil, "user=", 0},
		{"nobody", "//h/s", "", nil, "user= pass=", 0},
		{"Kerberos of a ticket", "//h/s", "sec=krb5i,cruid=1000", nil, "sec=krb5i cruid=1000", 0},
		{"what is the mount's", "//h/s", "nosuid,nodev,noexec,noatime,_netdev,x-systemd.automount,nofail,users", plain, "user=u pass=p,w=\"'", unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME},
		{"read-only", "//h/s", "ro", plain, "user=u pass=p,w=\"' ro", unix.MOUNT_ATTR_RDONLY},
		{"values and flags", "//h/s", "dir_mode=0777,file_mode=0777,uid=1000,gid=100,mfsymlinks,nobrl,cache=strict,workgroup=W", plain,
			"user=u pass=p,w=\"' dir_mode=0777 file_mode=0777 uid=1000 gid=100 mfsymlinks nobrl cache=strict domain=W", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Volume{Kind: SMB, Source: c.source}
			if c.options != "" {
				v.Options = strings.Split(c.options, ",")
			}
			p, err := planSMB(v, c.secret)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range p.parameters {
				if x.value == flagOnly {
					got = append(got, x.name)
				} else {
					got = append(got, x.name+"="+x.value)
				}
			}
			if s := strings.Join(got, " "); s != c.want || p.attributes != c.mount || p.host != "h" || p.source != c.source {
				t.Errorf("%s on %s from %s with %x, want %s with %x", s, p.source, p.host, p.attributes, c.want, c.mount)
			}
		})
	}
}

func TestPlanSMBRefuses(t *testing.T) {
	for _, c := range []struct{ source, option, said string }{
		{"//h/s", "password=CANARY", "password"}, {"//h/s", "pass=CANARY", "pass"}, {"//h/s", "credentials=CANARY", "credentials"},
		{"//h/s", "ip=10.0.0.9", "ip"}, {"//h/s", "username=u", "username"}, {"//h/s", "uid=alice", "uid"},
		{"//h", "ro", "//h is no share"}, {"//h/", "ro", "is no share"}, {"//", "ro", "is no share"},
		{"//h/s", "sec=" + strings.Repeat("x", 256), "sec is longer than the 255 bytes"},
	} {
		_, err := planSMB(Volume{Source: c.source, Options: []string{c.option}}, Secret{"username": "u", "password": "CANARY"})
		if err == nil || !strings.Contains(err.Error(), c.said) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s %s: %v", c.source, c.option, err)
		}
	}
}

func TestServerThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	p := smbPlan{host: "h", parameters: []smbParameter{{"port", port}}}
	said, err := p.try(t.Context(), "/nonexistent", "127.0.0.1")
	if said != "mount error(111): could not connect to 127.0.0.1: Connection refused" || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%q, %v", said, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if said, err := p.try(ctx, "/nonexistent", "192.0.2.1"); said != "mount error(110): could not connect to 192.0.2.1: Connection timed out" || !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("%q, %v", said, err)
	}
	if _, err := resolve(t.Context(), "no-such-host.invalid"); err == nil {
		t.Error("a name that is not there has an address")
	}
	if a, err := resolve(t.Context(), "::1"); err != nil || !slices.Equal(a, []string{"::1"}) {
		t.Errorf("%v, %v", a, err)
	}
}

func TestMountTable(t *testing.T) {
	got, err := parseTable(strings.NewReader(`22 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/root rw
nonsense
36 22 0:44 / /mnt/a\040b\134c\011d rw - nfs4 10.0.0.1:/data\040x rw
37 22 0:45 /x /mnt/s rw shared:7 - fuse.pai-s3 bucket rw
38 22 0:46 / /mnt/ext rw - fusectl none rw
39 22 0:47 / /mnt/broken\9 rw - cifs //h/s rw
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/ ext4 false", "/mnt/a b\\c\td nfs4 true", "/mnt/s fuse.pai-s3 true", "/mnt/ext fusectl false", `/mnt/broken\9 cifs true`}
	for i, m := range got {
		if s := fmt.Sprintf("%s %s %v", m.point, m.kind, m.remote()); i >= len(want) || s != want[i] {
			t.Errorf("%d: %q", i, s)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines", len(got))
	}
}

func TestErrorsTravel(t *testing.T) {
	for _, in := range []error{
		&Error{Op: "mount //h/s", Output: "mount error(13): Permission denied", Err: unix.EACCES},
		&Error{Op: "mount //h/s", Output: "Connection timed out", Err: context.DeadlineExceeded},
		&Error{Op: "bind x", Err: errors.New("odd")},
		&Error{Op: "bind x", Err: fmt.Errorf("stat x: %w", unix.EACCES)},
	} {
		var a answer
		a.Error = toAnswer("mount", in)
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back answer
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		out := back.Error.error()
		if known := (*Error)(nil); out.Error() != in.Error() || !errors.As(out, &known) || errors.Is(out, context.DeadlineExceeded) != errors.Is(in, context.DeadlineExceeded) || errors.Is(out, unix.EACCES) != errors.Is(in, unix.EACCES) {
			t.Errorf("%v became %v", in, out)
		}
	}
}
