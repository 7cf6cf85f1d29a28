package kube

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// Log opens the log of a task. When the request follows, it waits for the task to start.
func (c *Cluster) Log(ctx context.Context, r pai.LogRequest) (io.ReadCloser, error) {
	pod, err := c.startedPod(ctx, r)
	if err != nil {
		return nil, err
	}
	options := &corev1.PodLogOptions{Container: specs.ContainerName, Follow: r.Follow}
	if r.Tail > 0 {
		lines := int64(r.Tail)
		options.TailLines = &lines
	}
	stream, err := c.client.CoreV1().Pods(c.namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the log of pod %s: %w", pod, err)
	}
	return stream, nil
}

// startedPod returns the name of the latest pod of a task that has a log.
func (c *Cluster) startedPod(ctx context.Context, r pai.LogRequest) (string, error) {
	for {
		changed, ended := c.pods.next(), c.jobs.next()
		job, err := c.Job(ctx, r.Job)
		if err != nil {
			return "", err
		}
		role, task, err := findTask(job, r)
		if err != nil {
			return "", err
		}
		a, err := c.attempt(r.Job, -1)
		if err != nil {
			return "", err
		}
		tried := a.tries(role, r.Task)
		for i := len(tried) - 1; i >= 0; i-- {
			if tried[i].hasLog() {
				return tried[i].name, nil
			}
		}
		if !r.Follow || task.State.Done() || job.State.Done() {
			return "", noLog(role, task)
		}
		select {
		case <-changed:
		case <-ended:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func findTask(job pai.Job, r pai.LogRequest) (string, pai.TaskStatus, error) {
	for _, role := range job.Roles {
		if r.Role != "" && role.Name != r.Role {
			continue
		}
		if r.Task < 0 || r.Task >= len(role.Tasks) {
			return "", pai.TaskStatus{}, pai.NoTask(role.Name, r.Task)
		}
		return role.Name, role.Tasks[r.Task], nil
	}
	return "", pai.TaskStatus{}, pai.NoTask(r.Role, r.Task)
}

func noLog(role string, t pai.TaskStatus) error {
	why := ""
	if t.Message != "" {
		why = ": " + t.Message
	}
	return pai.Errorf(pai.NoTaskLogError, "Log of task %s[%d] is not found: the task is %s and has not started%s", role, t.Index, t.State, why)
}
