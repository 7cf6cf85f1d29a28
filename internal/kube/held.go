package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// A job whose storages are not bound is held: its record is there, and its Jobs are not. Only the volume says whether it may be written to and
// which workers can mount it, and what was decided without knowing cannot be changed in a Job. What is held is released by the keeper of jobs. The
// record stays as it is, because the server may not change Secrets of the jobs' namespace: held is what has the annotation, and not yet its Jobs.

// heldGroup is the group of the records that are held.
const heldGroup = "held"

// unbound tells whether a storage must be bound before anybody knows how to mount it. One that binds with its first job is not waited for.
func (c *Cluster) unbound(mounts []pai.Mount) bool {
	for _, m := range mounts {
		cl, ok := c.claims.get(string(m.Storage))
		if !ok {
			return true
		}
		if s := c.storage(cl); !s.Bound && !s.BindsWithJob {
			return true
		}
	}
	return false
}

// releaseJob makes the Jobs of a job that is held, as its storages are now: once these are bound or, when stopped says why, as Jobs that never run.
// It may begin anew after a server that died.
func (c *Cluster) releaseJob(ctx context.Context, a attempt, stopped string) error {
	obj, exists, err := c.rawRecords.GetByKey(c.namespace + "/" + a.name)
	kept, ok := obj.(*corev1.Secret)
	if err != nil || !exists || !ok || string(kept.UID) != a.uid {
		return err // it is gone
	}
	s, err := specs.Held(kept)
	if err != nil {
		return fmt.Errorf("job %s: %w", a.id, err)
	}
	if stopped == "" && c.unbound(s.Mounts) {
		return nil
	}
	s.Mounts, s.MountTypes = c.mountsNow(s)
	options := specs.Options{TaskInit: c.taskInit, AgentTypes: c.agentTypes()}
	for _, role := range s.Spec.TaskRoles {
		job := specs.RoleJob(kept, s, role, options)
		if stopped != "" {
			yes := true
			job.Annotations[specs.StoppedAnnotation], job.Spec.Suspend = stopped, &yes
		}
		made, err := c.client.BatchV1().Jobs(c.namespace).Create(ctx, job, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) && stopped != "" { // another server was quicker
			made, err = c.suspendJob(ctx, job.Name, stopped)
		}
		switch {
		case apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
		case err != nil:
			return fmt.Errorf("create task role %s of job %s: %w", role.Name, a.id, err)
		default:
			c.jobs.await(ctx, made.Name, made.ResourceVersion)
		}
	}
	return nil
}

// mountsNow are a submission's mounts as its storages are now, and what these are of.
func (c *Cluster) mountsNow(s pai.Submission) ([]pai.Mount, []pai.StorageType) {
	storages := map[pai.StorageName]pai.Storage{}
	mounts := slices.Clone(s.Mounts)
	for i, m := range mounts {
		if cl, ok := c.claims.get(string(m.Storage)); ok {
			storages[m.Storage] = c.storage(cl)
			mounts[i] = m.MountNow(s.Owner, storages[m.Storage])
		}
	}
	return mounts, pai.MountTypes(mounts, storages)
}

// touchHeld has the keeper look at the jobs that are held: a storage has changed.
func (c *Cluster) touchHeld() {
	for _, r := range c.records.in(heldGroup) {
		c.jobKeeper.touch(r.name)
	}
}
