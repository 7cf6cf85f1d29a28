// Package peer tells where a request came from. Anybody can write a header, so those that say it count only when a proxy that is trusted
// wrote them.
//
// Example:
//
//	trusted, err := peer.ParseProxies("10.0.0.0/8,192.168.1.5")
//	address := trusted.Address(r)
package peer

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the addresses of trusted proxies; none are by default.
type Proxies []netip.Prefix

// ParseProxies reads addresses and networks with commas between them, and names the first that is neither.
func ParseProxies(text string) (Proxies, error) {
	var out Proxies
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			address, err := netip.ParseAddr(part)
			if err != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network", part)
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// Address is where the request came from: what the last trusted proxy of X-Forwarded-For says, else the other end of the connection.
func (p Proxies) Address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	if len(p) == 0 {
		return host
	}
	path := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(path) - 1; i >= 0 && p.trust(host); i-- {
		before, err := netip.ParseAddr(strings.TrimSpace(path[i]))
		if err != nil {
			break
		}
		host = before.Unmap().String()
	}
	return host
}

func (p Proxies) trust(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(address.Unmap()) })
}
