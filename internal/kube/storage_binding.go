package kube

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pai-storage/pai-storage/internal/doctor"
)

// Kubernetes' binder says little about why it leaves a claim alone, so its rules are gone through here:
//
//   - A claim that names a volume gets that one or none. Labels do not matter then; and nothing else does when the volume names the claim, too.
//   - A volume that names a claim is taken for it whatever its labels and its class, when it is large enough and modes fit.
//   - Otherwise a volume has to be free, not on its way out, and as the claim asks for: labels, class, size, volume mode, access modes.
//   - Where volumes can be used from does not matter, unless the class waits for the first pod; then it is the scheduler that says so.
//   - What finds no volume and has a class that makes volumes gets one made, at once or with the first pod.

// reason says why a storage cannot be used, "" when it can.
func (c *Cluster) reason(cl claim, fault doctor.ClaimFault) string {
	if refusal := c.refusal(cl); refusal.Kind != "" && cl.state != terminating {
		return fmt.Sprintf("%s; %s [%s]", refusal.Text, refusal.Fix, refusal.Code())
	}
	text := fault.Text
	switch fault.Kind {
	case "", doctor.ClaimFirstJob:
		return ""
	case doctor.ClaimTerminating, doctor.ClaimLost:
	default:
		text = "no volume is bound to its claim yet: " + text
	}
	if fault.Fix != "" {
		text += "; " + fault.Fix
	}
	return text
}

// refusal says why nobody may use a storage, whether it is bound or not; its kind is "" when nothing is in the way.
func (c *Cluster) refusal(cl claim) doctor.ClaimFault {
	if cl.misled != "" {
		return doctor.ClaimFault{Kind: doctor.ClaimShare,
			Text: fmt.Sprintf(`the label %s of its claim is %s, which is neither "true" nor "false"`, personalLabel, cl.misled),
			Fix:  fmt.Sprintf("for a personal storage: kubectl label pvc %s -n %s %s=false --overwrite", cl.name, c.namespace, personalLabel)}
	}
	return c.deviceFault(cl)
}

// deviceFault is for what has no files that a job could mount; its kind is "" when that is not so.
func (c *Cluster) deviceFault(cl claim) doctor.ClaimFault {
	what := ""
	switch v, _ := c.volumes.get(cl.volume); {
	case cl.wants.device:
		what = "its claim asks for"
	case cl.bound && v.device:
		what = "its volume " + v.name + " is"
	default:
		return doctor.ClaimFault{}
	}
	return doctor.ClaimFault{Kind: doctor.ClaimDevice, Text: what + " a raw device (volumeMode Block), and jobs mount file systems",
		Fix: "declare claim and volume anew with volumeMode: Filesystem"}
}

// claimFault says why a claim is not bound; its kind is "" when it is.
func (c *Cluster) claimFault(cl claim) doctor.ClaimFault {
	switch cl.state {
	case string(corev1.ClaimBound):
		return doctor.ClaimFault{}
	case terminating:
		return doctor.ClaimFault{Kind: doctor.ClaimTerminating, Text: "it is being removed, and is gone when nothing runs any more that mounts it"}
	case string(corev1.ClaimLost):
		return c.lostFault(cl)
	}
	if cl.volume != "" {
		return c.namedVolumeFault(cl)
	}
	return c.noMatchFault(cl)
}

// lostFault is for a claim that was bound.
func (c *Cluster) lostFault(cl claim) doctor.ClaimFault {
	fault := doctor.ClaimFault{Kind: doctor.ClaimLost, Object: cl.volume}
	switch v, ok := c.volumes.get(cl.volume); {
	case !ok:
		fault.Text = fmt.Sprintf("its volume %s is gone", cl.volume)
		fault.Fix = fmt.Sprintf("make a volume of that name again, or declare the storage anew after: kubectl delete pvc %s -n %s", cl.name, c.namespace)
	case v.owner != nil && !c.owns(cl, v):
		fault.Text = fmt.Sprintf("its volume %s belongs to the claim %s/%s now", v.name, v.owner.Namespace, v.owner.Name)
		fault.Fix = fmt.Sprintf("declare the storage anew with another volume, after: kubectl delete pvc %s -n %s", cl.name, c.namespace)
	default:
		return c.fits(cl, v)
	}
	return fault
}

