package flexvolume

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asProgram marks a process of the tests that is the program that the kubelet calls.
const asProgram = "FLEXVOLUME_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	args, err := Conceal(self, os.Args[1:3], os.Args[3:], os.Stdin)
	fmt.Printf("%q %v\n", args, err)
	for { // until it is killed
		time.Sleep(time.Hour)
	}
}

// TestConceal: the Secret is in the command line no more when the work begins.
func TestConceal(t *testing.T) {
	const options = `{"source":"//h/s","kubernetes.io/secret/password":"Y2FuYXJ5"}`
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "flexvolume", "microsoft.com/smb", "mount", "/dir", options)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	said, err := bufio.NewReader(out).ReadString('\n')
	if want := fmt.Sprintf("%q <nil>\n", []string{"mount", "/dir", options}); err != nil || said != want {
		t.Errorf("it has %s%v, want %s", said, err, want)
	}
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, file))
		if err != nil || strings.Contains(string(text), "Y2FuYXJ5") {
			t.Errorf("%s: %q %v", file, text, err)
		}
		if want := "flexvolume\x00microsoft.com/smb\x00mount\x00/dir\x00-\x00"; file == "cmdline" && !strings.HasSuffix(string(text), want) {
			t.Errorf("%s: %q", file, text)
		}
	}
}

// TestConcealLeaves: calls without a Secret go on as they are.
func TestConcealLeaves(t *testing.T) {
	for _, args := range [][]string{nil, {"init"}, {"unmount", "/dir"}, {"mount", "/dir"}} {
		if got, err := Conceal("/nonexistent", nil, args, strings.NewReader("")); err != nil || len(got) != len(args) {
			t.Errorf("%q: %q %v", args, got, err)
		}
	}
	if _, err := Conceal("/nonexistent", nil, []string{"mount", "/dir", "-"}, strings.NewReader(strings.Repeat("x", mostOptions+1))); err == nil {
		t.Error("options of any length are read")
	}
}
