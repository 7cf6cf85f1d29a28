package bench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

var jobs = flag.Int("jobs", 60, "how many jobs there are in the end")

// jobResult is what was measured of jobs.
type jobResult struct {
	Jobs      int     `json:"jobs"`
	Submitted float64 `json:"submissionsPerSecond"`
	Objects   float64 `json:"directCreatesPerSecond"` // of the same objects, a record and a Job, one pair counted as one
	JobsOnly  float64 `json:"directJobsPerSecond"`    // of the Job alone
	List      figures `json:"list"`                   // of all jobs in one answer, by one who asks again and again
	Crowd     figures `json:"listByFour"`
	Resident  int     `json:"residentMiB"`
}

// TestJobs measures submissions beside direct creates at the Kubernetes API, and lists of all jobs with the first line of their diagnosis.
// There are no controllers, so every job waits, and says why.
func TestJobs(t *testing.T) {
	if testing.Short() {
		t.Skip("a real API server takes seconds")
	}
	api := kubetest.Run(t)
	bed := &testbed{t: t, config: api.Config, program: build(t), kubeconfig: writeKubeconfig(t, api.Config)}
	bed.seed(0, 3, 5)
	server := bed.start()
	bed.token = signIn(t, server, "admin", adminPassword)
	server.token = bed.token
	admin := connect(t, server, bed.token)
	if err := admin.SetGroups(t.Context(), "admin", []pai.GroupName{"admingroup", "default", groupName(0)}); err != nil {
		t.Fatal(err)
	}
	r := jobResult{Jobs: *jobs}
	turns := 4
	for turn := range turns {
		from, to := *jobs*turn/turns, *jobs*(turn+1)/turns
		r.Submitted += rate(to-from, func() { bed.submit(admin, from, to) }) / float64(turns)
		some := max((to-from)/4, 1)
		r.Objects += rate(some, func() { bed.create(turn, some, true) }) / float64(turns)
		r.JobsOnly += rate(some, func() { bed.create(turn, some, false) }) / float64(turns)
	}
	const path = "/api/v2/jobs?limit=50000"
	bed.listed(server, path)
	r.List, r.Crowd = ask(t, server.target(path), 1, 5**turn), ask(t, server.target(path), 4, 5**turn)
	r.Resident = server.peak(t) >> 20
	r.print(t)
}

// rate is how many things a second were done.
func rate(n int, do func()) float64 {
	began := time.Now()
	do()
	return float64(n) / time.Since(began).Seconds()
}

func (b *testbed) submit(c *client.Client, from, to int) {
	b.each(from, to, func(ctx context.Context, i int) error {
		_, _, err := c.SubmitJob(ctx, fmt.Appendf(nil, `protocolVersion: 2
name: job-%06d
type: job
prerequisites: [{name: i, type: dockerimage, uri: "registry.example/torch:2"}]
taskRoles:
  worker: {instances: 2, dockerImage: i, resourcePerInstance: {cpu: 4, memoryMB: 8192, gpu: 1}, commands: [python train.py]}
extras: {storages: [{name: %s}, {name: %s}]}
`, i, storageName(0), storageName(1)))
		return err
	})
}

// create makes what submissions make, without a server between: the first Job that there is, and its record, under other names.
func (b *testbed) create(turn, n int, records bool) {
	b.t.Helper()
	config := rest.CopyConfig(b.config)
	config.QPS, config.Burst = 5000, 5000
	k, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.t.Fatal(err)
	}
	found, err := k.BatchV1().Jobs("default").List(b.t.Context(), metav1.ListOptions{LabelSelector: "pai.storage/job", Limit: 1})
	if err != nil || len(found.Items) == 0 {
		b.t.Fatalf("no job to copy: %v", err)
	}
	original := found.Items[0]
	b.each(0, n, func(ctx context.Context, i int) error {
		name := fmt.Sprintf("direct-%d-%06d-%t", turn, i, records)
		if records {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: original.Annotations}, Data: map[string][]byte{"job.yaml": make([]byte, 400)}}
			if _, err := k.CoreV1().Secrets("default").Create(ctx, s, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: original.Annotations}, Spec: *original.Spec.DeepCopy()}
		job.Spec.Selector, job.Spec.Template.Labels = nil, nil
		_, err := k.BatchV1().Jobs("default").Create(ctx, job, metav1.CreateOptions{})
		return err
	})
}

// listed waits until the list has every job, each with a reason why it waits, and asserts that.
func (b *testbed) listed(p *program, path string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		resp := get(b.t, p.url+path, b.token)
		var list []struct {
			Name    string
			Finding *struct{ Code string }
		}
		err := json.NewDecoder(resp.Body).Decode(&list)
		resp.Body.Close()
		explained := 0
		for _, j := range list {
			if j.Finding != nil && j.Finding.Code == "JOB-209" {
				explained++
			}
		}
		if err == nil && len(list) == *jobs && explained == *jobs {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%d of %d jobs are listed, %d with the reason why they wait: %v", len(list), *jobs, explained, err)
		}
	}
}

func (r jobResult) print(t *testing.T) {
	t.Helper()
	if printedJSON(t, r) {
		return
	}
	fmt.Printf("\n%d jobs: %.0f submissions/s; direct creates of the same objects %.0f/s (%.0f %%), of Jobs alone %.0f/s (%.0f %%)\n", r.Jobs,
		r.Submitted, r.Objects, 100*r.Submitted/r.Objects, r.JobsOnly, 100*r.Submitted/r.JobsOnly)
	fmt.Printf("all of them in one list of %.1f MiB with the first line of each diagnosis: median %.1f ms, p99 %.1f ms; four at once: %.1f, %.1f ms; at most %d MiB resident\n",
		float64(r.List.bytes)/(1<<20), r.List.P50*1e3, r.List.P99*1e3, r.Crowd.P50*1e3, r.Crowd.P99*1e3, r.Resident)
}
