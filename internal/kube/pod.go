package kube

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// indexAnnotation is where Kubernetes says which task of an Indexed Job a pod is.
const indexAnnotation = "batch.kubernetes.io/job-completion-index"

// taskPod is what we keep of a pod: one try at one task.
type taskPod struct {
	key     string
	owner   string // the uid of its Job
	role    string
	attempt int // of the job
	index   int
	name    string

	uid       string
	state     pai.JobState
	message   string
	ip, node  string
	exitCode  *int
	created   time.Time
	started   time.Time // zero before the container runs
	completed time.Time
	deleting  time.Time // when it was told to end; zero when it was not
	requests  pai.Quantity
	facts     doctor.Task // without its events
}

func parsePod(obj any) (taskPod, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return taskPod{}, fmt.Errorf("expected a Pod, got %T", obj)
	}
	index, err := strconv.Atoi(p.Annotations[indexAnnotation])
	if err != nil {
		return taskPod{}, fmt.Errorf("annotation %s: %w", indexAnnotation, err)
	}
	t := taskPod{
		key: p.Labels[specs.JobLabel], role: p.Annotations[specs.RoleAnnotation], index: index, name: p.Name,
		uid: string(p.UID), ip: p.Status.PodIP, node: p.Spec.NodeName, created: p.CreationTimestamp.Time,
		state: podState(p.Status.Phase), message: waitingMessage(p),
	}
	for _, o := range p.OwnerReferences {
		t.owner = string(o.UID)
	}
	if t.attempt, err = number(p, specs.AttemptAnnotation); err != nil {
		return t, err
	}
	if p.DeletionTimestamp != nil {
		t.deleting = p.DeletionTimestamp.Time.Add(-time.Duration(valueOr(p.DeletionGracePeriodSeconds, 0)) * time.Second)
	}
	for _, c := range p.Spec.Containers {
		t.requests = t.requests.Plus(quantityOf(c.Resources.Requests))
	}
	for _, s := range p.Status.ContainerStatuses {
		t.readContainer(s)
	}
	for _, s := range p.Status.InitContainerStatuses {
		if x := s.State.Terminated; x != nil && x.ExitCode != 0 && t.state == pai.JobFailed && t.exitCode == nil {
			t.completed = x.FinishedAt.Time
		}
	}
	if t.message == "" && t.state == pai.JobFailed {
		t.message = p.Status.Message // evicted, over its deadline, ...
	}
	t.facts = taskFacts(p, t)
	return t, nil
}

func valueOr[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// taskFacts is what the doctor needs to know of a pod.
func taskFacts(p *corev1.Pod, t taskPod) doctor.Task {
	f := doctor.Task{
		Name: fmt.Sprintf("%s[%d]", t.role, t.index), Role: t.role, State: t.state, Node: t.node, Created: t.created,
		PodReason: p.Status.Reason, PodMessage: p.Status.Message, Deleting: t.deleting, Main: doctor.Container{Name: specs.ContainerName},
	}
	for _, c := range p.Spec.Containers {
		f.Image = c.Image
	}
	for _, c := range p.Status.Conditions {
		switch c.Type {
		case corev1.PodScheduled:
			if c.Status == corev1.ConditionTrue {
				f.Bound = c.LastTransitionTime.Time
			} else {
				f.Unschedulable = c.Message
			}
		case corev1.PodReadyToStartContainers:
			ready := c.Status == corev1.ConditionTrue
			f.Sandbox = &ready
		case corev1.DisruptionTarget:
			if f.PodReason == "" && c.Status == corev1.ConditionTrue {
				f.PodReason, f.PodMessage = c.Reason, c.Message
			}
		}
	}
	for _, s := range p.Status.InitContainerStatuses {
		f.Init = append(f.Init, containerFacts(s))
	}
	for _, s := range p.Status.ContainerStatuses {
		f.Main = containerFacts(s)
	}
	return f
}

func containerFacts(s corev1.ContainerStatus) doctor.Container {
	c := doctor.Container{Name: s.Name, Running: s.State.Running != nil}
	if w := s.State.Waiting; w != nil {
		c.Waiting = doctor.Waiting{Reason: w.Reason, Message: w.Message}
	}
	if x := s.State.Terminated; x != nil {
		c.Ended = &doctor.Ended{Reason: x.Reason, Message: x.Message, Code: int(x.ExitCode), At: x.FinishedAt.Time}
	}
	return c
}

func podState(phase corev1.PodPhase) pai.JobState {
	switch phase {
	case corev1.PodRunning:
		return pai.JobRunning
	case corev1.PodSucceeded:
		return pai.JobSucceeded
	case corev1.PodFailed:
		return pai.JobFailed
	}
	return pai.JobWaiting
}

// waitingMessage says why a pod has not started, as far as the scheduler and the kubelet say.
func waitingMessage(p *corev1.Pod) string {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	for _, s := range p.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil {
			return cmp.Or(w.Message, w.Reason)
		}
	}
	return ""
}

func (t *taskPod) readContainer(s corev1.ContainerStatus) {
	if r := s.State.Running; r != nil {
		t.started = r.StartedAt.Time
	}
	if x := s.State.Terminated; x != nil {
		code := int(x.ExitCode)
		t.exitCode, t.started, t.completed = &code, x.StartedAt.Time, x.FinishedAt.Time
		if code != 0 {
			t.message = cmp.Or(x.Message, fmt.Sprintf("exit code %d (%s)", code, x.Reason))
		}
	}
}

// hasLog tells whether there is a log to read.
func (t taskPod) hasLog() bool { return !t.started.IsZero() || t.exitCode != nil }