// bindingTime is how long Kubernetes may need to bind what fits.
const bindingTime = time.Minute

// fits is for a claim to whose binding nothing is in the way that could be seen.
func (c *Cluster) fits(cl claim, v volume) doctor.ClaimFault {
	if c.now().Sub(cl.created) < bindingTime {
		return doctor.ClaimFault{Kind: doctor.ClaimSoon, Text: "Kubernetes is about to bind it", Since: cl.created}
	}
	return doctor.ClaimFault{Kind: doctor.ClaimStuck, Object: v.name, Since: cl.created,
		Text: fmt.Sprintf("volume %s fits, and Kubernetes has not bound it, although the claim is older than a minute", v.name),
		Fix:  c.lookAt(cl) + ", and whether kube-controller-manager runs"}
}

// lookAt says where Kubernetes tells more.
func (c *Cluster) lookAt(cl claim) string {
	return fmt.Sprintf("an administrator sees what Kubernetes says with: kubectl describe pvc %s -n %s", cl.name, c.namespace)
}

// namedVolumeFault is for a claim that names its volume.
func (c *Cluster) namedVolumeFault(cl claim) doctor.ClaimFault {
	v, ok := c.volumes.get(cl.volume)
	if !ok {
		return doctor.ClaimFault{Kind: doctor.ClaimVolumeMissing, Object: cl.volume, Text: fmt.Sprintf("there is no volume %s, which it names", cl.volume)}
	}
	if fault := c.ownerFault(cl, v, "volume "+v.name+", which it names,"); fault.Kind != "" {
		if fault.Kind == doctor.ClaimTaken {
			fault.Text = fmt.Sprintf("volume %s, which it names, belongs to the claim %s/%s", v.name, v.owner.Namespace, v.owner.Name)
		}
		return fault
	}
	fault := c.mismatch(cl.wants, v)
	if v.owner != nil && fault.Kind != doctor.ClaimVolumeMode { // each names the other
		fault = doctor.ClaimFault{}
	}
	if fault.Kind != "" {
		fault.Text = fmt.Sprintf("volume %s, which it names, %s", v.name, fault.Text)
		return fault
	}
	return c.fits(cl, v)
}

// owns tells whether a volume belongs to the claim, or is reserved for it.
func (c *Cluster) owns(cl claim, v volume) bool {
	return v.owner.Namespace == c.namespace && v.owner.Name == string(cl.name) && (v.owner.UID == "" || v.owner.UID == cl.uid)
}

// ownerFault says why nobody, or somebody else, gets a volume; its kind is "" when it is to be had. The name is how the volume is spoken of.
func (c *Cluster) ownerFault(cl claim, v volume, name string) doctor.ClaimFault {
	switch {
	case v.deleting:
		return doctor.ClaimFault{Kind: doctor.ClaimVolumeLeaves, Object: v.name, Text: name + " is being deleted",
			Fix: fmt.Sprintf("declare another volume, or see what keeps this one: kubectl describe pv %s", v.name)}
	case v.state == string(corev1.VolumeFailed):
		text := name + " has failed"
		if v.message != "" {
			text += ": " + doctor.Quote(v.message)
		}
		return doctor.ClaimFault{Kind: doctor.ClaimVolumeFailed, Object: v.name, Text: text,
			Fix: fmt.Sprintf("declare another volume, or make this one anew: kubectl describe pv %s", v.name)}
	case v.owner != nil && v.state == string(corev1.VolumeReleased):
		return released(v)
	case v.owner != nil && !c.owns(cl, v):
		return doctor.ClaimFault{Kind: doctor.ClaimTaken, Object: v.name,
			Text: fmt.Sprintf("%s fits, and belongs to the claim %s/%s", name, v.owner.Namespace, v.owner.Name)}
	}
	return doctor.ClaimFault{}
}

