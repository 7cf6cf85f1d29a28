package rest

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// resourcesBody says each amount under both of its names, as clients of the original read either.
type resourcesBody struct {
	CPU    int64 `json:"cpu" doc:"Cores"`
	VCores int64 `json:"vCores" doc:"The same as cpu"`
	Memory int64 `json:"memory" doc:"MB"`
	GPU    int64 `json:"gpu"`
	GPUs   int64 `json:"GPUs" doc:"The same as gpu"`
}

func resourcesOf(q pai.Quantity) resourcesBody {
	return resourcesBody{CPU: q.CPU, VCores: q.CPU, Memory: q.MemoryMB, GPU: q.GPU, GPUs: q.GPU}
}

type virtualClusterBody struct {
	Capacity            float64       `json:"capacity" doc:"Percentage of the whole cluster that it can use"`
	UsedCapacity        float64       `json:"usedCapacity" doc:"Percentage of the whole cluster that it uses"`
	MaxCapacity         float64       `json:"maxCapacity"`
	Dedicated           bool          `json:"dedicated"`
	ResourcesUsed       resourcesBody `json:"resourcesUsed"`
	ResourcesGuaranteed resourcesBody `json:"resourcesGuaranteed" doc:"Used and free"`
	ResourcesTotal      resourcesBody `json:"resourcesTotal" doc:"Guaranteed, and what is on workers that are not ready"`
}

func virtualClusterOf(vc pai.VirtualCluster) virtualClusterBody {
	return virtualClusterBody{
		Capacity: vc.Capacity, UsedCapacity: vc.UsedCapacity, MaxCapacity: vc.Capacity,
		ResourcesUsed: resourcesOf(vc.Used), ResourcesGuaranteed: resourcesOf(vc.Guaranteed), ResourcesTotal: resourcesOf(vc.Total),
	}
}

type virtualClustersOutput struct{ Body map[string]virtualClusterBody }

type virtualClusterInput struct {
	VC string `path:"vc"`
}

type virtualClusterOutput struct{ Body virtualClusterBody }

type podsInput struct {
	Namespace string `query:"namespace" doc:"Pods of this namespace only"`
}

type rawOutput struct {
	Body json.RawMessage `doc:"As the Kubernetes API has it"`
}

func (s *Server) clusterOperations() {
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "listVirtualClusters", Method: http.MethodGet, Path: prefix + "/virtual-clusters", Tags: []string{"virtual cluster"},
		Summary: "List the virtual clusters.",
	}, s.listVirtualClusters)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getVirtualCluster", Method: http.MethodGet, Path: prefix + "/virtual-clusters/{vc}", Tags: []string{"virtual cluster"},
		Summary: "Get a virtual cluster.",
	}, func(ctx context.Context, in *virtualClusterInput) (*virtualClusterOutput, error) {
		vc, err := s.services.VirtualClusters.VirtualCluster(ctx, in.VC)
		return &virtualClusterOutput{virtualClusterOf(vc)}, err
	})
	register(s, pai.Administrator, huma.Operation{
		OperationID: "getK8sNodes", Method: http.MethodGet, Path: prefix + "/kubernetes/nodes", Tags: []string{"kubernetes"},
		Summary: "List the nodes as Kubernetes has them. Administrators only.",
	}, func(ctx context.Context, _ *struct{}) (*rawOutput, error) {
		list, err := s.services.Kubernetes.Nodes(ctx)
		return &rawOutput{list}, err
	})
	register(s, pai.Administrator, huma.Operation{
		OperationID: "getK8sPods", Method: http.MethodGet, Path: prefix + "/kubernetes/pods", Tags: []string{"kubernetes"},
		Summary: "List the pods as Kubernetes has them, without what may be a secret. Administrators only.",
	}, func(ctx context.Context, in *podsInput) (*rawOutput, error) {
		list, err := s.services.Kubernetes.Pods(ctx, in.Namespace)
		return &rawOutput{list}, err
	})
}

func (s *Server) listVirtualClusters(ctx context.Context, _ *struct{}) (*virtualClustersOutput, error) {
	list, err := s.services.VirtualClusters.VirtualClusters(ctx)
	if err != nil {
		return nil, err
	}
	out := &virtualClustersOutput{Body: map[string]virtualClusterBody{}}
	for _, vc := range list {
		out.Body[vc.Name] = virtualClusterOf(vc)
	}
	return out, nil
}
