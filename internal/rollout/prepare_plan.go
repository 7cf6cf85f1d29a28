package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// Lack is something that a worker would need to mount storages.
type Lack struct {
	What    string            `json:"what"`
	Types   []pai.StorageType `json:"types"`             // that it cannot mount without
	Package string            `json:"package,omitempty"` // of its distribution, which brings it
	Advice  string            `json:"advice,omitempty"`  // what to do where no package does
}

// distribution is how software comes to a worker.
type distribution struct {
	names    []string // in what the kubelet says that the machine runs, in lower case
	install  []string // commands, the packages follow the last one
	nfs      string
	modules  func(kernel string) (pkg string) // "" when no package brings more modules for that kernel
	noModule string                           // what to do then
}

var aptInstall = []string{"export DEBIAN_FRONTEND=noninteractive", "apt-get update", "apt-get install --yes --no-install-recommends"}

// distributions, those whose names have others in them first.
func distributions() []distribution {
	none := func(string) string { return "" }
	extra := func(kernel string) string { return "linux-modules-extra-" + kernel }
	redhat := func(kernel string) string { return "kernel-modules-" + kernel }
	other := "boot a kernel that has it: this one's has been left out"
	return []distribution{
		{names: []string{"ubuntu"}, install: aptInstall, nfs: "nfs-common", modules: extra},
		{names: []string{"debian"}, install: aptInstall, nfs: "nfs-common", modules: none, noModule: "install linux-image-amd64 (linux-image-arm64 on ARM) and boot it: the kernels for clouds leave modules out"},
		{names: []string{"centos linux 7", "red hat enterprise linux server 7", "amazon linux 2 ", "amazon linux 2$"}, install: []string{"yum install -y"}, nfs: "nfs-utils", modules: none, noModule: other},
		{names: []string{"centos", "red hat", "rocky", "alma", "fedora", "oracle linux"}, install: []string{"dnf install -y"}, nfs: "nfs-utils", modules: redhat},
		{names: []string{"amazon linux"}, install: []string{"dnf install -y"}, nfs: "nfs-utils", modules: none, noModule: other},
		{names: []string{"suse"}, install: []string{"zypper --non-interactive install"}, nfs: "nfs-client", modules: func(string) string { return "kernel-default" }},
	}
}

// distributionOf finds a worker's by what its kubelet says, such as "Ubuntu 24.04.1 LTS".
func distributionOf(osImage string) (distribution, bool) {
	image := strings.ToLower(osImage) + "$"
	for _, d := range distributions() {
		if slices.ContainsFunc(d.names, func(name string) bool { return strings.Contains(image, name) }) {
			return d, true
		}
	}
	return distribution{}, false
}

// kernelRelease is what a kernel's release may look like to become part of a command.
var kernelRelease = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~-]*$`)

// lacks is what a worker with these facts cannot mount with, and what brings it there.
func lacks(f storagecheck.Facts, osImage, kernel string) []Lack {
	d, known := distributionOf(osImage)
	unknown := fmt.Sprintf("install it in the way of %q", osImage)
	var out []Lack
	add := func(what, pkg, advice string, types ...pai.StorageType) {
		switch {
		case !known:
			pkg, advice = "", unknown
		case pkg != "":
			advice = ""
		}
		out = append(out, Lack{What: what, Types: types, Package: pkg, Advice: advice})
	}
	modules, noModule := "", d.noModule
	switch {
	case !kernelRelease.MatchString(kernel):
		noModule = fmt.Sprintf("the kernel's release %q is none that a package is named after; install its modules by hand", kernel)
	case known:
		modules = d.modules(kernel)
	}
	module := func(name string, types ...pai.StorageType) {
		if f.Modules[name] == "absent" {
			add("kernel module "+name, modules, noModule, types...)
		}
	}
	if !f.Helpers["mount.nfs"] {
		add("mount.nfs", d.nfs, "", pai.StorageNFS)
	}
	module("nfs", pai.StorageNFS)
	module("cifs", pai.StorageSamba, pai.StorageAzureFile)
	if f.FUSE {
		return out
	}
	module("fuse", pai.StorageAzureBlob, pai.StorageS3)
	if f.Modules["fuse"] != "absent" {
		out = append(out, Lack{What: "/dev/fuse", Types: []pai.StorageType{pai.StorageAzureBlob, pai.StorageS3}, Advice: "modprobe fuse"})
	}
	return out
}

// commands are those that bring a worker what it lacks, as far as commands can.
func commands(list []Lack, osImage string) []string {
	var packages []string
	fuse := false
	for _, l := range list {
		if l.Package != "" && !slices.Contains(packages, l.Package) {
			packages = append(packages, l.Package)
		}
		fuse = fuse || l.What == "/dev/fuse" || (l.What == "kernel module fuse" && l.Package != "")
	}
	var out []string
	if d, known := distributionOf(osImage); known && len(packages) > 0 {
		out = slices.Clone(d.install)
		out[len(out)-1] += " " + strings.Join(packages, " ")
	}
	if fuse {
		out = append(out, "modprobe fuse")
	}
	return out
}
