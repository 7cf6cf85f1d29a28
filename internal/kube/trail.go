package kube

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
	"github.com/pai-storage/pai-storage/internal/plural"
)

// The audit trail is kept in ConfigMaps of the system namespace, each with JSON lines. Every server appends to a ConfigMap of its own,
// so that servers never conflict; what waits while one write is under way goes into the next one together. When all of them are
// more than the trail may hold, the oldest go. What users do with their jobs has a trail of its own, so that nobody who submits many jobs makes the
// other one forget.
const (
	trailBytes  = 4 << 20
	trailChunks = 512
	trailQueue  = 1024
)

// chunk is what one ConfigMap holds.
type chunk struct {
	name    string
	trail   string
	uid     types.UID
	bytes   int
	entries []pai.AuditEntry // in the order of writing
}

func parseChunk(obj any) (chunk, error) {
	m, ok := obj.(*corev1.ConfigMap)
	if !ok {
		return chunk{}, fmt.Errorf("expected a ConfigMap, got %T", obj)
	}
	which, ours := m.Labels[auditlog.Label]
	if !ours {
		return chunk{}, fmt.Errorf("it has no label %s", auditlog.Label)
	}
	text := m.Data[auditlog.Field]
	return chunk{name: m.Name, trail: which, uid: m.UID, bytes: len(text), entries: auditlog.Entries(text)}, nil
}

// trail writes entries.
type trail struct {
	cluster *Cluster
	which   string // the value of the label
	queue   chan order
	current *corev1.ConfigMap // the ConfigMap that this server appends to; nil before the first entry
}

// order is a line to be kept, and where to tell how that went.
type order struct {
	line []byte
	done chan error
}

func newTrail(c *Cluster, which string) *trail {
	return &trail{cluster: c, which: which, queue: make(chan order, trailQueue)}
}

// keep hands an entry to the writer and waits for it.
func (t *trail) keep(ctx context.Context, e pai.AuditEntry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout) // the change is made: whoever hangs up does not undo it
	defer cancel()
	text, err := auditlog.Line(e)
	if err != nil {
		return err
	}
	o := order{line: text, done: make(chan error, 1)}
	select {
	case t.queue <- o:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-o.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run writes entries until ctx ends.
func (t *trail) run(ctx context.Context) {
	for {
		select {
		case first := <-t.queue:
			batch := t.waiting(first)
			err := t.write(ctx, batch)
			for _, o := range batch {
				o.done <- err
			}
		case <-ctx.Done():
			return
		}
	}
}

// waiting is the first order and those that wait behind it, about as many as fit into one ConfigMap.
func (t *trail) waiting(first order) []order {
	batch, size := []order{first}, len(first.line)
	for size < auditlog.ChunkBytes {
		select {
		case o := <-t.queue:
			batch, size = append(batch, o), size+len(o.line)
		default:
			return batch
		}
	}
	return batch
}

func (t *trail) write(ctx context.Context, batch []order) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var text bytes.Buffer
	for _, o := range batch {
		text.Write(o.line)
	}
	written, err := t.appendText(ctx, text.String())
	if err != nil {
		return fmt.Errorf("keep %s in the audit trail: %w", plural.Of(len(batch), "change"), err)
	}
	t.current = written
	t.cluster.chunks.await(ctx, written.Name, written.ResourceVersion)
	return nil
}

// appendText adds lines to the current ConfigMap, or to a new one: when there is none yet, when it is full, and when somebody else
// wrote or deleted it.
func (t *trail) appendText(ctx context.Context, text string) (*corev1.ConfigMap, error) {
	maps := t.cluster.client.CoreV1().ConfigMaps(t.cluster.system)
	if t.current != nil && len(t.current.Data[auditlog.Field])+len(text) <= auditlog.ChunkBytes {
		next := t.current.DeepCopy()
		next.Data[auditlog.Field] += text
		written, err := maps.Update(ctx, next, metav1.UpdateOptions{})
		if err == nil || (!apierrors.IsConflict(err) && !apierrors.IsNotFound(err)) {
			return written, err
		}
	}
	written, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: t.cluster.system, Name: auditlog.Name(t.cluster.now()), Labels: map[string]string{auditlog.Label: t.which},
		},
		Data: map[string]string{auditlog.Field: text},
	}, metav1.CreateOptions{})
	if err == nil {
		t.prune(ctx)
	}
	return written, err
}

// prune deletes the oldest ConfigMaps beyond what the trail may hold. Several servers may do so at once.
func (t *trail) prune(ctx context.Context) {
	// Sorted by name, which begins with the time.
	all := slices.DeleteFunc(t.cluster.chunks.all(), func(ch chunk) bool { return ch.trail != t.which })
	total := 0
	for _, ch := range all {
		total += ch.bytes
	}
	for len(all) > 0 && (total > trailBytes || len(all) > trailChunks) {
		oldest := all[0]
		err := t.cluster.client.CoreV1().ConfigMaps(t.cluster.system).Delete(ctx, oldest.name,
			metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &oldest.uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			t.cluster.log.WarnContext(ctx, "audit trail is not cut", "name", oldest.name, "cause", err.Error())
			return
		}
		total -= oldest.bytes
		all = slices.Delete(all, 0, 1)
	}
}
