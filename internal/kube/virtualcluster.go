package kube

import (
	"context"
	"maps"
	"slices"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// defaultVirtualCluster is always there.
const defaultVirtualCluster = "default"

// VirtualClusters lists them, sorted by name.
func (c *Cluster) VirtualClusters(context.Context) ([]pai.VirtualCluster, error) {
	used := c.usage()
	ready, all := c.capacity()
	names := maps.Clone(used)
	names[defaultVirtualCluster] = pai.Quantity{}
	maps.Copy(names, c.clusters)
	for _, g := range c.groups.all() {
		for _, name := range g.ACLs().VirtualClusters {
			names[name] = pai.Quantity{}
		}
	}
	out := make([]pai.VirtualCluster, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		vc := pai.VirtualCluster{Name: name, Used: used[name], Guaranteed: ready, Total: all}
		if share, limited := c.clusters[name]; limited {
			vc.Guaranteed, vc.Total = share, share
		}
		vc.Capacity, vc.UsedCapacity = percent(vc.Total, all), percent(vc.Used, all)
		out = append(out, vc)
	}
	return out, nil
}

// VirtualCluster finds one. NoVirtualClusterError.
func (c *Cluster) VirtualCluster(ctx context.Context, name string) (pai.VirtualCluster, error) {
	list, err := c.VirtualClusters(ctx)
	if err != nil {
		return pai.VirtualCluster{}, err
	}
	for _, vc := range list {
		if vc.Name == name {
			return vc, nil
		}
	}
	return pai.VirtualCluster{}, pai.Errorf(pai.NoVirtualClusterError, "Virtual cluster %s is not found.", name)
}

// usage is what the tasks that are not done ask for, by virtual cluster.
func (c *Cluster) usage() map[string]pai.Quantity {
	home := map[string]string{}
	for _, r := range c.records.all() {
		home[specs.Key(r.id)] = r.virtualCluster
	}
	used := map[string]pai.Quantity{}
	for _, p := range c.pods.all() {
		if name := home[p.key]; name != "" && p.node != "" && p.completed.IsZero() && (p.state == pai.JobWaiting || p.state == pai.JobRunning) {
			used[name] = used[name].Plus(p.requests)
		}
	}
	return used
}

// capacity is what the workers have: those that are ready, and all.
func (c *Cluster) capacity() (ready, all pai.Quantity) {
	for _, n := range c.nodes.all() {
		all = all.Plus(n.capacity)
		if n.ready {
			ready = ready.Plus(n.capacity)
		}
	}
	return ready, all
}

// percent is the share of the scarcest thing that the cluster has: GPUs, on a cluster without any cores.
func percent(part, whole pai.Quantity) float64 {
	switch {
	case whole.GPU > 0:
		return 100 * float64(part.GPU) / float64(whole.GPU)
	case whole.CPU > 0:
		return 100 * float64(part.CPU) / float64(whole.CPU)
	}
	return 0
}
