// Package freeport finds ports for servers that tests start as processes, which have to be told their port before they run.
//
// A port that was asked of the kernel and given back can be somebody else's before the server binds it: another test's, because "go test" runs
// packages as processes side by side, or that of any connection that is opened meanwhile. So the ports here are below the range that the kernel
// gives away, and each is kept by a socket of that name until the test ends. Such a socket is seen where the port is, in the same network, and
// is gone when its process is, however that ended.
//
// Example:
//
//	cmd := exec.Command("etcd", "--listen-client-urls", fmt.Sprintf("http://127.0.0.1:%d", freeport.Take(t)))
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports from first on are looked through. They are below what kernels give to connections (from 32768 on) and Kubernetes to services (from 30000 on).
const (
	first = 20_000
	count = 10_000
)

// Take returns a TCP port of 127.0.0.1 that nobody listens at, and that no other test gets before this one has ended.
func Take(t testing.TB) int {
	t.Helper()
	start := rand.IntN(count)
	for i := range count {
		port := first + (start+i)%count
		if keep := take(port); keep != nil {
			t.Cleanup(func() { keep.Close() })
			return port
		}
	}
	t.Fatalf("no port from %d to %d is free", first, first+count-1)
	return 0
}

// take is what keeps the port, or nil if it is taken.
func take(port int) net.Listener {
	keep, err := net.Listen("unix", fmt.Sprintf("@pai-storage-test-port-%d", port)) // in no directory
	if err != nil {
		return nil
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		keep.Close()
		return nil
	}
	l.Close()
	return keep
}
