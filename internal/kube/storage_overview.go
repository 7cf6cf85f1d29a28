package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

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
	for _, j := range c.jobs.all() {
		if j.state == pai.JobSucceeded || j.state == pai.JobFailed {
			continue
		}
		for _, name := range j.claims {
			if !slices.Contains(out[name], j.id) { // several task roles of one job
				out[name] = append(out[name], j.id)
			}
		}
	}
	for _, ids := range out {
		slices.SortFunc(ids, func(a, b pai.JobID) int { return cmp.Compare(a.String(), b.String()) })
	}
	return out
}

// unboundReason says why a storage cannot be used, "" when it can.
func (c *Cluster) unboundReason(cl claim) string {
	const notYet = "no volume is bound to its claim yet: "
	switch cl.state {
	case string(corev1.ClaimBound):
		return ""
	case terminating:
		return "it is being removed, and is gone when nothing runs any more that mounts it"
	case string(corev1.ClaimLost):
		return fmt.Sprintf("its volume %s is gone", cl.volume)
	}
	if cl.volume != "" {
		return notYet + c.namedVolumeReason(cl)
	}
	return notYet + c.noMatchReason(cl)
}

// namedVolumeReason is for a claim that names its volume.
func (c *Cluster) namedVolumeReason(cl claim) string {
	v, ok := c.volumes.get(cl.volume)
	switch {
	case !ok:
		return fmt.Sprintf("there is no volume %s, which it names", cl.volume)
	case v.owner != nil && !c.owns(cl, v):
		return fmt.Sprintf("volume %s, which it names, belongs to the claim %s/%s", v.name, v.owner.Namespace, v.owner.Name)
	case v.state == string(corev1.VolumeReleased):
		return releasedText(v)
	}
	if fault := cl.wants.mismatch(v); fault != "" {
		return fmt.Sprintf("volume %s, which it names, %s", v.name, fault)
	}
	return "Kubernetes is about to bind it"
}

// owns tells whether a volume belongs to the claim, or is reserved for it.
func (c *Cluster) owns(cl claim, v volume) bool {
	return v.owner.Namespace == c.namespace && v.owner.Name == string(cl.name) && (v.owner.UID == "" || v.owner.UID == cl.uid)
}

func releasedText(v volume) string {
	return fmt.Sprintf("volume %s was released by the claim %s/%s and is kept from others; to use it again: kubectl patch pv %s --type json -p '%s'",
		v.name, v.owner.Namespace, v.owner.Name, v.name, `[{"op":"remove","path":"/spec/claimRef"}]`)
}

// noMatchReason compares a claim with every volume, and says what the one that comes closest lacks.
func (c *Cluster) noMatchReason(cl claim) string {
	volumes := c.volumes.all()
	selected := slices.DeleteFunc(slices.Clone(volumes), func(v volume) bool { return !cl.wants.selector.Matches(v.labels) })
	switch {
	case len(volumes) == 0 && cl.wants.class == "":
		return "there is no volume"
	case len(selected) == 0 && !cl.wants.selector.Empty():
		return fmt.Sprintf("no volume has the labels that it selects: %s", cl.wants.selector)
	}
	var closest string
	for _, v := range selected {
		switch fault := cl.wants.mismatch(v); {
		case fault != "":
			closest = cmp.Or(closest, fmt.Sprintf("volume %s %s", v.name, fault))
		case v.owner != nil && v.state == string(corev1.VolumeReleased):
			return releasedText(v)
		case v.owner != nil && !c.owns(cl, v):
			closest = fmt.Sprintf("volume %s fits, and belongs to the claim %s/%s", v.name, v.owner.Namespace, v.owner.Name)
		default:
			return "Kubernetes is about to bind it"
		}
	}
	switch {
	case len(selected) > 1 && cl.wants.selector.Empty():
		return fmt.Sprintf("none of %d volumes fits; it asks for %s, %s and storage class %q", len(selected), cl.wants.size.String(), cl.wants.modes, cl.wants.class)
	case closest == "":
		return fmt.Sprintf("it waits for a volume of storage class %q", cl.wants.class)
	}
	return closest
}

// mismatch says what a volume lacks, "" when nothing.
func (w wanted) mismatch(v volume) string {
	if w.class != v.class {
		return fmt.Sprintf("has storage class %q, and the claim asks for %q", v.class, w.class)
	}
	if v.size.Cmp(w.size) < 0 {
		return fmt.Sprintf("has %s, and the claim asks for %s", v.size.String(), w.size.String())
	}
	for _, mode := range w.modes {
		if !slices.Contains(v.modes, mode) {
			return fmt.Sprintf("has access modes %s, and the claim asks for %s", v.modes, mode)
		}
	}
	return ""
}
