package freeport

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// asOther in the environment makes the test's program one that tries to take a port.
const asOther = "PAI_TEST_TAKES_PORT"

func TestMain(m *testing.M) {
	port, err := strconv.Atoi(os.Getenv(asOther))
	if err != nil {
		os.Exit(m.Run())
	}
	fmt.Print(take(port) != nil)
}

// TestTake: what a test has taken no other process gets, whether or not somebody listens there yet; afterwards it does.
func TestTake(t *testing.T) {
	free := func(port int) string {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asOther+"="+strconv.Itoa(port))
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	var port int
	t.Run("taken", func(t *testing.T) {
		port = Take(t)
		if got := free(port); got != "false" {
			t.Errorf("another process gets %d: %s", port, got)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("it cannot be used: %v", err)
		}
		l.Close()
	})
	if got := free(port); got != "true" {
		t.Errorf("it is kept after the test: %s", got)
	}
}

// TestListener: a port at which somebody listens who took nothing is not given away.
func TestListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if keep := take(l.Addr().(*net.TCPAddr).Port); keep != nil {
		t.Error("it was")
	}
}
