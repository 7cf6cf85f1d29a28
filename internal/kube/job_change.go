package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// StopJob suspends the Jobs of a job, so that Kubernetes ends their tasks. A job that is done stays as it is. NoJobError.
func (c *Cluster) StopJob(ctx context.Context, id pai.JobID) error {
	a, err := c.attempt(id, -1)
	if err != nil {
		return err
	}
	if j := a.status(c.now()); j.State.Done() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if a.held {
		if err := c.releaseJob(ctx, a, specs.StoppedByUser); err != nil {
			return fmt.Errorf("stop job %s: %w", id, err)
		}
		if a, err = c.attempt(id, -1); err != nil { // what another server released meanwhile runs
			return err
		}
	}
	if err := c.suspend(ctx, a, specs.StoppedByUser); err != nil {
		return fmt.Errorf("stop job %s: %w", id, err)
	}
	c.record(ctx, pai.AuditChange, "job", id.String(), map[string]any{"executionType": "STOP"}, nil)
	return nil
}

// suspend stops what is not done of an attempt, and says why.
func (c *Cluster) suspend(ctx context.Context, a attempt, why string) error {
	var errs []error
	for _, rj := range a.roles {
		if rj.state.Done() || (rj.suspended && rj.stopped != "") {
			continue
		}
		job, err := c.suspendJob(ctx, rj.name, why)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			errs = append(errs, fmt.Errorf("suspend task role %s: %w", rj.role, err))
		default:
			c.jobs.await(ctx, job.Name, job.ResourceVersion)
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) suspendJob(ctx context.Context, name, why string) (*batchv1.Job, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{specs.StoppedAnnotation: why}},
		"spec":     map[string]any{"suspend": true},
	})
	if err != nil {
		return nil, err
	}
	return c.client.BatchV1().Jobs(c.namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
}

// DeleteJob deletes the Jobs of a job, whose tasks end then, and its record. NoJobError.
func (c *Cluster) DeleteJob(ctx context.Context, id pai.JobID) error {
	r, err := c.recordOf(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	background := metav1.DeletePropagationBackground
	for _, rj := range c.jobs.in(specs.Key(id)) {
		err := c.client.BatchV1().Jobs(c.namespace).Delete(ctx, rj.name, metav1.DeleteOptions{PropagationPolicy: &background})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete job %s: delete task role %s: %w", id, rj.role, err)
		}
	}
	uid := types.UID(r.uid)
	err = c.client.CoreV1().Secrets(c.namespace).Delete(ctx, r.name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete job %s: delete its record: %w", id, err)
	}
	c.records.awaitChange(ctx, r.name, func(now record) bool { return now.uid != r.uid })
	c.record(ctx, pai.AuditDelete, "job", id.String(), map[string]any{"record": r.name}, nil)
	return nil
}

// maxTags is how many tags a job can have.
const maxTags = 50

// TagJob adds a tag to a job. NoJobError, InvalidParametersError when there are too many.
func (c *Cluster) TagJob(ctx context.Context, id pai.JobID, tag string) error {
	return c.changeTags(ctx, id, func(tags []string) ([]string, error) {
		if slices.Contains(tags, tag) {
			return tags, nil
		}
		if len(tags) >= maxTags {
			return nil, pai.Errorf(pai.InvalidParametersError, "Job %s has %d tags already, which is the most.", id, maxTags)
		}
		tags = append(slices.Clone(tags), tag)
		slices.Sort(tags)
		return tags, nil
	})
}

// UntagJob takes a tag off a job. NoJobError, NoTagError.
func (c *Cluster) UntagJob(ctx context.Context, id pai.JobID, tag string) error {
	return c.changeTags(ctx, id, func(tags []string) ([]string, error) {
		i := slices.Index(tags, tag)
		if i < 0 {
			return nil, pai.Errorf(pai.NoTagError, "Tag %.80q of job %s is not found.", tag, id)
		}
		return slices.Delete(slices.Clone(tags), i, i+1), nil
	})
}

// changeTags reads the tags of a job, changes them and writes them back, and starts over when someone else wrote in between.
func (c *Cluster) changeTags(ctx context.Context, id pai.JobID, change func([]string) ([]string, error)) error {
	a, err := c.attempt(id, -1)
	if err != nil {
		return err
	}
	if a.held {
		return pai.Errorf(pai.InvalidParametersError, "Job %s waits until its storages are bound to volumes, and can have tags after that.", id)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var written *batchv1.Job
	jobs := c.client.BatchV1().Jobs(c.namespace)
	err = outlastConflicts(ctx, func() error {
		job, err := jobs.Get(ctx, specs.RoleJobName(id, a.record.roles[0].Name, 0), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return pai.NoJob(id).Because(err)
		}
		if err != nil {
			return err
		}
		tags, err := specs.ParseTags(job.Annotations[specs.TagsAnnotation])
		if err != nil {
			return err
		}
		if tags, err = change(tags); err != nil {
			return err
		}
		text, err := json.Marshal(tags)
		if err != nil {
			return err
		}
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": job.ResourceVersion, "annotations": map[string]string{specs.TagsAnnotation: string(text)}}})
		if err != nil {
			return err
		}
		written, err = jobs.Patch(ctx, job.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("tags of job %s: %w", id, err)
	}
	c.jobs.await(ctx, written.Name, written.ResourceVersion)
	return nil
}
