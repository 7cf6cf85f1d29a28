package peer

import (
	"net/http"
	"testing"
)

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		name, proxies, remote string
		forwarded             []string
		want                  string
	}{
		{"nobody is trusted", "", "10.0.0.1:80", []string{"1.2.3.4"}, "10.0.0.1"},
		{"a client that writes the header itself", "10.0.0.0/8", "9.9.9.9:80", []string{"1.2.3.4"}, "9.9.9.9"},
		{"one proxy", "10.0.0.0/8", "10.0.0.1:80", []string{"1.2.3.4"}, "1.2.3.4"},
		{"a client that writes it before a proxy does", "10.0.0.0/8", "10.0.0.1:80", []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
		{"two proxies", "10.0.0.0/8", "10.0.0.1:80", []string{"1.2.3.4, 10.0.0.2"}, "1.2.3.4"},
		{"two headers", "10.0.0.0/8", "10.0.0.1:80", []string{"1.2.3.4", "10.0.0.2"}, "1.2.3.4"},
		{"a client inside", "10.0.0.1", "10.0.0.1:80", []string{"10.0.0.9"}, "10.0.0.9"},
		{"no header", "10.0.0.1", "10.0.0.1:80", nil, "10.0.0.1"},
		{"nonsense", "10.0.0.1", "10.0.0.1:80", []string{"1.2.3.4, unknown"}, "10.0.0.1"},
		{"version 6", "fd00::/8", "[fd00::1]:80", []string{"2001:db8::1"}, "2001:db8::1"},
		{"version 4 in 6", "10.0.0.0/8", "[::ffff:10.0.0.1]:80", []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{"a pipe", "10.0.0.0/8", "@", []string{"1.2.3.4"}, "@"},
	} {
		p, err := ParseProxies(c.proxies)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := p.Address(r); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestParseProxies(t *testing.T) {
	if p, err := ParseProxies(" 10.1.2.3/8 , ::1,"); err != nil || len(p) != 2 || p[0].String() != "10.0.0.0/8" || p[1].String() != "::1/128" {
		t.Errorf("got %v, %v", p, err)
	}
	for _, bad := range []string{"10.0.0.0/33", "proxy.example.org", "10.0.0.0/8;::1"} {
		if p, err := ParseProxies(bad); err == nil {
			t.Errorf("%s: got %v", bad, p)
		}
	}
}
