// Package nodeimage builds what a local cluster's workers boot from: a kernel, an initrd and the image
// of a root file system, all from Debian's packages and the binaries of internal/kubebuild.
//
// Two entries of the cache: Debian's part, which takes a minute or two and changes rarely, and the
// image made from it, which takes seconds. The image is the same for every worker and every cluster;
// what makes a worker itself comes on a second disk that the cluster makes.
//
// The build needs root, because it makes a root file system with the owners that Debian wants.
package nodeimage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/proc"
)

// suite is the Debian release of the workers.
const suite = "bookworm"

// debianPackages of a worker, with the reason for each.
var debianPackages = []string{
	"linux-image-cloud-amd64",                                        // a kernel with nfs and cifs as modules
	"tiny-initramfs",                                                 // the kernel wants some initramfs tool; this one costs no time
	"runit",                                                          // process 1 and supervisor
	"qemu-guest-agent",                                               // a way in that needs no network
	"runc",                                                           // containerd's
	"containernetworking-plugins",                                    // CNI: bridge, host-local, portmap
	"iptables", "conntrack", "ethtool", "kmod", "procps", "iproute2", // kubelet and kube-proxy call them
	"nfs-common", "cifs-utils", // mount.nfs, mount.cifs
	"busybox-static",  // the initrd, and the image for small jobs
	"ca-certificates", // a worker's trust store
}

//go:embed all:files
var files embed.FS

//go:embed initrd-init
var initrdInit []byte

// diskModules finds the disk, in the order of their dependencies; ext4 is built in.
var diskModules = []string{"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"}

// Image is a finished image.
type Image struct{ Kernel, Initrd, Disk string }

// Options say where things are.
type Options struct {
	Cache string
	Log   string
	Note  func(string)
	// Programs of the images that are made here.
	TaskInit       string // makes personal folders
	StorageManager string // the NFS and SMB server
	// Agent is the node agent, and the programs that it installs on workers.
	Agent []string
}

// Debian makes the Debian part; it needs no binaries, so it can run while those are compiled.
func Debian(ctx context.Context, o Options) (dir string, err error) {
	if _, err := buildcache.Ensure(ctx, o.storageDebian()); err != nil {
		return "", err
	}
	return buildcache.Ensure(ctx, o.debian())
}

func (o Options) debian() buildcache.Entry {
	key := buildcache.Key([]byte(suite), []byte(strings.Join(debianPackages, " ")), []byte(strings.Join(bootstrapArgs("", ""), " ")))
	return buildcache.Entry{Root: o.Cache, Kind: "debian", Key: key, Build: o.bootstrap, Note: o.Note, Keep: 1}
}

