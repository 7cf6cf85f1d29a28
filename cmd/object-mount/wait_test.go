package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/mount"
)

// TestSilentStore: a store that takes connections and never answers keeps neither a process that is killed nor one that waits.
func TestSilentStore(t *testing.T) {
	l := newLab(t)
	target := l.mount("a", l.volume)
	text := random(t, 100_000)
	put(t, filepath.Join(target, "a.txt"), text)
	if err := os.Mkdir(filepath.Join(target, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.unmount(target)

	var silent atomic.Bool
	arrived, end := make(chan struct{}, 1000), make(chan struct{})
	l.before(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if !silent.Load() {
			return false
		}
		if r.Method == http.MethodGet {
			arrived <- struct{}{}
		}
		select {
		case <-end:
		case <-r.Context().Done():
		}
		return true
	})
	t.Cleanup(func() { close(end) }) // before the server is closed
	target = l.mount("b", l.volume)
	file, directory := filepath.Join(target, "a.txt"), filepath.Join(target, "d")
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	for _, command := range [][]string{{"cat", file}, {"ls", directory}} {
		cmd := exec.Command(command[0], command[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		<-arrived
		_ = cmd.Process.Kill()
		var done bool
		await.Promised(t, command[0]+" ends", 5*time.Second, func() bool {
			select {
			case <-ended:
				done = true
			default:
			}
			return done
		})
	}
	answer := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(file)
		answer <- err
	}()
	var read error
	await.Promised(t, "a read ends", 45*time.Second, func() bool {
		select {
		case read = <-answer:
			return true
		default:
			return false
		}
	})
	if !errors.Is(read, unix.EIO) {
		t.Errorf("a read: %v", read)
	}
	l.unmount(target)
}

// TestPulse: whatever a store answers, it lives.
func TestPulse(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	p := pulseOf(mount.Volume{Kind: mount.S3, Endpoint: server.URL}, "")
	if !p.alive() {
		t.Error("a server that answers 404 is dead")
	}
	server.Close()
	p = pulseOf(mount.Volume{Kind: mount.S3, Endpoint: server.URL}, "")
	if p.alive() {
		t.Error("a server that is not there lives")
	}
	for want, v := range map[string]mount.Volume{
		"https://acc.blob.core.windows.net":      {Kind: mount.AzureBlob},
		"https://s3.eu-west-1.amazonaws.com":     {Kind: mount.S3, Region: "eu-west-1"},
		"https://s3.amazonaws.com":               {Kind: mount.S3},
		"https://s3.cn-north-1.amazonaws.com.cn": {Kind: mount.S3, Region: "cn-north-1"},
		"https://acc.blob.core.chinacloudapi.cn": {Kind: mount.AzureBlob, Endpoint: "acc.blob.core.chinacloudapi.cn"},
	} {
		if got := pulseOf(v, "acc").url; got != want {
			t.Errorf("%+v: %s", v, got)
		}
	}
}
