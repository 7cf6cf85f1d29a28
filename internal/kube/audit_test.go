package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktesting "k8s.io/client-go/testing"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
	"github.com/pai-storage/pai-storage/internal/kubefake"
)

// by is a context of a request by a user.
func by(t *testing.T, user pai.UserName) context.Context {
	ctx := pai.WithOrigin(t.Context(), pai.Origin{Address: "192.0.2.1", Request: "r-1"})
	return pai.WithCaller(ctx, pai.Caller{User: user, Admin: true})
}

func entries(t *testing.T, c *Cluster, q pai.AuditQuery) []pai.AuditEntry {
	t.Helper()
	page, err := c.Audit(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page.Entries
}

func TestAuditSaysWhatChanged(t *testing.T) {
	c := started(t)
	ctx := by(t, "admin")
	if _, err := c.CreateGroup(ctx, pai.Group{Name: "g", Description: "one", Extension: map[string]any{"kept": "as it is"}}); err != nil {
		t.Fatal(err)
	}
	two := "two"
	for range 2 { // the second time nothing changes
		if _, err := c.ChangeGroup(ctx, pai.GroupChange{Name: "g", Description: &two, Patch: true}); err != nil {
			t.Fatal(err)
		}
	}
	got := entries(t, c, pai.AuditQuery{Kind: "group", Name: "g"})
	if len(got) != 2 {
		t.Fatalf("got %d entries: %+v", len(got), got)
	}
	change, create := got[0], got[1]
	if change.Action != pai.AuditChange || string(change.Before) != `{"description":"one"}` || string(change.After) != `{"description":"two"}` {
		t.Errorf("the change: got %+v", change)
	}
	if create.Action != pai.AuditCreate || create.Before != nil || !strings.Contains(string(create.After), "as it is") {
		t.Errorf("the creation: got %+v", create)
	}
	for _, e := range got {
		if e.User != "admin" || e.Address != "192.0.2.1" || e.Request != "r-1" || e.Time.IsZero() {
			t.Errorf("who, when and from where: got %+v", e)
		}
	}
}

func TestAuditQueries(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c, err := New(kubefake.New(), Options{JobsNamespace: "default", Now: func() time.Time { now = now.Add(time.Second); return now }})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	for i := range 25 {
		c.record(by(t, pai.UserName(fmt.Sprintf("admin%d", i%2))), pai.AuditChange, "group", fmt.Sprintf("g%d", i), nil, map[string]any{"n": i})
	}
	if got := entries(t, c, pai.AuditQuery{User: "admin1"}); len(got) != 12 || got[0].Name != "g23" {
		t.Errorf("by user: got %d", len(got))
	}
	all := entries(t, c, pai.AuditQuery{})
	if got := entries(t, c, pai.AuditQuery{Since: all[4].Time, Until: all[1].Time}); len(got) != 3 || got[0].Name != all[2].Name {
		t.Errorf("by time: got %+v", got)
	}
	var names []string
	for q := (pai.AuditQuery{Limit: 10}); ; {
		page, err := c.Audit(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			names = append(names, e.Name)
		}
		if q.Before = page.Next; q.Before == "" {
			break
		}
	}
	if len(names) != 25 || names[0] != "g24" || names[24] != "g0" {
		t.Errorf("in pages: got %d, %v", len(names), names)
	}
	for _, q := range []pai.AuditQuery{{Limit: -1}, {Limit: 1001}, {Since: now, Until: now}} {
		if _, err := c.Audit(t.Context(), q); pai.CodeOf(err) != pai.InvalidParametersError {
			t.Errorf("%+v: got %v", q, err)
		}
	}
}

// TestAuditIsBounded fills the trail far beyond its size, in one server and beside another one.
func TestAuditIsBounded(t *testing.T) {
	client := kubefake.New()
	var servers []*Cluster
	for range 2 {
		c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		run(t, c)
		servers = append(servers, c)
	}
	const count = 1000
	long := strings.Repeat("x", 9<<10) // is cut
	var writers sync.WaitGroup
	for i, c := range servers {
		for n := range 50 {
			writers.Go(func() {
				for j := range count / 50 {
					value := map[string]any{"short": strings.Repeat("y", 3<<10), "long": long, "n": fmt.Sprint(i, n, j)}
					c.record(by(t, "admin"), pai.AuditCreate, "group", fmt.Sprintf("%d-%d-%d", i, n, j), nil, value)
				}
			})
		}
	}
	writers.Wait()
	list, err := client.CoreV1().ConfigMaps(SystemNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, m := range list.Items {
		if len(m.Data[auditlog.Field]) > 2*auditlog.ChunkBytes {
			t.Errorf("%s has %d bytes", m.Name, len(m.Data[auditlog.Field]))
		}
		total += len(m.Data[auditlog.Field])
	}
	if total > trailBytes+4*auditlog.ChunkBytes || total < trailBytes/2 {
		t.Errorf("the trail has %d bytes in %d ConfigMaps", total, len(list.Items))
	}
	latest := entries(t, servers[0], pai.AuditQuery{Limit: 1000})
	if len(latest) < 500 || len(latest) >= 2*count {
		t.Errorf("%d entries are left", len(latest))
	}
}

// TestJobsHaveATrailOfTheirOwn: who submits many jobs does not make the trail forget what became of groups.
func TestJobsHaveATrailOfTheirOwn(t *testing.T) {
	c := started(t)
	ctx := by(t, "alice")
	c.record(ctx, pai.AuditCreate, "group", "g", nil, nil)
	s := submission("alice", "j", "a")
	s.Mounts = nil
	if _, err := c.Submit(ctx, s); err != nil {
		t.Fatal(err)
	}
	got := entries(t, c, pai.AuditQuery{Kind: "job"})
	if len(got) != 1 || got[0].Action != pai.AuditCreate || got[0].Name != "alice~j" || got[0].User != "alice" || !strings.Contains(string(got[0].After), `"virtualCluster":"default"`) {
		t.Errorf("got %+v", got)
	}
	long := strings.Repeat("x", 3<<10)
	var writers sync.WaitGroup
	for n := range 50 {
		writers.Go(func() {
			for range 60 {
				c.record(ctx, pai.AuditChange, "job", fmt.Sprint(n), nil, map[string]any{"a": long, "b": long})
			}
		})
	}
	writers.Wait()
	if got := entries(t, c, pai.AuditQuery{Kind: "group"}); len(got) != 1 {
		t.Errorf("the group is forgotten: %+v", got)
	}
	if got := entries(t, c, pai.AuditQuery{Kind: "job", Limit: 1000}); len(got) < 300 || len(got) > 900 {
		t.Errorf("%d entries about jobs", len(got))
	}
}

// TestAuditDoesNotStopChanges: a change that cannot be recorded in the cluster stands, and the log says so.
func TestAuditDoesNotStopChanges(t *testing.T) {
	client := kubefake.New()
	client.PrependReactor("create", "configmaps", func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("no room") })
	var log lockedBuffer
	c, err := New(client, Options{JobsNamespace: "default", Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	if _, err := c.CreateGroup(by(t, "admin"), pai.Group{Name: "g"}); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "not kept in the cluster") || !strings.Contains(text, `"name":"g"`) {
		t.Errorf("the log says %s", text)
	}
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestAuditSurvivesForeignWrites: whoever changes or deletes the ConfigMap that a server appends to does not end the trail.
func TestAuditSurvivesForeignWrites(t *testing.T) {
	client := kubefake.New()
	c, err := New(client, Options{JobsNamespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c)
	maps := client.CoreV1().ConfigMaps(SystemNamespace)
	for i, meddle := range []func(corev1.ConfigMap) error{
		func(m corev1.ConfigMap) error { return maps.Delete(t.Context(), m.Name, metav1.DeleteOptions{}) },
		func(m corev1.ConfigMap) error {
			m.Data[auditlog.Field] = "not an entry"
			_, err := maps.Update(t.Context(), &m, metav1.UpdateOptions{})
			return err
		},
	} {
		c.record(by(t, "admin"), pai.AuditCreate, "group", "before", nil, nil)
		list, err := maps.List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			t.Fatal(len(list.Items), err)
		}
		if err := meddle(list.Items[len(list.Items)-1]); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("after-%d", i)
		c.record(by(t, "admin"), pai.AuditCreate, "group", name, nil, nil)
		if got := entries(t, c, pai.AuditQuery{Name: name}); len(got) != 1 {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}
