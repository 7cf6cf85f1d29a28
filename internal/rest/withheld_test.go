package rest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/await"
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

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

// withhold announces a body and never sends it.
func withhold(t *testing.T, s *servertest.Server, method string, row whoRow, authorization string, want int) {
	t.Parallel()
	request := httptest.NewRequest(method, row.path, unread{t})
	request.ContentLength = 1000
	request.Header.Set("Content-Type", row.typ)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	answer := httptest.NewRecorder()
	if s.REST.ServeHTTP(answer, request); answer.Code != want {
		t.Errorf("without a connection: got %d, want %d", answer.Code, want)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(await.Limit))
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
