package kube

import (
	"cmp"
	"context"
	"slices"

	pai "github.com/pai-storage/pai-storage"
)

// AllStorages lists every storage with its state, sorted by name.
func (c *Cluster) AllStorages(context.Context) ([]pai.StorageOverview, error) {
	granted := map[pai.StorageName][]pai.GroupName{}
	for _, g := range c.groups.all() {
		for _, name := range g.ACLs().StorageConfigs {
			granted[name] = append(granted[name], g.Name)
		}
	}
	jobs := c.jobsByClaim()
	claims := c.claims.all()
	out := make([]pai.StorageOverview, 0, len(claims))
	for _, cl := range claims {
		o := pai.StorageOverview{Storage: c.storage(cl), State: cl.state, Size: cl.size.String(), Groups: granted[cl.name], Jobs: jobs[string(cl.name)],
			Exposed: cl.expose}
		if v, ok := c.volumes.get(cl.volume); ok && cl.volume != "" {
			o.VolumeState, o.Size = v.state, v.size.String()
		}
		out = append(out, o)
	}
	return out, nil
}

// jobsByClaim is the jobs that are not done, by the claims that they mount.
func (c *Cluster) jobsByClaim() map[string][]pai.JobID {
	out := map[string][]pai.JobID{}
	for _, j := range c.board.list() {
		if j.State.Done() {
			continue
		}
		for _, name := range j.Storages {
			out[string(name)] = append(out[string(name)], j.ID)
		}
	}
	for _, ids := range out {
		slices.SortFunc(ids, func(a, b pai.JobID) int { return cmp.Compare(a.String(), b.String()) })
	}
	return out
}
