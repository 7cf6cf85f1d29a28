package localcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pai-storage/pai-storage/internal/plural"
)

// debianPackage says which package brings a program that the cluster needs on this machine.
var debianPackage = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86",
	"qemu-img":           "qemu-utils",
	"mmdebstrap":         "mmdebstrap",
	"mkfs.ext4":          "e2fsprogs",
	"cpio":               "cpio",
}

const (
	diskForState  = 3 << 30
	controlMemory = 1536 // MiB for the control plane and what else runs beside the workers
)

// checkMachine says at once everything that is in the way of a cluster with virtual machines.
func checkMachine(c Config) error {
	var faults []error
	if os.Geteuid() != 0 {
		faults = append(faults, errors.New("not root: virtual machines with a network of their own need it; use sudo, or use a cluster that you have with \"paictl up --kubeconfig FILE\""))
	}
	faults = append(faults, checkTun(), checkDisk(c.StateDir), checkMemory(c))
	return errors.Join(faults...)
}

func checkTun() error {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err == nil {
		return f.Close()
	}
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("no /dev/net/tun: the workers' network is made with it; run \"modprobe tun\", or in a container give it the device")
	}
	return fmt.Errorf("/dev/net/tun cannot be opened (%w): the workers' network is made with it", err)
}

// checkDisk looks at the file system that the state directory is or will be on.
func checkDisk(dir string) error {
	existing := dir
	for {
		if _, err := os.Stat(existing); err == nil || existing == filepath.Dir(existing) {
			break
		}
		existing = filepath.Dir(existing)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(existing, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", existing, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < diskForState {
		return fmt.Errorf("disk full: %s has %.1f GB free, a cluster needs %d GB; free some, or choose another place with --state-dir",
			existing, float64(free)/(1<<30), diskForState>>30)
	}
	return nil
}

func checkMemory(c Config) error {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return nil // not worth stopping for
	}
	var available int
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &available); err == nil {
			break
		}
	}
	if need := c.Workers*c.Memory + controlMemory; available > 0 && available>>10 < need {
		return fmt.Errorf("memory: %d MiB are available, %s with %d MiB and the control plane need %d; use fewer --workers or less --worker-memory",
			available>>10, plural.Of(c.Workers, "worker"), c.Memory, need)
	}
	return nil
}

// missingPackages lists the Debian packages that this machine lacks.
func missingPackages() []string {
	var missing []string
	for program, pkg := range debianPackage {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	sort.Strings(missing)
	return missing
}

// errPort is the cause when somebody else listens on a port.
type errPort struct {
	port int
	flag string
}

func (e errPort) Error() string {
	return fmt.Sprintf("port %d of 127.0.0.1 is taken: stop what listens there, or choose another with %s", e.port, e.flag)
}

func portError(err error, port int, flag string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return errPort{port, flag}
	}
	return fmt.Errorf("%s %d: %w", flag, port, err)
}
