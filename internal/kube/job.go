package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// record is what we keep of a job's Secret: not the document, which may be large.
type record struct {
	id             pai.JobID
	uid            string
	name           string
	virtualCluster string
	roles          []specs.RoleSize
	created        time.Time
}

func parseRecord(obj any) (record, error) {
	s, err := secretOf(obj)
	if err != nil {
		return record{}, err
	}
	if s.Type != specs.RecordType {
		return record{}, fmt.Errorf("type %q is not %s", s.Type, specs.RecordType)
	}
	r := record{
		id:             idOf(s),
		uid:            string(s.UID),
		name:           s.Name,
		virtualCluster: s.Annotations[specs.VirtualClusterAnnotation],
		created:        s.CreationTimestamp.Time,
	}
	if specs.RecordName(r.id) != s.Name {
		return r, fmt.Errorf("its annotations say it is %s, which does not belong to this Secret", r.id)
	}
	r.roles, err = specs.ParseRoles(s.Annotations[specs.RolesAnnotation])
	return r, err
}

func idOf(meta metav1.Object) pai.JobID {
	notes := meta.GetAnnotations()
	return pai.JobID{User: pai.UserName(notes[specs.UserAnnotation]), Name: pai.JobName(notes[specs.JobAnnotation])}
}

// roleJob is what we keep of a task role's Indexed Job.
type roleJob struct {
	key       string
	id        pai.JobID
	claims    []string // that its tasks mount
	role      string
	retries   int
	state     pai.JobState
	message   string
	completed time.Time
}

func parseRoleJob(obj any) (roleJob, error) {
	j, ok := obj.(*batchv1.Job)
	if !ok {
		return roleJob{}, fmt.Errorf("expected a Job, got %T", obj)
	}
	out := roleJob{key: j.Labels[specs.JobLabel], id: idOf(j), role: j.Annotations[specs.RoleAnnotation], state: pai.JobWaiting}
	if j.Spec.BackoffLimitPerIndex != nil {
		out.retries = int(*j.Spec.BackoffLimitPerIndex)
	}
	for _, v := range j.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			out.claims = append(out.claims, v.PersistentVolumeClaim.ClaimName)
		}
	}
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			out.state, out.completed = pai.JobSucceeded, c.LastTransitionTime.Time
		case batchv1.JobFailed:
			out.state, out.completed, out.message = pai.JobFailed, c.LastTransitionTime.Time, c.Message
		}
	}
	return out, nil
}

// Submit creates the record of a job, which only one of several equal submissions can, and then the Job of each task role. When one of these
// cannot be created, the record goes again and takes along those that were. ConflictJobError.
func (c *Cluster) Submit(ctx context.Context, s pai.Submission) (pai.JobID, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	id := s.ID()
	kept, err := c.createSecret(ctx, specs.Record(c.namespace, s))
	if apierrors.IsAlreadyExists(err) {
		return id, pai.Errorf(pai.ConflictJobError, "Job name %s already exists.", id).Because(err)
	}
	if err != nil {
		return id, fmt.Errorf("create the record of job %s: %w", id, err)
	}
	versions := map[string]string{}
	for _, role := range s.Spec.TaskRoles {
		job, err := c.client.BatchV1().Jobs(c.namespace).Create(ctx, specs.RoleJob(kept, s, role), metav1.CreateOptions{})
		if err != nil {
			err = fmt.Errorf("create task role %s of job %s: %w", role.Name, id, err)
			return id, errors.Join(err, c.undo(ctx, kept, versions))
		}
		versions[job.Name] = job.ResourceVersion
	}
	c.records.await(ctx, kept.Name, kept.ResourceVersion)
	for name, version := range versions {
		c.jobs.await(ctx, name, version)
	}
	return id, nil
}

// undo removes what a submission made. It goes on when the caller has gone.
func (c *Cluster) undo(ctx context.Context, kept *corev1.Secret, jobs map[string]string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	now := metav1.DeletePropagationBackground
	var errs []error
	for name := range jobs {
		err := c.client.BatchV1().Jobs(c.namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &now})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("undo: delete job %s: %w", name, err))
		}
	}
	this := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &kept.UID}}
	if err := c.client.CoreV1().Secrets(c.namespace).Delete(ctx, kept.Name, this); err != nil && !apierrors.IsNotFound(err) {
		errs = append(errs, fmt.Errorf("undo: delete record %s: %w", kept.Name, err))
	}
	return errors.Join(errs...)
}

// Job finds one. NoJobError.
func (c *Cluster) Job(_ context.Context, id pai.JobID) (pai.Job, error) {
	r, ok := c.records.get(specs.RecordName(id))
	if !ok || r.id != id {
		return pai.Job{}, pai.NoJob(id)
	}
	key := specs.Key(id)
	return status(r, c.jobs.in(key), c.pods.in(key), c.now()), nil
}
