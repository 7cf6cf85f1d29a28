package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
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

// unboundReason says why a storage cannot be used, "" when it can.
func (c *Cluster) unboundReason(cl claim) string {
	fault := c.claimFault(cl)
	switch fault.Kind {
	case "", doctor.ClaimTerminating, doctor.ClaimLost:
		return fault.Text
	}
	text := "no volume is bound to its claim yet: " + fault.Text
	if fault.Fix != "" {
		text += "; " + fault.Fix
	}
	return text
}

// claimFault says why a claim is not bound; its kind is "" when it is.
func (c *Cluster) claimFault(cl claim) doctor.ClaimFault {
	switch cl.state {
	case string(corev1.ClaimBound):
		return doctor.ClaimFault{}
	case terminating:
		return doctor.ClaimFault{Kind: doctor.ClaimTerminating, Text: "it is being removed, and is gone when nothing runs any more that mounts it"}
	case string(corev1.ClaimLost):
		return doctor.ClaimFault{Kind: doctor.ClaimLost, Object: cl.volume, Text: fmt.Sprintf("its volume %s is gone", cl.volume)}
	}
	if cl.volume != "" {
		return c.namedVolumeFault(cl)
	}
	return c.noMatchFault(cl)
}

var aboutToBind = doctor.ClaimFault{Kind: doctor.ClaimSoon, Text: "Kubernetes is about to bind it"}

// namedVolumeFault is for a claim that names its volume.
func (c *Cluster) namedVolumeFault(cl claim) doctor.ClaimFault {
	v, ok := c.volumes.get(cl.volume)
	switch {
	case !ok:
		return doctor.ClaimFault{Kind: doctor.ClaimVolumeMissing, Object: cl.volume, Text: fmt.Sprintf("there is no volume %s, which it names", cl.volume)}
	case v.owner != nil && !c.owns(cl, v) && v.state != string(corev1.VolumeReleased):
		return doctor.ClaimFault{Kind: doctor.ClaimTaken, Object: v.name,
			Text: fmt.Sprintf("volume %s, which it names, belongs to the claim %s/%s", v.name, v.owner.Namespace, v.owner.Name)}
	case v.state == string(corev1.VolumeReleased):
		return released(v)
	}
	if fault := cl.wants.mismatch(v); fault.Kind != "" {
		fault.Text = fmt.Sprintf("volume %s, which it names, %s", v.name, fault.Text)
		return fault
	}
	return aboutToBind
}

// owns tells whether a volume belongs to the claim, or is reserved for it.
func (c *Cluster) owns(cl claim, v volume) bool {
	return v.owner.Namespace == c.namespace && v.owner.Name == string(cl.name) && (v.owner.UID == "" || v.owner.UID == cl.uid)
}

func released(v volume) doctor.ClaimFault {
	fix := fmt.Sprintf("kubectl patch pv %s --type json -p '%s'", v.name, `[{"op":"remove","path":"/spec/claimRef"}]`)
	return doctor.ClaimFault{Kind: doctor.ClaimReleased, Object: v.name, Fix: "to use it again: " + fix,
		Text: fmt.Sprintf("volume %s was released by the claim %s/%s and is kept from others", v.name, v.owner.Namespace, v.owner.Name)}
}

// noMatchFault compares a claim with every volume, and says what the one that comes closest lacks.
func (c *Cluster) noMatchFault(cl claim) doctor.ClaimFault {
	volumes := c.volumes.all()
	selected := slices.DeleteFunc(slices.Clone(volumes), func(v volume) bool { return !cl.wants.selector.Matches(v.labels) })
	switch {
	case len(selected) == 0 && !cl.wants.selector.Empty():
		return doctor.ClaimFault{Kind: doctor.ClaimSelector, Text: fmt.Sprintf("no volume has the labels that it selects: %s", cl.wants.selector)}
	case len(volumes) == 0 && cl.wants.class == "":
		return doctor.ClaimFault{Kind: doctor.ClaimNoVolume, Text: "there is no volume"}
	}
	var closest doctor.ClaimFault
	for _, v := range selected {
		switch fault := cl.wants.mismatch(v); {
		case fault.Kind != "":
			if closest.Kind == "" {
				fault.Text = fmt.Sprintf("volume %s %s", v.name, fault.Text)
				closest = fault
			}
		case v.owner != nil && v.state == string(corev1.VolumeReleased):
			return released(v)
		case v.owner != nil && !c.owns(cl, v):
			closest = doctor.ClaimFault{Kind: doctor.ClaimTaken, Object: v.name,
				Text: fmt.Sprintf("volume %s fits, and belongs to the claim %s/%s", v.name, v.owner.Namespace, v.owner.Name)}
		default:
			return aboutToBind
		}
	}
	switch {
	case len(selected) > 1 && cl.wants.selector.Empty():
		return doctor.ClaimFault{Kind: doctor.ClaimNoVolume,
			Text: fmt.Sprintf("none of %d volumes fits; it asks for %s, %s and storage class %q", len(selected), cl.wants.size.String(), cl.wants.modes, cl.wants.class)}
	case closest.Kind == "":
		return doctor.ClaimFault{Kind: doctor.ClaimClass, Text: fmt.Sprintf("it waits for a volume of storage class %q", cl.wants.class)}
	}
	return closest
}

// mismatch says what a volume lacks; its kind is "" when nothing.
func (w wanted) mismatch(v volume) doctor.ClaimFault {
	fault := func(kind doctor.ClaimKind, format string, args ...any) doctor.ClaimFault {
		return doctor.ClaimFault{Kind: kind, Object: v.name, Text: fmt.Sprintf(format, args...)}
	}
	if w.class != v.class {
		return fault(doctor.ClaimClass, "has storage class %q, and the claim asks for %q", v.class, w.class)
	}
	if v.size.Cmp(w.size) < 0 {
		return fault(doctor.ClaimSize, "has %s, and the claim asks for %s", v.size.String(), w.size.String())
	}
	for _, mode := range w.modes {
		if !slices.Contains(v.modes, mode) {
			return fault(doctor.ClaimModes, "has access modes %s, and the claim asks for %s", v.modes, mode)
		}
	}
	return doctor.ClaimFault{}
}
