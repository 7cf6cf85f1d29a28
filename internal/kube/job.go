package kube

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	priority       string
	retries        int // of the whole job, as often as it may be
	roles          []specs.RoleSize
	mounts         []specs.KeptMount
	held           bool // its Jobs are made when its storages are bound, or were
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
		priority:       s.Annotations[specs.PriorityAnnotation],
		held:           s.Annotations[specs.HeldAnnotation] != "",
		created:        s.CreationTimestamp.Time,
	}
	if specs.RecordName(r.id) != s.Name {
		return r, fmt.Errorf("its annotations say it is %s, which does not belong to this Secret", r.id)
	}
	if r.retries, err = number(s, specs.RetriesAnnotation); err != nil {
		return r, err
	}
	if r.mounts, err = specs.ParseMounts(s.Annotations[specs.StoragesAnnotation]); err != nil {
		return r, err
	}
	r.roles, err = specs.ParseRoles(s.Annotations[specs.RolesAnnotation])
	return r, err
}

// number reads an annotation that is a number; 0 when it is not there.
func number(meta metav1.Object, annotation string) (int, error) {
	text, ok := meta.GetAnnotations()[annotation]
	if !ok {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("annotation %s: %w", annotation, err)
	}
	return n, nil
}

func idOf(meta metav1.Object) pai.JobID {
	notes := meta.GetAnnotations()
	return pai.JobID{User: pai.UserName(notes[specs.UserAnnotation]), Name: pai.JobName(notes[specs.JobAnnotation])}
}

// roleJob is what we keep of a task role's Indexed Job, of one attempt at the job.
type roleJob struct {
	key       string
	id        pai.JobID
	uid       string
	name      string
	owner     string   // the uid of the record
	claims    []string // that its tasks mount
	readOnly  []string // those of them that are mounted to be read only
	role      string
	attempt   int
	image     string
	requests  pai.Quantity // of each task
	instances int
	retries   int
	decides   bool // when it succeeds, so does the job
	stopped   string
	stoppedAt time.Time // when Kubernetes took it up
	suspended bool
	aside     *specs.SetAside // the latest time that it was set aside; nil for never
	tags      []string
	state     pai.JobState
	message   string
	created   time.Time
	completed time.Time
}

// slimJob drops from a Job what nobody here reads, which is most of it.
func slimJob(obj any) (any, error) {
	j, ok := obj.(*batchv1.Job)
	if !ok {
		return obj, nil // a tombstone
	}
	j.ManagedFields = nil
	spec := &j.Spec.Template.Spec
	spec.InitContainers, spec.Affinity, spec.SecurityContext = nil, nil, nil
	for i := range spec.Containers {
		c := &spec.Containers[i]
		*c = corev1.Container{Name: c.Name, Image: c.Image, Resources: corev1.ResourceRequirements{Requests: c.Resources.Requests}}
	}
	return j, nil
}

func parseRoleJob(obj any) (roleJob, error) {
	j, ok := obj.(*batchv1.Job)
	if !ok {
		return roleJob{}, fmt.Errorf("expected a Job, got %T", obj)
	}
	out := roleJob{key: j.Labels[specs.JobLabel], id: idOf(j), uid: string(j.UID), name: j.Name, role: j.Annotations[specs.RoleAnnotation],
		decides: j.Annotations[specs.DecidesAnnotation] != "", stopped: j.Annotations[specs.StoppedAnnotation],
		state: pai.JobWaiting, created: j.CreationTimestamp.Time}
	for _, o := range j.OwnerReferences {
		out.owner = string(o.UID)
	}
	var err error
	if out.attempt, err = number(j, specs.AttemptAnnotation); err != nil {
		return out, err
	}
	if out.aside, err = specs.ParseSetAside(j.Annotations[specs.AsideAnnotation]); err != nil {
		return out, err
	}
	if out.tags, err = specs.ParseTags(j.Annotations[specs.TagsAnnotation]); err != nil {
		return out, err
	}
	if j.Spec.BackoffLimitPerIndex != nil {
		out.retries = int(*j.Spec.BackoffLimitPerIndex)
	}
	if j.Spec.Completions != nil {
		out.instances = int(*j.Spec.Completions)
	}
	out.suspended = j.Spec.Suspend != nil && *j.Spec.Suspend
	for _, c := range j.Spec.Template.Spec.Containers {
		out.image = c.Image
		out.requests = out.requests.Plus(quantityOf(c.Resources.Requests))
	}
	for _, v := range j.Spec.Template.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			out.claims = append(out.claims, v.PersistentVolumeClaim.ClaimName)
			if v.PersistentVolumeClaim.ReadOnly {
				out.readOnly = append(out.readOnly, v.PersistentVolumeClaim.ClaimName)
			}
		}
	}
	out.readConditions(j)
	return out, nil
}

