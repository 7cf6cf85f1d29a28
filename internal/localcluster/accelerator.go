package localcluster

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/proc"
	"github.com/pai-storage/pai-storage/internal/qemu"
)

// The ways to run a virtual machine. The second one stands for what [qemu.QEMU.Emulation] says.
const (
	hardware  = "kvm"
	emulation = "tcg"
)

// accelerationProof is how long a machine may take to boot a kernel that has nothing to run. Emulation takes about 2.5 s. It is long
// because a slow machine that is taken for one without is slow for good, and looked at once.
const accelerationProof = 20 * time.Second

// accelerator tells how to run virtual machines. A virtual machine may be given a /dev/kvm that stands still or fails as soon as a guest
// uses it, so that being there proves nothing: one kernel has to boot. The answer is kept until this machine boots again.
func (cfg Config) accelerator(ctx context.Context, note func(string)) string {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return emulation
	}
	kvm.Close()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return emulation
	}
	cache, err := buildcache.Root()
	if err != nil {
		return emulation
	}
	file := filepath.Join(cache, "accelerator")
	if text, err := os.ReadFile(file); err == nil {
		if known, ok := strings.CutPrefix(string(text), string(boot)); ok && (known == hardware || known == emulation) {
			return known
		}
	}
	note("trying hardware virtualization")
	found := emulation
	if err := cfg.bootWith(ctx, hardware); err == nil {
		found = hardware
	}
	if err := renameio.WriteFile(file, append(boot, found...), 0o600); err != nil {
		slog.Warn("the accelerator is looked for again next time", "error", err)
	}
	return found
}

// bootWith lets the workers' kernel boot until it misses its root disk and the machine ends.
func (cfg Config) bootWith(ctx context.Context, accelerator string) error {
	ctx, cancel := context.WithTimeout(ctx, accelerationProof)
	defer cancel()
	return proc.Run(ctx, proc.Command{Path: qemu.Installed, Log: cfg.path("accelerator.log"), Args: []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", "256",
		"-kernel", cfg.Image.Kernel, "-append", "quiet panic=-1 tsc=reliable",
	}})
}
