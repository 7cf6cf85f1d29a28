package kubebuild

import (
	"fmt"
	"os"
	"syscall"
)

// enoughDisk looks before a build of ten minutes whether there is room for its result.
func enoughDisk(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	free := int64(fs.Bavail) * fs.Bsize
	if free < diskNeeded {
		return fmt.Errorf("%w: building Kubernetes needs %d GB below %s, %.1f GB are free; free some, or set PAI_CACHE_DIR to a larger disk",
			ErrDisk, diskNeeded>>30, dir, float64(free)/(1<<30))
	}
	return nil
}
