package nodeimage

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// StorageManagerReference is the image of the storage manager on a local cluster's workers.
const StorageManagerReference = "pai.local/storage-manager:1"

// storagePackages of the storage manager's image: the same as in deploy/Containerfile.
var storagePackages = []string{
	"nfs-ganesha", "nfs-ganesha-vfs", "dbus", // the NFS server, and the bus on which it tells of its clients
	"samba", "samba-vfs-modules", // the SMB server
	"winbind", "libnss-winbind", "krb5-user", // a member of an Active Directory domain
	"busybox-static", // a shell, for people who look into the container
}

// storageExcludes are what the servers never open: half of the image.
var storageExcludes = []string{
	"/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/perl*", "/usr/share/lintian/*",
	"/usr/lib/python3*", "/usr/lib/x86_64-linux-gnu/perl*", "/usr/lib/x86_64-linux-gnu/libperl*",
}

func (o Options) storageDebian() buildcache.Entry {
	key := buildcache.Key([]byte(strings.Join(storageArgs(""), " ")))
	return buildcache.Entry{Root: o.Cache, Kind: "storage-debian", Key: key, Note: o.Note, Keep: 1, Build: func(ctx context.Context, dir string) error {
		o.Note("downloading the file servers' packages")
		return proc.Run(ctx, proc.Command{Path: "mmdebstrap", Args: storageArgs(filepath.Join(dir, "root")), Log: o.Log})
	}}
}

// storageArgs only unpack: none of the packages needs its installation scripts here, and so neither Perl nor Python.
func storageArgs(target string) []string {
	args := []string{"--mode=root", "--variant=extract", "--format=directory", "--include=" + strings.Join(storagePackages, ",")}
	for _, e := range storageExcludes {
		args = append(args, "--dpkgopt=path-exclude="+e)
	}
	return append(args, suite, target)
}

// writeStorageImage writes the storage manager's image: Debian's part and the program in one layer, because one is unpacked without a mount
// of overlays, which not every file system can bear.
func writeStorageImage(target, debian, program string) error {
	layer, err := treeLayer(debian, program)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(StorageManagerReference)
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	if img, err = configured(img, v1.Config{Entrypoint: []string{"/usr/bin/storage-manager"}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}); err != nil {
		return err
	}
	return tarball.WriteToFile(target, tag, img)
}

// treeLayer is a directory as a layer, with a program in it.
func treeLayer(root, program string) (v1.Layer, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil || relative == "." {
			return err
		}
		return addEntry(w, path, relative, d)
	})
	if err != nil {
		return nil, err
	}
	// A shell for people who look into the container.
	if err := w.WriteHeader(&tar.Header{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	if err := w.WriteHeader(&tar.Header{Name: "usr/bin/" + filepath.Base(program), Mode: 0o755, Size: int64(len(text))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return layerOf(out.Bytes())
}

func addEntry(w *tar.Writer, path, relative string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	link := ""
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		if link, err = os.Readlink(path); err != nil {
			return err
		}
	case !info.IsDir() && !info.Mode().IsRegular():
		return nil // devices are the runtime's
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name, header.Uname, header.Gname = relative, "", ""
	if info.IsDir() {
		header.Name += "/"
	}
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

// layerOf compresses with zstd, which costs a tenth of the time that gzip does.
func layerOf(text []byte) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
		tarball.WithCompression(compression.ZStd), tarball.WithCompressedCaching)
}

func configured(img v1.Image, config v1.Config) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("container image: %w", err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = "amd64", "linux", config
	return mutate.ConfigFile(img, file)
}
