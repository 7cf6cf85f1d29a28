package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// TestReportFits: a report is never longer than Kubernetes takes, and says what it left out.
func TestReportFits(t *testing.T) {
	mounts := func(n int, m mount.Served) (list []mount.Served) {
		for i := range n {
			m.Target = fmt.Sprint("/var/lib/kubelet/", i)
			list = append(list, m)
		}
		return list
	}
	results := func(n int, message string) map[string]storagecheck.Result {
		all := map[string]storagecheck.Result{}
		for i := range n {
			all[fmt.Sprintf("storage-%04d", i)] = storagecheck.Result{Message: message, Time: time.Now(), Order: "123456"}
		}
		return all
	}
	names := slices.Repeat([]string{strings.Repeat("<", 4000)}, 10)
	for _, c := range []struct {
		name   string
		report storagecheck.Report
		left   string // what is left out; "" for nothing
		keeps  func(storagecheck.Report) bool
	}{
		{"short", storagecheck.Report{Results: results(100, "Permission denied <&>"), Mounts: mounts(10, mount.Served{Files: []string{"a"}})}, "",
			func(r storagecheck.Report) bool { return len(r.Results) == 100 && r.Mounts[9].Files[0] == "a" }},
		{"long names", storagecheck.Report{Results: results(100, "m"), Mounts: mounts(100, mount.Served{Files: slices.Clone(names)})}, "",
			func(r storagecheck.Report) bool {
				return len(r.Mounts) == 100 && len(r.Mounts[0].Files) == mostFiles && strings.HasSuffix(r.Mounts[0].Files[0], "<…")
			}},
		{"many long names", storagecheck.Report{Results: results(100, "m"), Mounts: mounts(1000, mount.Served{Files: slices.Clone(names)})}, "no names of files",
			func(r storagecheck.Report) bool { return len(r.Results) == 100 && len(r.Mounts) == 1000 }},
		{"many mounts that are well", storagecheck.Report{Mounts: append(mounts(10_000, mount.Served{Alive: true}), mount.Served{Target: "/dead"})}, "not 10000 mounts in good order",
			func(r storagecheck.Report) bool { return len(r.Mounts) == 1 && r.Mounts[0].Target == "/dead" }},
		{"long messages", storagecheck.Report{Results: results(1500, strings.Repeat("\x01", 1000))}, "messages in short",
			func(r storagecheck.Report) bool { return len(r.Results) > 700 }},
		{"many mounts", storagecheck.Report{Results: results(100, "m"), Mounts: mounts(10_000, mount.Served{})}, "mounts in need of somebody",
			func(r storagecheck.Report) bool { return len(r.Results) == 100 && len(r.Mounts) > 1000 }},
		{"everything", storagecheck.Report{Results: results(10_000, strings.Repeat("ä", 500)), Mounts: mounts(10_000, mount.Served{Fault: strings.Repeat("<", 5000)}), Faults: []string{"one"}}, "storages",
			func(r storagecheck.Report) bool { return len(r.Results) > 500 && r.Faults[0] == "one" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			clipMounts(c.report.Mounts)
			before := len(c.report.Results)
			text, err := fit(c.report, mostReport)
			if err != nil || len(text) > mostReport || !utf8.Valid(text) {
				t.Fatalf("%d bytes, %v", len(text), err)
			}
			var r storagecheck.Report
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatal(err)
			}
			if faults := strings.Join(r.Faults, "\n"); !strings.Contains(faults, c.left) || (c.left == "" && faults != "") || !c.keeps(r) {
				t.Errorf("%d results, %d mounts, faults %q", len(r.Results), len(r.Mounts), r.Faults)
			}
			if len(c.report.Results) != before {
				t.Error("the agent itself forgot something")
			}
		})
	}
}
