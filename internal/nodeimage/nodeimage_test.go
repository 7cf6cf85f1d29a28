package nodeimage

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestScriptsParse: every script of the image is one that its shell understands.
func TestScriptsParse(t *testing.T) {
	checked := 0
	check := func(label string, text []byte) {
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(string(text))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", label, err, out)
		}
		checked++
	}
	check("initrd-init", initrdInit)
	err := fs.WalkDir(files, "files", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(path)
		if strings.HasPrefix(string(text), "#!") {
			check(path, text)
		}
		return err
	})
	if err != nil || checked < 9 {
		t.Errorf("checked %d scripts, error %v", checked, err)
	}
}

func TestPutFiles(t *testing.T) {
	root := t.TempDir()
	// What stands there is a hard link into the cache: it must be replaced, never written into.
	original := filepath.Join(t.TempDir(), "original")
	if err := os.WriteFile(original, []byte("Debian's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "etc/runit"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(original, filepath.Join(root, "etc/runit/1")); err != nil {
		t.Fatal(err)
	}
	if err := putFiles(root); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(original); string(text) != "Debian's" {
		t.Error("the cache was written into")
	}
	for file, mode := range map[string]fs.FileMode{"etc/runit/1": 0o755, "etc/pai/service/kubelet/run": 0o755, "etc/containerd/config.toml": 0o644} {
		info, err := os.Stat(filepath.Join(root, file))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, error %v", file, info, err)
		}
	}
}

func TestImages(t *testing.T) {
	dir := t.TempDir()
	busybox := filepath.Join(dir, "busybox")
	if err := os.WriteFile(busybox, []byte("#!/bin/sh\necho sh\necho ls\necho busybox\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "out", "images.tar")
	if err := writeImages(archive, imagePrograms{pause: busybox, busybox: busybox, taskInit: busybox}); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(busyboxReference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(img)
	defer content.Close()
	found := map[string]string{}
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h.Linkname
	}
	if link, ok := found["bin/sh"]; !ok || link != "busybox" {
		t.Errorf("bin/sh -> %q in %v", link, found)
	}
	if _, ok := found["bin/busybox"]; !ok {
		t.Error("no bin/busybox")
	}
	if _, err := tarball.ImageFromPath(archive, nil); err == nil {
		t.Error("there is one image, expected two")
	}
}

func TestKernelMustBeThere(t *testing.T) {
	if err := copyKernel(t.TempDir(), filepath.Join(t.TempDir(), "vmlinuz")); err == nil {
		t.Error("no kernel, no error")
	}
}
