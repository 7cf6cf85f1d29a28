package pai

import (
	"context"
	"encoding/json"
)

// Quantity is an amount of what jobs use.
type Quantity struct {
	CPU      int64 // cores
	MemoryMB int64
	GPU      int64
}

// Plus adds two amounts.
func (q Quantity) Plus(o Quantity) Quantity {
	return Quantity{CPU: q.CPU + o.CPU, MemoryMB: q.MemoryMB + o.MemoryMB, GPU: q.GPU + o.GPU}
}

// VirtualCluster is a share of the cluster that jobs run in.
type VirtualCluster struct {
	Name         string
	Used         Quantity // by the tasks that run or are about to
	Guaranteed   Quantity // what the configuration says, as far as workers that are ready have it; all of it when the configuration says nothing
	Total        Quantity // Guaranteed, and what is on workers that are not ready
	Capacity     float64  // percentage of the whole cluster that it can use
	UsedCapacity float64  // percentage of the whole cluster that it uses
}

// VirtualClusterService tells which virtual clusters there are, and how full they are.
type VirtualClusterService interface {
	// VirtualClusters lists them, sorted by name: "default", those of the configuration, and those that a group grants.
	// UnauthorizedUserError when nobody is signed in.
	VirtualClusters(ctx context.Context) ([]VirtualCluster, error)

	// VirtualCluster finds one. NoVirtualClusterError when there is none of that name.
	VirtualCluster(ctx context.Context, name string) (VirtualCluster, error)
}

// KubernetesService shows the cluster below as Kubernetes describes it, without what may be a secret.
type KubernetesService interface {
	// Nodes is a Kubernetes NodeList in JSON. Administrators only: ForbiddenUserError for others.
	Nodes(ctx context.Context) (json.RawMessage, error)

	// Pods is a Kubernetes PodList in JSON, of one namespace or of all for "". Administrators only: ForbiddenUserError for others.
	Pods(ctx context.Context, namespace string) (json.RawMessage, error)
}
