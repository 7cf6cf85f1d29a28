package kubebuild

import (
	"os"
	"os/exec"
	"strings"
)

// hugePagesFile is the kernel's switch for transparent huge pages.
const hugePagesFile = "/sys/kernel/mm/transparent_hugepage/enabled"

// hugePages lets the kernel give the compiler huge pages while the build runs. Thousands of short compilations
// spend almost half of their time in page faults otherwise (see the decision note). "always" is what Debian's
// own kernels have; only "madvise" is changed, and only by root: "never" is somebody's decision.
//
// A process that waits for our end, in whatever way it comes, puts the old value back.
func hugePages(file string, note func(string)) (restore func()) {
	mode, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(mode), "[madvise]") || os.WriteFile(file, []byte("always"), 0o644) != nil {
		return func() {}
	}
	note("huge pages are on until the build ends")
	guard := exec.Command("sh", "-c", `cat >/dev/null; echo madvise >"$0"`, file)
	pipe, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		_ = os.WriteFile(file, []byte("madvise"), 0o644)
		return func() {}
	}
	return func() {
		pipe.Close()
		_ = guard.Wait()
	}
}
