package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// gather is how long changes of orders are waited for before they are acted upon together.
const gather = 200 * time.Millisecond

// watchOrders tells the orders that are for a node, all of them, whenever they change. While Kubernetes does not answer, the last ones count.
func watchOrders(ctx context.Context, client kubernetes.Interface, node string, log *slog.Logger, tell func([]order)) error {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(storagecheck.OrderNamespace))
	informer := factory.Core().V1().Secrets().Informer()
	if err := informer.SetTransform(keepOrder); err != nil {
		return fmt.Errorf("orders: %w", err)
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
		return fmt.Errorf("orders: %w", err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); informer.RunWithContext(ctx) }()
	defer func() { <-ended }()
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	for {
		tell(ordersFor(node, informer.GetStore().List(), log))
		select {
		case <-ctx.Done():
			return nil
		case <-dirty:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gather):
		}
	}
}

// keepOrder leaves of a Secret what is needed.
func keepOrder(object any) (any, error) {
	s, ok := object.(*corev1.Secret)
	if !ok {
		return object, nil
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, ResourceVersion: s.ResourceVersion},
		Data: map[string][]byte{storagecheck.OrderKey: s.Data[storagecheck.OrderKey]}}, nil
}

// ordersFor reads the orders of a node. One that cannot be read is a storage that cannot be checked; its content is never repeated.
func ordersFor(node string, secrets []any, log *slog.Logger) []order {
	var list []order
	for _, object := range secrets {
		s, ok := object.(*corev1.Secret)
		if !ok {
			continue
		}
		o := order{version: s.ResourceVersion}
		if err := json.Unmarshal(s.Data[storagecheck.OrderKey], &o.Order); err != nil || o.Storage != s.Name {
			log.Warn("an order cannot be read", "secret", s.Name)
			o.Order = storagecheck.Order{Storage: s.Name, Fault: "the order to check this storage cannot be read: the REST server and the node agents are of different versions"}
		}
		if len(o.Nodes) == 0 || slices.Contains(o.Nodes, node) {
			list = append(list, o)
		}
	}
	return list
}
