// Package fileaccess says who may reach the files of the storage manager: the users with accounts at its SMB server, and the nodes whose
// addresses its NFS server lets in.
//
// Use it from the storage manager's wiring. Its rules:
//
//   - It reads what its service account may list and watch (deploy/storage-manager/rbac.yaml), and writes nothing.
//   - A callback gets the whole list: once after the first one has arrived, then after changes, at most twice in a second, and only when the
//     list differs from the one before. Calls of one watch never overlap.
//   - While Kubernetes does not answer there is no call: the last list stays true as far as anybody knows. There is none before the first
//     answer, either.
//   - What cannot be read is logged, without its values, and left out.
//
// Example:
//
//	go fileaccess.WatchAccounts(ctx, client, log, func(accounts []fileaccess.Account) { ... })
//	go fileaccess.WatchNodes(ctx, client, log, func(nodes []fileaccess.Node) { ... })
package fileaccess

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"k8s.io/client-go/tools/cache"
)

// pause is the least time between two calls of a callback.
const pause = 500 * time.Millisecond

// watch runs an informer until ctx ends, and tells changed what list makes of its objects. The error is a mistake in the program.
func watch[T any](ctx context.Context, informer cache.SharedIndexInformer, transform cache.TransformFunc, list func(objects []any) []T, changed func([]T)) error {
	if err := informer.SetTransform(transform); err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	dirty := make(chan struct{}, 1)
	touch := func() {
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { touch() },
		UpdateFunc: func(any, any) { touch() },
		DeleteFunc: func(any) { touch() },
	})
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); informer.RunWithContext(ctx) }()
	defer func() { <-ended }()
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	var last []T
	for first := true; ; first = false {
		if now := list(informer.GetStore().List()); first || !reflect.DeepEqual(now, last) {
			changed(now)
			last = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-dirty:
		}
	}
}

// logger is the given one, or the program's.
func logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.Default()
	}
	return log
}
