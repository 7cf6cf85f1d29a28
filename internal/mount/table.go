package mount

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mountEntry is one line of /proc/self/mountinfo.
type mountEntry struct {
	point string // where
	kind  string // of the file system, such as "nfs4" or "fuse.pai-s3"
}

// remote says whether the file system is one that can hang with its server or process.
func (e mountEntry) remote() bool {
	kind, _, _ := strings.Cut(e.kind, ".")
	return slices.Contains([]string{"nfs", "nfs4", "cifs", "smb3", "fuse", "fuseblk"}, kind)
}

// parseTable reads the format of /proc/PID/mountinfo; see proc_pid_mountinfo(5). Later mounts on the same place come later.
func parseTable(r io.Reader) ([]mountEntry, error) {
	var all []mountEntry
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 6 || len(right) < 1 {
			continue
		}
		all = append(all, mountEntry{point: unescape(left[4]), kind: right[0]})
	}
	return all, lines.Err()
}

// unescape takes back what the kernel does to blanks, tabs, line ends and backslashes: three octal digits.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// mountTable is what is mounted in this process's namespace. It asks no file system, so it answers also when one hangs.
func mountTable() ([]mountEntry, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseTable(f)
}

// kernelPath is a target with the links in the path to it followed, as the kernel names it. Its last part is not looked at, because what is
// mounted there may hang.
func kernelPath(target string) string {
	parent, err := filepath.EvalSymlinks(filepath.Dir(target))
	if err != nil {
		return target
	}
	return filepath.Join(parent, filepath.Base(target))
}
