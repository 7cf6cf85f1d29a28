package rest_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/servertest"
)

// TestRefusedBeforeTheBody: the forbidden are answered while their body is still on its way, and do not get to keep the connection open.
func TestRefusedBeforeTheBody(t *testing.T) {
	s := servertest.Start(t, nil)
	for id, method := range operations(s) {
		row := whoTable()[id]
		if row.body == "" {
			continue
		}
		for _, caller := range []int{anonymous, revoked, application, bob} {
			if status := row.status[caller]; status == no401 || status == no403 {
				t.Run(id+" "+callerNames[caller], func(t *testing.T) {
					withhold(t, s, method, row, authorization(t, s, caller), status)
				})
			}
		}
	}
}

// withhold announces a body and never sends it.
func withhold(t *testing.T, s *servertest.Server, method string, row whoRow, authorization string, want int) {
	t.Parallel()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: test\r\nContent-Type: %s\r\nContent-Length: 1000\r\n", method, row.path, row.typ)
	if authorization != "" {
		fmt.Fprintf(conn, "Authorization: %s\r\n", authorization)
	}
	fmt.Fprint(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want || !resp.Close {
		t.Errorf("got %d, close %t, want %d and the end of the connection", resp.StatusCode, resp.Close, want)
	}
}
