package mount_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/await"
)

// TestCheckKeepsNoOtherMountAlive: an object store's process ends when the last copy of its mount is gone, so a check that hangs must have none.
func TestCheckKeepsNoOtherMountAlive(t *testing.T) {
	l := newLab(t)
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fuse)
	target := l.target("fuse")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", target, "fuse.test", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(l.target("started"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.nfsIs("echo $$ >" + l.target("started") + "; exec sleep 1000")
	ctx, cancel := context.WithTimeout(t.Context(), await.Limit)
	defer cancel()
	checked := make(chan error, 1)
	go func() {
		_, err := l.host().Check(ctx, nfs, nil)
		checked <- err
	}()
	hanging, err := strconv.Atoi(strings.TrimSpace(text(t, l.target("started"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1<<16)
	await.Until(t, "the process of an object store learns that it may end", func() bool {
		_, err := unix.Read(fuse, buffer)
		return errors.Is(err, unix.ENODEV)
	})
	if err := unix.Kill(hanging, 0); err != nil {
		t.Errorf("the mount lived as long as the check: %v", err)
	}
	cancel()
	<-checked
}
