package rest_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestOutOfReach: when Kubernetes cannot be reached, a write is refused as what can be tried again, reads go on, and the log has the cause.
func TestOutOfReach(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		code   string
		logged string
	}{
		{"nobody listens", &url.Error{Op: "Put", URL: "https://k/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}, 503, "UnavailableError", "connection refused"},
		{"no answer in time", context.DeadlineExceeded, 503, "UnavailableError", "deadline exceeded"},
		{"anything else", errors.New("no room left"), 500, "UnknownError", "no room left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &lockedBuffer{}
			s := servertest.Start(t, log)
			admin := "Bearer " + s.Token(t, "admin")
			breakWrites(s, c.err)
			for _, w := range []step{
				{"POST", "/users", `{"username":"carol","password":"secret-carol"}`, c.status, c.code},
				{"PUT", "/users", `{"data":{"username":"bob","email":"b@c.de"},"patch":true}`, c.status, c.code},
				{"DELETE", "/users/bob", "", c.status, c.code},
				{"POST", "/groups", `{"groupname":"team"}`, c.status, c.code},
				{"PUT", "/groups/default/storages/nfs-storage", "", c.status, c.code},
				{"POST", "/tokens/application", "", c.status, c.code},
				{"POST", "/storages", `{"name":"new","type":"samba","address":"//h/s","secret":{"username":"u","password":"p"}}`, c.status, c.code},
				{"GET", "/users", "", 200, "alice"},
				{"GET", "/storages", "", 200, "nfs-storage"},
			} {
				testSteps(t, s, admin, []step{w})
			}
			if got := strings.Count(log.String(), c.logged); got < 7 {
				t.Errorf("the cause is logged %d times: %s", got, log.String())
			}
		})
	}
}