func released(v volume) doctor.ClaimFault {
	fix := fmt.Sprintf("kubectl patch pv %s --type json -p '%s'", v.name, `[{"op":"remove","path":"/spec/claimRef"}]`)
	return doctor.ClaimFault{Kind: doctor.ClaimReleased, Object: v.name, Fix: "to use it again: " + fix,
		Text: fmt.Sprintf("volume %s was released by the claim %s/%s and is kept from others", v.name, v.owner.Namespace, v.owner.Name)}
}

// closeness orders the faults of volumes: the higher, the closer the volume comes to what a claim asks for.
var closeness = map[doctor.ClaimKind]int{
	doctor.ClaimClass: 1, doctor.ClaimDefaultClass: 2, doctor.ClaimSize: 3, doctor.ClaimVolumeMode: 4, doctor.ClaimModes: 5,
	doctor.ClaimTaken: 6, doctor.ClaimVolumeFailed: 7, doctor.ClaimVolumeLeaves: 8, doctor.ClaimReleased: 9,
}

// noMatchFault compares a claim with every volume, and says what the one that comes closest lacks.
func (c *Cluster) noMatchFault(cl claim) doctor.ClaimFault {
	volumes := c.volumes.all()
	if at := slices.IndexFunc(volumes, func(v volume) bool {
		return v.owner != nil && c.owns(cl, v) && v.state != string(corev1.VolumeReleased)
	}); at >= 0 {
		return c.reservedFault(cl, volumes[at])
	}
	class, hasClass := c.classes.get(cl.wants.class)
	everything := cl.wants.selector.Empty()
	selected := slices.DeleteFunc(slices.Clone(volumes), func(v volume) bool { return !cl.wants.selector.Matches(v.labels) })
	closest := doctor.ClaimFault{}
	for _, v := range selected {
		fault := c.matchFault(cl, v)
		switch {
		case fault.Kind == "" && hasClass && class.waits:
			return firstJob
		case fault.Kind == "":
			return c.fits(cl, v)
		case fault.Kind == doctor.ClaimTaken && everything && len(selected) > 1: // as most volumes of a cluster do
		case closeness[fault.Kind] > closeness[closest.Kind]:
			closest = fault
		}
	}
	if hasClass && class.provisions() && everything { // volumes that labels select are made by people
		if class.waits {
			return firstJob
		}
		return doctor.ClaimFault{Kind: doctor.ClaimClass, Fix: c.lookAt(cl),
			Text: fmt.Sprintf("it waits for a volume of storage class %q, which %s makes", cl.wants.class, class.provisioner)}
	}
	return c.nothingFits(cl, len(selected), closest)
}

// firstJob is no fault: Kubernetes waits for a job, to have the volume where that can run.
var firstJob = doctor.ClaimFault{Kind: doctor.ClaimFirstJob, Text: "it binds with the first job that mounts it"}

// reservedFault is for a claim that a volume names.
func (c *Cluster) reservedFault(cl claim, v volume) doctor.ClaimFault {
	name := "volume " + v.name + ", which is reserved for it,"
	if v.deleting {
		return c.ownerFault(cl, v, name)
	}
	fault := c.mismatch(wanted{class: v.class, size: cl.wants.size, modes: cl.wants.modes, device: cl.wants.device}, v)
	if fault.Kind != "" {
		fault.Text = name + " " + fault.Text
		return fault
	}
	return c.fits(cl, v)
}

