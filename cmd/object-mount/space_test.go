package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
)

// TestDiskStaysFree: a file that is bigger than the disk of the cache does not fill it, and what was uploaded makes room.
func TestDiskStaysFree(t *testing.T) {
	l := newLab(t)
	state := filepath.Join(l.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.end(); _ = unix.Unmount(state, unix.MNT_DETACH) })
	free := func() uint64 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(state, &st); err != nil {
			t.Fatal(err)
		}
		return st.Bavail * uint64(st.Bsize)
	}
	target := l.mount("a", l.volume)
	big := filepath.Join(target, "big")
	f, err := os.Create(big)
	if err != nil {
		t.Fatal(err)
	}
	block, n := random(t, 1<<20), 0
	for ; n < 100 && err == nil; n++ {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) || n < 40 {
		t.Errorf("after %d MiB: %v", n, err)
	}
	if left := free(); left < 2<<20 {
		t.Errorf("%d bytes are free", left)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	await.Until(t, "there is room again", func() bool { return os.WriteFile(filepath.Join(target, "small"), block, 0o644) == nil })
	if err := os.Remove(big); err != nil {
		t.Error(err)
	}
	l.unmount(target)
}
