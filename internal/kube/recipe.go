package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/pai-storage/pai-storage/internal/mount"
	mounting "github.com/pai-storage/pai-storage/internal/volume"
)

// recipe is what workers would have to do to use a volume, apart from its Secret. The zero one is of volumes that cannot be checked.
type recipe struct {
	mount  *mount.Volume // nil: nothing is mounted for a check
	driver string        // of CSI
	flex   string        // FlexVolume driver
	path   string        // of hostPath and local volumes
	create bool          // the path is made by the worker when it is not there
	nodes  []string      // the only workers that it is for, by their host names; nil for all
	fault  string        // why it cannot be mounted, whatever the worker
	// unmounted is why nothing is mounted for a check although an official driver may mount it for a pod; ownFault is what is wrong with it where
	// the agent is that driver.
	unmounted, ownFault string
	// publishOnly: the volume of our driver names a Secret where that does not look.
	publishOnly bool
	handle      string // by which the worker's directories know a CSI volume
}

// checkable tells whether there is anything to look for.
func (r recipe) checkable() bool {
	return r.mount != nil || r.driver != "" || r.flex != "" || r.path != "" || r.fault != ""
}

// recipeOf reads a PersistentVolume.
func recipeOf(pv *corev1.PersistentVolume) recipe {
	r := recipe{nodes: onlyNodes(pv.Spec.NodeAffinity)}
	set := func(v mount.Volume, err error) {
		if err != nil {
			r.fault = "bad option or attribute of the volume: " + err.Error()
			return
		}
		r.mount = &v
	}
	options := pv.Spec.MountOptions
	switch s := pv.Spec.PersistentVolumeSource; {
	case s.NFS != nil:
		set(mounting.NFS(s.NFS.Server, s.NFS.Path, options, s.NFS.ReadOnly))
	case s.AzureFile != nil:
		r.driver = mounting.AzureFileDriver
		set(mounting.AzureFile("", s.AzureFile.ShareName, options, s.AzureFile.ReadOnly))
	case s.FlexVolume != nil:
		r.flex = s.FlexVolume.Driver
		if r.flex == mounting.FlexSMB || r.flex == mounting.FlexBlob {
			set(mounting.Flex(r.flex, s.FlexVolume.Options, s.FlexVolume.ReadOnly))
		}
	case s.CSI != nil:
		r.driver = s.CSI.Driver
		sum := sha256.Sum256([]byte(s.CSI.VolumeHandle))
		r.handle = hex.EncodeToString(sum[:])
		switch {
		case r.driver == mounting.CSIDriver:
			r.publishOnly = s.CSI.NodePublishSecretRef != nil && s.CSI.NodeStageSecretRef == nil
			set(mounting.CSI(r.driver, s.CSI.VolumeAttributes, s.CSI.VolumeHandle, options, s.CSI.ReadOnly))
		case mounting.Official(r.driver):
			set(mounting.CSI(r.driver, s.CSI.VolumeAttributes, s.CSI.VolumeHandle, options, s.CSI.ReadOnly))
			if r.fault != "" {
				r.unmounted, r.ownFault, r.fault = r.driver+" may know how to mount it, and the check does not: "+r.fault, r.fault, ""
			} else if mounting.ByIdentity(r.driver, s.CSI.VolumeAttributes) {
				r.unmounted = r.driver + " mounts it with an identity, which the check does not have: only the driver is looked for"
				r.ownFault = "the volume asks for an identity, and the node agent mounts with the key in a Secret"
			}
		}
	case s.HostPath != nil:
		r.path = s.HostPath.Path
		r.create = s.HostPath.Type != nil && (*s.HostPath.Type == corev1.HostPathDirectoryOrCreate || *s.HostPath.Type == corev1.HostPathFileOrCreate)
	case s.Local != nil:
		r.path = s.Local.Path
	}
	return r
}

// onlyNodes are the host names of the workers of a volume's node affinity, where it names them as local volumes do.
func onlyNodes(a *corev1.VolumeNodeAffinity) []string {
	if a == nil || a.Required == nil {
		return nil
	}
	var names []string
	for _, term := range a.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Key == corev1.LabelHostname && e.Operator == corev1.NodeSelectorOpIn {
				names = append(names, e.Values...)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// mountedAt tells whether a directory of a worker is one where the kubelet, or a driver for it, has the volume.
func (v volume) mountedAt(target string) bool {
	return v.recipe.handle != "" && strings.Contains(target, v.recipe.handle) || strings.HasSuffix(target, "/"+v.name)
}
