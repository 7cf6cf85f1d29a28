package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// publisher writes a node's report and its labels: soon after something changed, else every few minutes.
type publisher struct {
	client kubernetes.Interface
	node   string
	log    *slog.Logger
	report func() storagecheck.Report
	random func() float64

	every    time.Duration // heartbeat
	debounce time.Duration // after a change: others may follow
	least    time.Duration // between two reports

	wake  chan struct{}
	owner metav1.OwnerReference

	mu  sync.Mutex
	now publishing
}

// publishing is how the reports get on.
type publishing struct {
	last            time.Time // of the last report that was written
	written, failed int
	fault           error // why the newest one could not be written
}

func newPublisher(client kubernetes.Interface, node string, log *slog.Logger, report func() storagecheck.Report) *publisher {
	return &publisher{client: client, node: node, log: log, report: report, random: func() float64 { return 0.5 },
		every: 5 * time.Minute, debounce: time.Second, least: 5 * time.Second, wake: make(chan struct{}, 1)}
}

// touch says that something may have changed.
func (p *publisher) touch() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// earlier is the report that an agent before this one wrote; one of an unknown machine, without results, when it cannot be read.
func (p *publisher) earlier(ctx context.Context) storagecheck.Report {
	nothing := storagecheck.Facts{Helpers: map[string]bool{}, Modules: map[string]string{}, Flex: []string{}, CSI: []string{}, Unknown: true}
	none := storagecheck.Report{Facts: nothing}
	m, err := p.client.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Get(ctx, p.node, metav1.GetOptions{})
	if err != nil {
		return none
	}
	var r storagecheck.Report
	if json.Unmarshal([]byte(m.Data[storagecheck.ReportKey]), &r) != nil {
		return none
	}
	return r
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	said := ""           // the last report that was written, without what changes all the time
	var beat time.Time   // when the next report is due, whatever it says
	for faults := 0; ; { // in a row
		report := p.report()
		if now := essence(report); now != said || !time.Now().Before(beat) {
			err := p.publish(ctx, report)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				p.log.Warn("report", "error", err.Error())
				beat = time.Now().Add(p.jitter(min(time.Second<<min(faults, 6), time.Minute)))
				said = ""
				faults++
			default:
				beat = time.Now().Add(p.jitter(p.every))
				said = now
				faults = 0
			}
		}
		if !p.pause(ctx, time.Until(beat), faults > 0) {
			return
		}
	}
}

// pause waits for a change, or for the time. After a change it goes on waiting for what follows, and until the last report is old enough.
func (p *publisher) pause(ctx context.Context, wait time.Duration, deaf bool) (goOn bool) {
	wake := p.wake
	if deaf {
		wake = nil // Kubernetes does not take reports: changes do not hurry it
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-wake:
	}
	timer.Reset(max(p.debounce, p.least-p.age()))
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	select { // what came meanwhile is in the next report
	case <-p.wake:
	default:
	}
	return true
}

// age of the last report.
func (p *publisher) age() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.now.last)
}

func (p *publisher) state() publishing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *publisher) jitter(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(p.random()*float64(d*2/5))
}

// publish writes labels and report. Jobs go by the labels, so these come first.
func (p *publisher) publish(ctx context.Context, r storagecheck.Report) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	err := p.label(ctx, r.Facts)
	if err == nil {
		err = p.write(ctx, r)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.fault = err; err != nil {
		p.now.failed++
		return err
	}
	p.now.written++
	p.now.last = time.Now()
	return nil
}

// label gives this node the labels that follow from the facts.
func (p *publisher) label(ctx context.Context, f storagecheck.Facts) error {
	node, err := p.client.CoreV1().Nodes().Get(ctx, p.node, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("read node %s: %w", p.node, err)
	}
	p.owner = metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
	if f.Unknown {
		return nil // the labels of before are better than none
	}
	patch := labelPatch(node.Labels, node.Annotations, canMount(f))
	if patch == nil {
		return nil
	}
	p.log.Info("labels", "patch", string(patch))
	if _, err := p.client.CoreV1().Nodes().Patch(ctx, p.node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "node-agent"}); err != nil {
		return fmt.Errorf("label node %s: %w", p.node, err)
	}
	return nil
}

// write writes the report, without reading what is there: nobody else writes it. It goes with its node.
func (p *publisher) write(ctx context.Context, r storagecheck.Report) error {
	text, err := fit(r, mostReport)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: p.node, Namespace: storagecheck.ReportNamespace,
			Labels: map[string]string{"app.kubernetes.io/managed-by": "node-agent"}, OwnerReferences: []metav1.OwnerReference{p.owner}},
		Data: map[string]string{storagecheck.ReportKey: string(text)},
	}
	maps := p.client.CoreV1().ConfigMaps(storagecheck.ReportNamespace)
	_, err = maps.Update(ctx, m, metav1.UpdateOptions{FieldManager: "node-agent"})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, m, metav1.CreateOptions{FieldManager: "node-agent"})
	}
	if err != nil {
		return fmt.Errorf("write report %s: %w", p.node, err)
	}
	return nil
}

// numbers in messages (ports, process ids, random names) change from one try to the next.
var numbers = regexp.MustCompile(`[0-9a-fA-F]*[0-9][0-9a-fA-F]*`)

// essence is a report without what changes all the time: two reports with the same one say the same.
func essence(r storagecheck.Report) string {
	r.Time = time.Time{}
	results := make(map[string]storagecheck.Result, len(r.Results))
	for name, result := range r.Results {
		result.Time, result.Latency, result.Free, result.Size = time.Time{}, 0, 0, 0
		result.Message = numbers.ReplaceAllString(result.Message, "#")
		results[name] = result
	}
	r.Results = results
	r.Mounts = slices.Clone(r.Mounts)
	for i := range r.Mounts {
		m := &r.Mounts[i]
		if m.Alive {
			m.Pending, m.Bytes, m.Files = 0, 0, nil
		}
		m.Fault = numbers.ReplaceAllString(m.Fault, "#")
	}
	text, err := json.Marshal(r)
	if err != nil {
		return ""
	}
	return string(text)
}

// board is what the agent knows of its machine.
type board struct {
	mu     sync.Mutex
	facts  storagecheck.Facts
	mounts []mount.Served
	faults map[string]string // by what was tried
}

func (b *board) setFacts(f storagecheck.Facts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.facts = f
}

func (b *board) getFacts() storagecheck.Facts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.facts
}

func (b *board) setMounts(m []mount.Served) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mounts = m
}

func (b *board) getMounts() []mount.Served {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mounts
}

// fault keeps what went wrong with something that is tried again and again, and says whether that is news. nil: it went well.
func (b *board) fault(what string, err error) (news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.faults[what]
	if err == nil {
		delete(b.faults, what)
		return was != ""
	}
	if b.faults == nil {
		b.faults = map[string]string{}
	}
	b.faults[what] = err.Error()
	return was != err.Error()
}

func (b *board) getFaults() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, what := range slices.Sorted(maps.Keys(b.faults)) {
		list = append(list, b.faults[what])
	}
	return list
}
