package auth

import (
	"context"
	"encoding/json"
	"iter"

	pai "github.com/pai-storage/pai-storage"
)

func (g *guard) VirtualClusters(ctx context.Context) ([]pai.VirtualCluster, error) {
	if err := pai.SignedIn.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.VirtualClusters.VirtualClusters(ctx)
}

func (g *guard) VirtualCluster(ctx context.Context, name string) (pai.VirtualCluster, error) {
	if err := pai.SignedIn.Check(ctx); err != nil {
		return pai.VirtualCluster{}, err
	}
	return g.next.VirtualClusters.VirtualCluster(ctx, name)
}

func (g *guard) Nodes(ctx context.Context) (json.RawMessage, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Kubernetes.Nodes(ctx)
}

func (g *guard) Pods(ctx context.Context, namespace string) (json.RawMessage, error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Kubernetes.Pods(ctx, namespace)
}

func (g *guard) Readiness(ctx context.Context, q pai.ReadinessQuery) (iter.Seq[pai.NodeReadiness], error) {
	if err := pai.Administrator.Check(ctx); err != nil {
		return nil, err
	}
	return g.next.Readiness.Readiness(ctx, q)
}

// StorageHealth is for whoever may see the storage.
func (g *guard) StorageHealth(ctx context.Context, name pai.StorageName) (pai.StorageHealth, error) {
	if _, err := g.Storage(ctx, name); err != nil {
		return pai.StorageHealth{}, err
	}
	return g.next.Readiness.StorageHealth(ctx, name)
}
