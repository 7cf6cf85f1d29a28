package fileaccess

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Node is a machine of the cluster, ready or not.
type Node struct {
	Name      string
	Addresses []netip.Addr // its internal ones, of both families, sorted
}

// WatchNodes tells changed which nodes there are, sorted by name, until ctx ends.
func WatchNodes(ctx context.Context, client kubernetes.Interface, log *slog.Logger, changed func([]Node)) error {
	informer := coreinformers.NewNodeInformer(client, 0, cache.Indexers{})
	log, told := logger(log), map[string]bool{}
	refuse := func(node, address string) { // once: nodes report again and again
		if !told[node+" "+address] {
			told[node+" "+address] = true
			log.Warn("an address of a node is not usable and is ignored", "node", node, "address", address)
		}
	}
	return watch(ctx, informer, slimNode, func(objects []any) []Node { return nodesOf(objects, refuse) }, changed)
}

// slimNode keeps the name and the addresses: nodes report often, and much.
func slimNode(obj any) (any, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion},
		Status:     corev1.NodeStatus{Addresses: n.Status.Addresses},
	}, nil
}

func nodesOf(objects []any, refuse func(node, address string)) []Node {
	out := make([]Node, 0, len(objects))
	for _, obj := range objects {
		n, ok := obj.(*corev1.Node)
		if !ok {
			continue
		}
		node := Node{Name: n.Name}
		for _, a := range n.Status.Addresses {
			if a.Type != corev1.NodeInternalIP {
				continue
			}
			address, err := netip.ParseAddr(a.Address)
			if err != nil || !usable(address) {
				refuse(n.Name, a.Address)
				continue
			}
			node.Addresses = append(node.Addresses, address.Unmap())
		}
		slices.SortFunc(node.Addresses, netip.Addr.Compare)
		node.Addresses = slices.Compact(node.Addresses)
		out = append(out, node)
	}
	slices.SortFunc(out, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// usable tells whether an address is one that a node can have on a network.
func usable(a netip.Addr) bool {
	return a.Zone() == "" && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}
