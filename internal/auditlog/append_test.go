package auditlog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// TestAppend: no ConfigMap has more than it may, however much is done at once, and a clock that was ahead does not spread entries over many.
func TestAppend(t *testing.T) {
	client := kubefake.New()
	entry := func(at time.Time, bytes int) pai.AuditEntry {
		return pai.AuditEntry{ID: auditlog.ID(at), Time: at, Action: pai.AuditChange, Kind: "test", Name: strings.Repeat("x", bytes)}
	}
	chunks := func() []corev1.ConfigMap {
		t.Helper()
		list, err := client.CoreV1().ConfigMaps("pai-system").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return list.Items
	}
	add := func(entries ...pai.AuditEntry) {
		t.Helper()
		if err := auditlog.Append(t.Context(), client, "pai-system", entries...); err != nil {
			t.Fatal(err)
		}
	}
	add()
	if n := len(chunks()); n != 0 {
		t.Errorf("nothing was done, and there are %d ConfigMaps", n)
	}
	now := time.Now()
	add(slices.Repeat([]pai.AuditEntry{entry(now, 20<<10)}, 10)...)
	first, total := chunks(), 0
	for _, m := range first {
		if len(m.Data[auditlog.Field]) > auditlog.ChunkBytes {
			t.Errorf("%s has %d bytes", m.Name, len(m.Data[auditlog.Field]))
		}
		total += len(auditlog.Entries(m.Data[auditlog.Field]))
	}
	if total != 10 || len(first) != 4 {
		t.Errorf("%d entries in %d ConfigMaps, want 10 in 4", total, len(first))
	}

	ahead := first[0].DeepCopy()
	ahead.Name, ahead.ResourceVersion, ahead.UID = auditlog.Name(now.Add(24*time.Hour)), "", ""
	ahead.Data[auditlog.Field] = strings.Repeat(fmt.Sprintf("{%q: 1}\n", "id"), auditlog.ChunkBytes/10)
	if _, err := client.CoreV1().ConfigMaps("pai-system").Create(t.Context(), ahead, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		add(entry(time.Now(), 100))
	}
	if n := len(chunks()); n != len(first)+1 {
		t.Errorf("after 20 small entries there are %d ConfigMaps, want %d", n, len(first)+1)
	}
}
