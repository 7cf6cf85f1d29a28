package system

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// startTimes measures from submission to running, beside "kubectl create" of the same Job with the same volumes, in turns. It asserts that
// both run, and no times.
func (f *faultLab) startTimes(t *testing.T, rounds int) {
	f.declare(t, claim{name: "t-shared", source: nfs("/data"), options: version41})
	f.declare(t, claim{name: "t-home", source: nfs("/users"), options: version41, labels: `share: "false"`})
	f.bound(t, "t-shared")
	f.bound(t, "t-home")
	var ours, plain []float64
	for i := range rounds {
		name := fmt.Sprintf("start-%d", i)
		document := writeFile(t, name+".yaml", task{storages: []string{"t-shared", "t-home"}, command: "trap 'exit 0' TERM; sleep 600 & wait"}.document(name))
		began := time.Now()
		f.paictl(t, "job", "submit", document).mustSucceed(t, "submit")
		job := f.kubectl(t, "get", "jobs", "-l", "pai.storage/job", "-o", `jsonpath={.items[?(@.metadata.annotations.pai\.storage/job=="`+name+`")].metadata.name}`).out
		f.podRuns(t, job)
		ours = append(ours, time.Since(began).Seconds())
		copied := f.sameJob(t, job, name+"-plain")
		f.paictl(t, "job", "delete", "--yes", name).mustSucceed(t, "delete")
		f.podGone(t, job)

		file := writeFile(t, "job.json", copied)
		began = time.Now()
		f.kubectl(t, "create", "-f", file).mustSucceed(t, "kubectl create")
		f.podRuns(t, name+"-plain")
		plain = append(plain, time.Since(began).Seconds())
		f.kubectl(t, "delete", "job", name+"-plain", "--wait=false").mustSucceed(t, "kubectl delete")
		f.podGone(t, name+"-plain")
	}
	slices.Sort(ours)
	slices.Sort(plain)
	a, b := ours[len(ours)/2], plain[len(plain)/2]
	t.Logf("from submission to running, median of %d: %.1f s with paictl, %.1f s with kubectl create of the same Job: %.2f times\n%.1f\n%.1f", rounds, a, b, a/b, ours, plain)
}

// sameJob is a Job as one would write it by hand: without what belongs to the original alone.
func (f *faultLab) sameJob(t *testing.T, name, as string) string {
	t.Helper()
	var job map[string]any
	if err := json.Unmarshal([]byte(f.kubectl(t, "get", "job", name, "-o", "json").mustSucceed(t, "get job").out), &job); err != nil {
		t.Fatal(err)
	}
	delete(job, "status")
	job["metadata"] = map[string]any{"name": as}
	spec := job["spec"].(map[string]any)
	delete(spec, "selector")
	spec["template"].(map[string]any)["metadata"] = map[string]any{}
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f *faultLab) podsOf(t *testing.T, job string) string {
	t.Helper()
	return strings.TrimSpace(f.kubectl(t, "get", "pods", "-l", "batch.kubernetes.io/job-name="+job, "-o", "jsonpath={.items[*].status.phase}").out)
}

func (f *faultLab) podRuns(t *testing.T, job string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); f.podsOf(t, job) != "Running"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s does not run: %q", job, f.podsOf(t, job))
		}
	}
}

func (f *faultLab) podGone(t *testing.T, job string) {
	t.Helper()
	eventually(t, 2*time.Minute, "the pod of "+job+" is gone", func() bool { return f.podsOf(t, job) == "" })
}
