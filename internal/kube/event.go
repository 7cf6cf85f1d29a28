package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// event is what we keep of an Event.
type event struct {
	uid         string
	about       string // the uid of the object
	object      string
	kind        string // Normal or Warning
	reason      string
	message     string
	component   string
	host        string
	first, last time.Time
	count       int
}

func parseEvent(obj any) (event, error) {
	e, ok := obj.(*corev1.Event)
	if !ok {
		return event{}, fmt.Errorf("expected an Event, got %T", obj)
	}
	out := event{uid: string(e.UID), about: string(e.InvolvedObject.UID), object: e.InvolvedObject.Name, kind: e.Type, reason: e.Reason,
		message: e.Message, component: cmp.Or(e.Source.Component, e.ReportingController), host: e.Source.Host,
		first: e.FirstTimestamp.Time, last: e.LastTimestamp.Time, count: max(int(e.Count), 1)}
	if out.first.IsZero() {
		out.first = e.EventTime.Time
	}
	if s := e.Series; s != nil {
		out.last, out.count = s.LastObservedTime.Time, int(s.Count)
	}
	if out.last.IsZero() {
		out.last = out.first
	}
	return out, nil
}

func (e event) fact() doctor.Event {
	return doctor.Event{Reason: e.reason, Message: e.message, Component: e.component, Warning: e.kind == corev1.EventTypeWarning, Last: e.last}
}

// eventsAbout is what was said about an object.
func (c *Cluster) eventsAbout(uid string) []doctor.Event {
	var out []doctor.Event
	for _, e := range c.events.in(uid) {
		out = append(out, e.fact())
	}
	return out
}

// slimEvent drops what nobody here reads.
func slimEvent(obj any) (any, error) {
	if e, ok := obj.(*corev1.Event); ok {
		e.ManagedFields, e.Annotations = nil, nil
	}
	return obj, nil
}

// JobEvents is what Kubernetes said about the pods and the task roles of a job, the latest first. NoJobError.
func (c *Cluster) JobEvents(_ context.Context, id pai.JobID) ([]pai.JobEvent, error) {
	r, err := c.recordOf(id)
	if err != nil {
		return nil, err
	}
	key := specs.Key(id)
	out := []pai.JobEvent{}
	for _, rj := range c.jobs.in(key) {
		if rj.owner == r.uid {
			out = append(out, c.eventsOf(rj.uid, rj.role, -1)...)
		}
	}
	for _, p := range c.pods.in(key) {
		out = append(out, c.eventsOf(p.uid, p.role, p.index)...)
	}
	slices.SortStableFunc(out, func(a, b pai.JobEvent) int { return cmp.Or(b.Last.Compare(a.Last), strings.Compare(a.UID, b.UID)) })
	return out, nil
}

func (c *Cluster) eventsOf(uid, role string, index int) []pai.JobEvent {
	var out []pai.JobEvent
	for _, e := range c.events.in(uid) {
		j := pai.JobEvent{UID: e.uid, Object: e.object, Role: role, Task: index, Type: e.kind, Reason: e.reason,
			Message: doctor.Quote(e.message), First: e.first, Last: e.last, Count: e.count, Component: e.component, Host: e.host}
		if index >= 0 {
			j.PodUID = uid
		}
		out = append(out, j)
	}
	return out
}
