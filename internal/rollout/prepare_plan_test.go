package rollout

import (
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// factsOf are those of a worker that lacks what is named: mount.nfs, nfs, cifs, fuse, /dev/fuse.
func factsOf(lacks ...string) storagecheck.Facts {
	f := storagecheck.Facts{Helpers: map[string]bool{"mount.nfs": true}, Modules: map[string]string{"nfs": "loadable", "nfsv4": "loadable", "cifs": "loaded", "fuse": "loaded"}, FUSE: true}
	for _, what := range lacks {
		switch what {
		case "mount.nfs":
			f.Helpers[what] = false
		case "/dev/fuse":
			f.FUSE = false
		case "fuse":
			f.FUSE, f.Modules[what] = false, "absent"
		default:
			f.Modules[what] = "absent"
		}
	}
	return f
}

// TestLacks: what brings a worker of each kind what it lacks; where no command does, the advice.
func TestLacks(t *testing.T) {
	const apt = "export DEBIAN_FRONTEND=noninteractive; apt-get update; apt-get install --yes --no-install-recommends "
	for _, c := range []struct {
		name, os, kernel string
		lacks            []string
		commands, advice string
	}{
		{name: "nothing", os: "Ubuntu 24.04.1 LTS", kernel: "6.8.0-40-generic"},
		{name: "ubuntu", os: "Ubuntu 24.04.1 LTS", kernel: "6.8.0-1017-aws", lacks: []string{"mount.nfs", "nfs", "cifs", "/dev/fuse"},
			commands: apt + "nfs-common linux-modules-extra-6.8.0-1017-aws; modprobe fuse", advice: "modprobe fuse"},
		{name: "ubuntu without fuse", os: "Ubuntu 20.04.6 LTS", kernel: "5.4.0-1-kvm", lacks: []string{"fuse"}, commands: apt + "linux-modules-extra-5.4.0-1-kvm; modprobe fuse"},
		{name: "debian", os: "Debian GNU/Linux 12 (bookworm)", kernel: "6.1.0-26-cloud-amd64", lacks: []string{"mount.nfs", "cifs"}, commands: apt + "nfs-common",
			advice: "install linux-image-amd64 (linux-image-arm64 on ARM) and boot it: the kernels for clouds leave modules out"},
		{name: "centos 7", os: "CentOS Linux 7 (Core)", kernel: "3.10.0-1160.el7.x86_64", lacks: []string{"mount.nfs", "cifs"}, commands: "yum install -y nfs-utils", advice: "boot a kernel that has it: this one's has been left out"},
		{name: "rocky", os: "Rocky Linux 9.4 (Blue Onyx)", kernel: "5.14.0-427.el9.x86_64", lacks: []string{"mount.nfs", "cifs"}, commands: "dnf install -y nfs-utils kernel-modules-5.14.0-427.el9.x86_64"},
		{name: "amazon 2", os: "Amazon Linux 2", kernel: "5.10.225.amzn2.x86_64", lacks: []string{"mount.nfs"}, commands: "yum install -y nfs-utils"},
		{name: "amazon 2023", os: "Amazon Linux 2023.5.20240805", kernel: "6.1.102.amzn2023.x86_64", lacks: []string{"mount.nfs"}, commands: "dnf install -y nfs-utils"},
		{name: "suse", os: "SUSE Linux Enterprise Server 15 SP5", kernel: "5.14.21-default", lacks: []string{"mount.nfs", "cifs"}, commands: "zypper --non-interactive install nfs-client kernel-default"},
		{name: "unknown", os: "Talos (v1.7)", kernel: "6.6.0-talos", lacks: []string{"mount.nfs", "/dev/fuse"}, commands: "modprobe fuse", advice: `install it in the way of "Talos (v1.7)"; modprobe fuse`},
		{name: "a kernel that is a command", os: "Ubuntu 24.04", kernel: "6.8; reboot", lacks: []string{"cifs"}, advice: `the kernel's release "6.8; reboot" is none that a package is named after; install its modules by hand`},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := lacks(factsOf(c.lacks...), c.os, c.kernel)
			var advice []string
			for _, l := range list {
				if len(l.Types) == 0 {
					t.Errorf("%s is for nothing", l.What)
				}
				if l.Advice != "" {
					advice = append(advice, l.Advice)
				}
			}
			if got := whats(list); len(list) != len(c.lacks) || !strings.Contains(got, strings.Join(c.lacks[:min(len(c.lacks), 1)], "")) {
				t.Errorf("lacks %q", got)
			}
			if got := strings.Join(commands(list, c.os), "; "); got != c.commands {
				t.Errorf("commands %q, want %q", got, c.commands)
			}
			if got := strings.Join(advice, "; "); got != c.advice {
				t.Errorf("advice %q, want %q", got, c.advice)
			}
		})
	}
}