func bootstrapArgs(target, log string) []string {
	return []string{"--mode=root", "--variant=minbase", "--format=directory",
		"--include=" + strings.Join(debianPackages, ","),
		"--dpkgopt=force-unsafe-io",
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/net/ethernet/*",
		"--dpkgopt=path-exclude=/lib/modules/*/kernel/drivers/infiniband/*",
		suite, target}
}

func (o Options) bootstrap(ctx context.Context, dir string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("building the workers' image needs root: run as root")
	}
	o.Note("downloading and installing Debian's packages")
	return proc.Run(ctx, proc.Command{Path: "mmdebstrap", Args: bootstrapArgs(filepath.Join(dir, "root"), o.Log), Log: o.Log})
}

// Ensure returns the image for the binaries in binDir, building what is missing.
func Ensure(ctx context.Context, o Options, binDir string) (Image, error) {
	debian, err := Debian(ctx, o)
	if err != nil {
		return Image{}, err
	}
	storage, err := buildcache.Ensure(ctx, o.storageDebian())
	if err != nil {
		return Image{}, err
	}
	key, err := o.imageKey(binDir)
	if err != nil {
		return Image{}, err
	}
	dir, err := buildcache.Ensure(ctx, buildcache.Entry{Root: o.Cache, Kind: "worker-image", Key: key, Note: o.Note, Keep: 1,
		Build: func(ctx context.Context, dir string) error { return o.assemble(ctx, dir, debian, storage, binDir) }})
	return Image{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd"), Disk: filepath.Join(dir, "disk.img")}, err
}

// nodePrograms are copied onto the disk.
var nodePrograms = []string{"kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr"}

func (o Options) imageKey(binDir string) (string, error) {
	parts := [][]byte{[]byte(o.debian().Key), initrdInit, []byte(strings.Join(diskModules, " ")), []byte(busyboxReference + pauseReference + userReference + taskInitReference + NodeAgentReference + diskSize)}
	parts = append(parts, []byte(o.storageDebian().Key), []byte(StorageManagerReference+" imported"))
	for _, program := range append([]string{o.TaskInit, o.StorageManager}, o.Agent...) {
		text, err := os.ReadFile(program)
		if err != nil {
			return "", fmt.Errorf("worker image: %w", err)
		}
		parts = append(parts, text)
	}
	err := fs.WalkDir(files, "files", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(path)
		parts = append(parts, []byte(path), text)
		return err
	})
	if err != nil {
		return "", err
	}
	// The binaries' directory is named after what they are built from; one that is given by hand is
	// told apart by sizes and times.
	for _, name := range append([]string{"pause"}, nodePrograms...) {
		info, err := os.Stat(filepath.Join(binDir, name))
		if err != nil {
			return "", fmt.Errorf("worker image: %w", err)
		}
		parts = append(parts, fmt.Appendf(nil, "%s %d %d", name, info.Size(), info.ModTime().UnixNano()))
	}
	return buildcache.Key(parts...), nil
}

func (o Options) assemble(ctx context.Context, dir, debian, storage, binDir string) error {
	o.Note("putting the image together")
	root := filepath.Join(dir, "root")
	// Hard links: the copy costs no space, and every file put on top is a new one.
	steps := []func() error{
		func() error {
			return o.run(ctx, "cp", "-al", filepath.Join(debian, "root"), root)
		},
		func() error { return putFiles(root) },
		func() error { return putPrograms(root, binDir) },
		func() error {
			return writeImages(filepath.Join(dir, "images.tar"), imagePrograms{
				pause: filepath.Join(binDir, "pause"), busybox: filepath.Join(root, "bin/busybox"), taskInit: o.TaskInit, agent: o.Agent})
		},
		func() error {
			return writeStorageImage(filepath.Join(dir, "storage-manager.tar"), filepath.Join(storage, "root"), o.StorageManager)
		},
		func() error {
			return o.importImages(ctx, binDir, root, filepath.Join(dir, "images.tar"), filepath.Join(dir, "storage-manager.tar"))
		},
		func() error { return copyKernel(root, filepath.Join(dir, "vmlinuz")) },
		func() error { return o.writeInitrd(ctx, root, dir) },
		func() error {
			return o.run(ctx, "mkfs.ext4", "-q", "-F", "-L", "worker", "-d", root, filepath.Join(dir, "disk.img"), diskSize)
		},
		func() error { return os.RemoveAll(root) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("worker image: %w", err)
		}
	}
	return nil
}

// diskSize is the size of a worker's root disk; it is sparse.
const diskSize = "8G"

func (o Options) run(ctx context.Context, name string, args ...string) error {
	return proc.Run(ctx, proc.Command{Path: name, Args: args, Log: o.Log})
}

// putFiles lays the embedded files over the root. They are replaced, not written into: the old ones
// are hard links.
func putFiles(root string) error {
	return fs.WalkDir(files, "files", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(root, strings.TrimPrefix(path, "files"))
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(string(text), "#!") {
			mode = 0o755
		}
		return replace(target, text, mode)
	})
}

func replace(target string, text []byte, mode fs.FileMode) error {
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, text, mode)
}

func putPrograms(root, binDir string) error {
	for _, name := range nodePrograms {
		text, err := os.ReadFile(filepath.Join(binDir, name))
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(root, "usr/bin", name), text, 0o755); err != nil {
			return err
		}
	}
	// kubelet and kube-proxy are one program under two names, on this disk as well.
	proxy := filepath.Join(root, "usr/bin/kube-proxy")
	if sameFile(filepath.Join(binDir, "kubelet"), filepath.Join(binDir, "kube-proxy")) {
		if err := os.Remove(proxy); err != nil {
			return err
		}
		return os.Link(filepath.Join(root, "usr/bin/kubelet"), proxy)
	}
	return nil
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

func copyKernel(root, target string) error {
	found, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("found %d kernels in the image's /boot, expected one", len(found))
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	return os.WriteFile(target, text, 0o644)
}

// writeInitrd makes the initrd: busybox, the modules that find the disk, and one script.
func (o Options) writeInitrd(ctx context.Context, root, dir string) error {
	tree := filepath.Join(dir, "initrd-tree")
	for _, d := range []string{"bin", "modules", "proc", "dev", "newroot"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := os.ReadFile(filepath.Join(root, "bin/busybox"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "bin/busybox"), busybox, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "init"), initrdInit, 0o755); err != nil {
		return err
	}
	if err := copyModules(root, filepath.Join(tree, "modules")); err != nil {
		return err
	}
	if err := o.run(ctx, "sh", "-c", `cd "$1" && find . | cpio --quiet --create --format=newc | gzip -1 >"$2"`, "sh", tree, filepath.Join(dir, "initrd")); err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

func copyModules(root, target string) error {
	var order strings.Builder
	for _, module := range diskModules {
		source, err := findModule(root, module)
		if err != nil {
			return err
		}
		if source == "" {
			continue // built into this kernel
		}
		text, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(target, filepath.Base(source)), text, 0o644); err != nil {
			return err
		}
		fmt.Fprintln(&order, filepath.Base(source))
	}
	return os.WriteFile(filepath.Join(target, "order"), []byte(order.String()), 0o644)
}

func findModule(root, name string) (path string, err error) {
	err = filepath.WalkDir(filepath.Join(root, "usr/lib/modules"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == name+".ko" {
			path = p
			return fs.SkipAll
		}
		return err
	})
	return path, err
}
