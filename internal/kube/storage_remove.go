package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/plural"
)

// RemoveStorage deletes the claim of a storage, and the volume when it was declared through the API. See [pai.StorageService] for the
// errors.
func (c *Cluster) RemoveStorage(ctx context.Context, r pai.StorageRemoval) (pai.RemovedStorage, error) {
	cl, ok := c.claims.get(string(r.Name))
	if !ok {
		return pai.RemovedStorage{}, pai.NoStorage(r.Name)
	}
	out := pai.RemovedStorage{Deleted: []string{}, Kept: []string{}, Granted: []pai.GroupName{}, Jobs: c.jobsByClaim()[string(r.Name)]}
	if len(out.Jobs) > 0 && !r.Force {
		return out, inUse(r.Name, out.Jobs)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	v, hasVolume := c.volumes.get(cl.volume)
	if hasVolume && !v.retained {
		if err := c.retain(ctx, v); err != nil {
			return out, err
		}
	}
	err := c.client.CoreV1().PersistentVolumeClaims(c.namespace).Delete(ctx, string(r.Name),
		metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &cl.uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return out, fmt.Errorf("remove storage %s: delete its claim: %w", r.Name, err)
	}
	out.Deleted = append(out.Deleted, "claim "+string(r.Name))
	if hasVolume {
		if err := c.removeVolume(ctx, cl, v, &out); err != nil {
			return out, fmt.Errorf("remove storage %s: %w", r.Name, err)
		}
	}
	released, err := c.release(ctx, cl)
	if err != nil {
		return out, fmt.Errorf("remove storage %s: %w", r.Name, err)
	}
	c.claims.awaitChange(ctx, string(r.Name), func(now claim) bool {
		return now.uid != cl.uid || (now.state == terminating && !released)
	})
	c.record(ctx, pai.AuditDelete, "storage", string(r.Name), map[string]any{"volume": cl.volume, "deleted": out.Deleted, "kept": out.Kept}, nil)
	return out, c.settleGrants(ctx, r, &out)
}

// protection is what keeps a claim in Kubernetes while pods name it.
const protection = "kubernetes.io/pvc-protection"

// release lets go of a deleted claim that no pod uses. Kubernetes by itself keeps it for pods that have ended, too, until they are deleted,
// and with them the logs of jobs that are done. A pod that runs, or will, keeps it. It tells whether the claim is gone.
func (c *Cluster) release(ctx context.Context, cl claim) (gone bool, err error) {
	claims := c.client.CoreV1().PersistentVolumeClaims(c.namespace)
	now, err := claims.Get(ctx, string(cl.name), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("read its claim: %w", err)
	case now.UID != cl.uid:
		return true, nil
	case now.DeletionTimestamp == nil:
		return false, nil
	}
	pods, err := c.client.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase!=Succeeded,status.phase!=Failed"})
	if err != nil {
		return false, fmt.Errorf("look for pods that mount it: %w", err)
	}
	if slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return uses(p, string(cl.name)) }) {
		return false, nil
	}
	kept := slices.DeleteFunc(now.Finalizers, func(f string) bool { return f == protection })
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": now.ResourceVersion, "finalizers": kept}})
	if err != nil {
		return false, err
	}
	_, err = claims.Patch(ctx, now.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // Kubernetes was first
		return false, fmt.Errorf("let go of its claim: %w", err)
	}
	return err == nil && len(kept) == 0, nil
}

// uses tells whether a pod that has not ended names the claim.
func uses(p corev1.Pod, claim string) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == claim
	})
}

// inUse is the refusal to remove what jobs mount.
func inUse(name pai.StorageName, jobs []pai.JobID) *pai.Error {
	const most = 5
	var names []string
	for _, id := range jobs[:min(len(jobs), most)] {
		names = append(names, id.String())
	}
	if len(jobs) > most {
		names = append(names, fmt.Sprintf("and %d more", len(jobs)-most))
	}
	return pai.Errorf(pai.StorageInUseError, "Storage %s is mounted by %s: %s.", name, plural.Of(len(jobs), "job"), strings.Join(names, ", "))
}

// retain keeps the data of a volume whose provisioner would delete it together with the claim.
func (c *Cluster) retain(ctx context.Context, v volume) error {
	_, err := c.client.CoreV1().PersistentVolumes().Patch(ctx, v.name, types.MergePatchType,
		[]byte(`{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("keep the data of volume %s: %w", v.name, err)
	}
	return nil
}

// removeVolume deletes a volume that was declared together with its claim. Somebody else's is kept.
func (c *Cluster) removeVolume(ctx context.Context, cl claim, v volume, out *pai.RemovedStorage) error {
	if v.declaration == "" || v.declaration != cl.declaration {
		out.Kept = append(out.Kept, "volume "+v.name)
		return nil
	}
	if err := c.deleteVolume(ctx, v.name, v.uid); err != nil {
		return err
	}
	out.Deleted = append(out.Deleted, "volume "+v.name)
	return nil
}

// settleGrants takes the storage off all groups if that is wished, and says which have it still.
func (c *Cluster) settleGrants(ctx context.Context, r pai.StorageRemoval, out *pai.RemovedStorage) error {
	for _, g := range c.groups.all() {
		if _, granted := g.Revoked(r.Name); !granted {
			continue
		}
		if !r.Revoke {
			out.Granted = append(out.Granted, g.Name)
			continue
		}
		if _, err := c.RevokeStorage(ctx, g.Name, r.Name, false); err != nil {
			return fmt.Errorf("storage %s is removed, and group %s still has it: %w", r.Name, g.Name, err)
		}
	}
	return nil
}
