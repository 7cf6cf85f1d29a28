package system

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pai-storage/pai-storage/internal/await"
)

// startTimes measures from submission to running, beside "kubectl create" of the same Job with the same volumes, in turns. It asserts that
// both run, and no times.
func (f *faultLab) startTimes(t *testing.T, rounds int) {
	f.declare(t, claim{name: "t-shared", source: nfs("/data"), options: version41})
	f.declare(t, claim{name: "t-home", source: nfs("/users"), options: version41, labels: `share: "false"`})
	f.bound(t, "t-shared")
	f.bound(t, "t-home")
	plain := f.plainJob(t)
	times := map[string][]float64{}
	ours := func(name string) string {
		document := writeFile(t, name+".yaml", starting.document(name))
		f.paictl(t, "job", "submit", document).mustSucceed(t, "submit")
		return f.jobOf(t, name)
	}
	theirs := func(name string) string {
		file := writeFile(t, "job.json", strings.ReplaceAll(plain, plainName, name))
		f.kubectl(t, "create", "-f", file).mustSucceed(t, "kubectl create")
		return name
	}
	for i := range rounds {
		// In turns, and each first in half of the rounds: the second one finds what the first has warmed.
		turns := []string{"paictl", "kubectl"}
		if i%2 == 1 {
			slices.Reverse(turns)
		}
		for _, way := range turns {
			name := fmt.Sprintf("start-%s-%d", way, i)
			began := time.Now()
			job := map[string]func(string) string{"paictl": ours, "kubectl": theirs}[way](name)
			created := time.Since(began)
			f.podRuns(t, job)
			took := time.Since(began)
			times[way] = append(times[way], took.Seconds())
			t.Logf("%s: %.1f s, of which %.1f s until it was there; on %s", name, took.Seconds(), created.Seconds(),
				f.kubectl(t, "get", "pods", "-l", "batch.kubernetes.io/job-name="+job, "-o", "jsonpath={.items[*].spec.nodeName}").out)
			f.kubectl(t, "delete", "job", job, "--wait=false").mustSucceed(t, "kubectl delete")
			f.podGone(t, job)
		}
	}
	a, b := median(times["paictl"]), median(times["kubectl"])
	t.Logf("from submission to running, median of %d: %.1f s with paictl, %.1f s with kubectl create of the same Job: %.2f times", rounds, a, b, a/b)
}

func median(times []float64) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// starting is a job with two storages, one of them personal, that ends at once when it is told to.
var starting = task{storages: []string{"t-shared", "t-home"}, command: "trap 'exit 0' TERM; sleep 600 & wait"}

const plainName = "name-of-the-job"

// plainJob is the Job of such a job as one would write it by hand, named plainName. What it is made from runs once, so that nothing is measured
// that only the first pod on a cluster pays.
func (f *faultLab) plainJob(t *testing.T) string {
	t.Helper()
	f.paictl(t, "job", "submit", writeFile(t, "warm.yaml", starting.document("start-warm"))).mustSucceed(t, "submit")
	job := f.jobOf(t, "start-warm")
	f.podRuns(t, job)
	text := f.sameJob(t, job, plainName)
	f.paictl(t, "job", "delete", "--yes", "start-warm").mustSucceed(t, "delete")
	f.podGone(t, job)
	return text
}

// jobOf is the name of the Job of a job.
func (f *faultLab) jobOf(t *testing.T, name string) string {
	t.Helper()
	return f.kubectl(t, "get", "jobs", "-l", "pai.storage/job", "-o", `jsonpath={.items[?(@.metadata.annotations.pai\.storage/job=="`+name+`")].metadata.name}`).mustSucceed(t, "get jobs").out
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

// podsOf are the phases of a Job's pods, or "?" where nobody answers.
func podsOf(t *testing.T, client kubernetes.Interface, job string) string {
	t.Helper()
	pods, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "batch.kubernetes.io/job-name=" + job})
	if err != nil {
		return "?"
	}
	var phases []string
	for _, p := range pods.Items {
		phases = append(phases, string(p.Status.Phase))
	}
	return strings.Join(phases, " ")
}

func (f *faultLab) podRuns(t *testing.T, job string) {
	t.Helper()
	client := f.client(t)
	await.Until(t, job+" runs", func() bool { return podsOf(t, client, job) == "Running" })
}

func (f *faultLab) podGone(t *testing.T, job string) {
	t.Helper()
	client := f.client(t)
	await.Until(t, "the pod of "+job+" is gone", func() bool { return podsOf(t, client, job) == "" })
}