// matchFault says why a claim does not get a volume; its kind is "" when it may.
func (c *Cluster) matchFault(cl claim, v volume) doctor.ClaimFault {
	fault := c.mismatch(cl.wants, v)
	if fault.Kind != "" {
		fault.Text = fmt.Sprintf("volume %s %s", v.name, fault.Text)
		return fault
	}
	return c.ownerFault(cl, v, "volume "+v.name)
}

// nothingFits puts into words that none of the selected volumes is to be had, and what the one lacks that comes closest.
func (c *Cluster) nothingFits(cl claim, selected int, closest doctor.ClaimFault) doctor.ClaimFault {
	_, hasClass := c.classes.get(cl.wants.class)
	everything := cl.wants.selector.Empty()
	switch {
	case selected == 0 && !everything:
		return doctor.ClaimFault{Kind: doctor.ClaimSelector, Text: fmt.Sprintf("no volume has the labels that it selects: %s", cl.wants.selector)}
	case selected == 0 && cl.wants.class == "":
		return doctor.ClaimFault{Kind: doctor.ClaimNoVolume, Text: "there is no volume"}
	case selected == 0 && !hasClass:
		return doctor.ClaimFault{Kind: doctor.ClaimClass,
			Text: fmt.Sprintf("it waits for a volume of storage class %q, and there is no such class that could make one", cl.wants.class)}
	case selected == 0:
		return doctor.ClaimFault{Kind: doctor.ClaimClass, Text: fmt.Sprintf("it waits for a volume of storage class %q, and nobody makes any of that class", cl.wants.class)}
	case selected == 1 || !everything:
		return closest
	}
	none := doctor.ClaimFault{Kind: doctor.ClaimNoVolume, Text: fmt.Sprintf("none of %d volumes fits; it asks for %s, %s and storage class %q",
		selected, cl.wants.size.String(), cl.wants.modes, cl.wants.class)}
	if closest.Kind != "" && closest.Kind != doctor.ClaimClass {
		closest.Text = none.Text + "; closest is this one: " + closest.Text
		return closest
	}
	return none
}

// mismatch says what a volume lacks; its kind is "" when nothing.
func (c *Cluster) mismatch(w wanted, v volume) doctor.ClaimFault {
	fault := func(kind doctor.ClaimKind, format string, args ...any) doctor.ClaimFault {
		return doctor.ClaimFault{Kind: kind, Object: v.name, Text: fmt.Sprintf(format, args...)}
	}
	if w.class != v.class {
		if class, _ := c.classes.get(w.class); class.standard && v.class == "" {
			return doctor.ClaimFault{Kind: doctor.ClaimDefaultClass, Object: v.name,
				Text: fmt.Sprintf("has no storage class, and the claim has %q, the default one, which Kubernetes gives to claims that name none", w.class),
				Fix:  `declare the claim anew with storageClassName: ""`}
		}
		return fault(doctor.ClaimClass, "has storage class %q, and the claim asks for %q", v.class, w.class)
	}
	if v.size.Cmp(w.size) < 0 {
		return fault(doctor.ClaimSize, "has %s, and the claim asks for %s", v.size.String(), w.size.String())
	}
	if v.device != w.device {
		return fault(doctor.ClaimVolumeMode, "has volumeMode %s, and the claim asks for %s", volumeMode(v.device), volumeMode(w.device))
	}
	for _, mode := range w.modes {
		if !slices.Contains(v.modes, mode) {
			return fault(doctor.ClaimModes, "has access modes %s, and the claim asks for %s", v.modes, mode)
		}
	}
	return doctor.ClaimFault{}
}

// isDevice tells whether a volume mode is that of raw devices.
func isDevice(mode *corev1.PersistentVolumeMode) bool {
	return mode != nil && *mode == corev1.PersistentVolumeBlock
}

func volumeMode(device bool) corev1.PersistentVolumeMode {
	if device {
		return corev1.PersistentVolumeBlock
	}
	return corev1.PersistentVolumeFilesystem
}
