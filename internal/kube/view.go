package kube

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// view keeps what parse makes of each object of an informer, so that reads neither ask Kubernetes nor parse anything.
type view[T any] struct {
	what  string // for the log
	parse func(obj any) (T, error)
	group func(T) string           // nil when the view is not asked by group
	only  func(metav1.Object) bool // nil: the view takes every object
	wide  bool                     // it has objects of several namespaces: an item's name has the namespace in it
	// notify is told of each object that comes, goes, or is another to those who read the view, before anybody who waits for that goes on.
	// It is called under the view's lock, so it may ask other views and not this one; nil: nobody wants to know.
	notify func(T)
	log    *slog.Logger

	mu      sync.RWMutex
	items   map[string]item[T]
	order   []string                   // the names of items, sorted; nil when it has to be made anew
	groups  map[string]map[string]bool // group -> names
	changed chan struct{}              // closed at the next change

	generation atomic.Uint64 // grows with each change
}

type item[T any] struct {
	value   T
	ok      bool // parse took it
	version string
}

func newView[T any](what string, log *slog.Logger, parse func(any) (T, error)) *view[T] {
	return &view[T]{what: what, parse: parse, log: log,
		items: map[string]item[T]{}, groups: map[string]map[string]bool{}, changed: make(chan struct{})}
}

// follow feeds the view from an informer and returns what tells whether the first list has arrived.
func (v *view[T]) follow(informer cache.SharedIndexInformer) (cache.InformerSynced, error) {
	var handler cache.ResourceEventHandler = cache.ResourceEventHandlerFuncs{
		AddFunc:    v.put,
		UpdateFunc: func(_, obj any) { v.put(obj) },
		DeleteFunc: v.drop,
	}
	if v.only != nil {
		handler = cache.FilteringResourceEventHandler{FilterFunc: v.takes, Handler: handler}
	}
	registration, err := informer.AddEventHandler(handler)
	if err != nil {
		return nil, err
	}
	return registration.HasSynced, nil
}

// takes tells whether an object is for the view.
func (v *view[T]) takes(obj any) bool {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	meta, ok := obj.(metav1.Object)
	return ok && v.only(meta)
}

func (v *view[T]) put(obj any) {
	meta := obj.(metav1.Object)
	value, err := v.parse(obj)
	if err != nil {
		v.log.Warn("object is not usable and is ignored", "kind", v.what, "namespace", meta.GetNamespace(), "name", meta.GetName(), "cause", err.Error())
	}
	it := item[T]{value: value, ok: err == nil, version: meta.GetResourceVersion()}
	name := v.name(meta)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ungroup(name)
	old, known := v.items[name]
	if !known {
		v.order = nil
	}
	v.items[name] = it
	if v.group != nil && it.ok {
		group := v.group(it.value)
		if v.groups[group] == nil {
			v.groups[group] = map[string]bool{}
		}
		v.groups[group][name] = true
	}
	if v.notify != nil && it.ok && !(old.ok && reflect.DeepEqual(old.value, value)) {
		v.notify(value)
	}
	v.announce()
}

// name is what the view knows an object by.
func (v *view[T]) name(meta metav1.Object) string {
	if v.wide {
		return meta.GetNamespace() + "/" + meta.GetName()
	}
	return meta.GetName()
}

func (v *view[T]) drop(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	meta, ok := obj.(metav1.Object)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	name := v.name(meta)
	old := v.items[name]
	v.ungroup(name)
	delete(v.items, name)
	v.order = nil
	if v.notify != nil && old.ok {
		v.notify(old.value)
	}
	v.announce()
}

// ungroup takes the item out of its group. The caller holds the lock.
func (v *view[T]) ungroup(name string) {
	old, ok := v.items[name]
	if !ok || v.group == nil || !old.ok {
		return
	}
	group := v.group(old.value)
	delete(v.groups[group], name)
	if len(v.groups[group]) == 0 {
		delete(v.groups, group)
	}
}

// announce wakes whoever waits for a change. The caller holds the lock.
func (v *view[T]) announce() {
	v.generation.Add(1)
	close(v.changed)
	v.changed = make(chan struct{})
}

func (v *view[T]) get(name string) (T, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	it := v.items[name]
	return it.value, it.ok
}

// all returns every item, sorted by object name.
func (v *view[T]) all() []T {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.order == nil {
		v.order = slices.Sorted(maps.Keys(v.items))
	}
	out := make([]T, 0, len(v.order))
	for _, name := range v.order {
		if it := v.items[name]; it.ok {
			out = append(out, it.value)
		}
	}
	return out
}

// names are the objects' names, in no order.
func (v *view[T]) names() []string {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Collect(maps.Keys(v.items))
}

// count is how many items there are.
func (v *view[T]) count() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.items)
}

// in returns the items of a group, sorted by object name.
func (v *view[T]) in(group string) []T {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var out []T
	for _, name := range slices.Sorted(maps.Keys(v.groups[group])) {
		out = append(out, v.items[name].value)
	}
	return out
}

// next returns a channel that is closed at the next change.
func (v *view[T]) next() <-chan struct{} {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.changed
}

// await waits until the view has seen the given version of an object, so that whoever wrote it reads what was written. It gives up
// with the context, and it ends when the object is seen no more after it was: someone else deleted it.
func (v *view[T]) await(ctx context.Context, name, version string) {
	seen := false
	for {
		v.mu.RLock()
		it, exists := v.items[name]
		changed := v.changed
		v.mu.RUnlock()
		if (exists && notOlder(it.version, version)) || (seen && !exists) {
			return
		}
		seen = seen || exists
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// awaitGone waits until the view has seen that the given version of an object is no more. It gives up with the context.
func (v *view[T]) awaitGone(ctx context.Context, name, version string) {
	for {
		v.mu.RLock()
		it, exists := v.items[name]
		changed := v.changed
		v.mu.RUnlock()
		if !exists || (it.version != version && notOlder(it.version, version)) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// awaitChange waits until an object is gone or as wished. It gives up with the context.
func (v *view[T]) awaitChange(ctx context.Context, name string, as func(T) bool) {
	for {
		v.mu.RLock()
		it, exists := v.items[name]
		changed := v.changed
		v.mu.RUnlock()
		if !exists || (it.ok && as(it.value)) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// notOlder compares resource versions, which are numbers that grow.
func notOlder(have, want string) bool {
	h, err1 := strconv.ParseUint(have, 10, 64)
	w, err2 := strconv.ParseUint(want, 10, 64)
	if err1 != nil || err2 != nil {
		return have == want
	}
	return h >= w
}