func (r *roleJob) readConditions(j *batchv1.Job) {
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			r.state, r.completed = pai.JobSucceeded, c.LastTransitionTime.Time
		case batchv1.JobFailed:
			r.state, r.completed, r.message = pai.JobFailed, c.LastTransitionTime.Time, c.Message
			if j.Annotations[specs.TolerantAnnotation] != "" && c.Reason == batchv1.JobReasonFailedIndexes {
				r.state, r.message = pai.JobSucceeded, "" // all tasks ended, and their document says that failed ones do not matter
			}
		case batchv1.JobSuspended:
			r.stoppedAt = c.LastTransitionTime.Time
		}
	}
}

// Submit creates the record of a job, which only one of several equal submissions can, and then the Job of each task role. When one of these
// cannot be created, the record goes again and takes along those that were. As long as a storage of the job is not bound, which says how it is
// to be mounted, the Jobs are not made: the keeper does it later. ConflictJobError.
func (c *Cluster) Submit(ctx context.Context, s pai.Submission) (pai.JobID, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	id := s.ID()
	record, held := specs.Record, c.unbound(s.Mounts)
	if held {
		record = specs.HeldRecord
	}
	kept, err := c.createSecret(ctx, record(c.namespace, s))
	if apierrors.IsAlreadyExists(err) {
		return id, pai.Errorf(pai.ConflictJobError, "Job name %s already exists.", id).Because(err)
	}
	if err != nil {
		return id, fmt.Errorf("create the record of job %s: %w", id, err)
	}
	versions, err := c.createRoles(ctx, kept, s, held)
	if err != nil {
		return id, errors.Join(fmt.Errorf("job %s: %w", id, err), c.undo(ctx, kept, versions))
	}
	c.records.await(ctx, kept.Name, kept.ResourceVersion)
	for name, version := range versions {
		c.jobs.await(ctx, name, version)
	}
	c.record(ctx, pai.AuditCreate, "job", id.String(), nil, map[string]any{"virtualCluster": s.VirtualCluster, "storages": mounted(s.Mounts)})
	return id, nil
}

// mounted are the names of the storages that are mounted.
func mounted(mounts []pai.Mount) []pai.StorageName {
	names := []pai.StorageName{}
	for _, m := range mounts {
		names = append(names, m.Storage)
	}
	return names
}

// createRoles creates what a record owns; for one that is held, no Jobs. It returns the versions of the Jobs that it made, also when it fails.
func (c *Cluster) createRoles(ctx context.Context, kept *corev1.Secret, s pai.Submission, held bool) (map[string]string, error) {
	versions := map[string]string{}
	if logins := specs.RegistrySecret(kept, s); logins != nil {
		if _, err := c.createSecret(ctx, logins); err != nil {
			return versions, fmt.Errorf("create the logins of private registries: %w", err)
		}
	}
	if held {
		return versions, nil
	}
	options := specs.Options{TaskInit: c.taskInit, AgentTypes: c.agentTypes()}
	for _, role := range s.Spec.TaskRoles {
		job, err := c.client.BatchV1().Jobs(c.namespace).Create(ctx, specs.RoleJob(kept, s, role, options), metav1.CreateOptions{})
		if err != nil {
			return versions, fmt.Errorf("create task role %s: %w", role.Name, err)
		}
		versions[job.Name] = job.ResourceVersion
	}
	return versions, nil
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
