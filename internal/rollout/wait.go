package rollout

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// pods of a service, by name.
func (s *Services) pods(ctx context.Context, service string) ([]corev1.Pod, error) {
	list, err := s.client.CoreV1().Pods(systemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + service})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// askEvery is how often a service that is awaited is asked what it waits for.
const askEvery = 3 * time.Second

// waitFor waits until as many pods of the newest kind of a service are ready as there have to be, and says how they get on. When the time is
// up, the error is what the pods themselves say.
func (s *Services) waitFor(ctx context.Context, service string, want int) error {
	if err := s.tryAgain(ctx, service); err != nil {
		return err
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	var last []PodStatus
	var faults []string
	var asked time.Time
	for {
		done, err := s.rolledOut(ctx, service)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if pods, err := s.podStatuses(ctx, service); err == nil {
			last = pods
		}
		ready := 0
		var waiting []string
		for _, p := range last {
			if p.Ready {
				ready++
			} else {
				waiting = append(waiting, p.Node+": "+p.Reason)
			}
		}
		if done && ready >= want {
			s.Note(service, fmt.Sprintf("%d of %d ready", ready, want))
			return nil
		}
		if service == StorageManager && time.Since(asked) > askEvery { // a pod that runs and is not ready knows why
			faults, asked = s.storageFaults(ctx, last), time.Now()
		}
		waiting = append(waiting, faults...)
		s.Note(service, fmt.Sprintf("%d of %d ready; %s", ready, want, cmp.Or(strings.Join(waiting, "; "), "waiting for pods")))
		select {
		case <-tick.C:
		case <-ctx.Done():
			// The context is over: what the pods say is asked for in a short time of its own.
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return fmt.Errorf("%w: %d of %d ready; %s%s", context.Cause(ctx), ready, want, cmp.Or(strings.Join(waiting, "; "), "no pod of it"), s.explain(late, last))
		}
	}
}

// tryAgain deletes pods that Kubernetes lets wait before it starts them again: whoever starts the service has probably mended what kept them.
func (s *Services) tryAgain(ctx context.Context, service string) error {
	pods, err := s.pods(ctx, service)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if !slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff"
		}) {
			continue
		}
		err := s.client.CoreV1().Pods(systemNamespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}})
		if err != nil && !absent(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return nil
}

// rolledOut: the controller has seen the newest manifest, and no pod of an older one is left.
func (s *Services) rolledOut(ctx context.Context, service string) (bool, error) {
	if service == RESTServer {
		d, err := s.client.AppsV1().Deployments(systemNamespace).Get(ctx, service, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == d.Status.Replicas, nil
	}
	d, err := s.client.AppsV1().DaemonSets(systemNamespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedNumberScheduled == d.Status.DesiredNumberScheduled, nil
}

// PodStatus is a pod of a service.
type PodStatus struct {
	Pod      string    `json:"pod"`
	Node     string    `json:"node"`
	Ready    bool      `json:"ready"`
	Reason   string    `json:"reason,omitempty"` // why it is not
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
}

func (s *Services) podStatuses(ctx context.Context, service string) ([]PodStatus, error) {
	pods, err := s.pods(ctx, service)
	if err != nil {
		return nil, err
	}
	statuses := make([]PodStatus, 0, len(pods))
	for _, p := range pods {
		statuses = append(statuses, podStatus(p))
	}
	return statuses, nil
}

// podStatus finds the reason that says most.
func podStatus(p corev1.Pod) PodStatus {
	status := PodStatus{Pod: p.Name, Node: cmp.Or(p.Spec.NodeName, "no node yet"), Since: p.CreationTimestamp.Time, Reason: "the pod is " + strings.ToLower(string(p.Status.Phase))}
	for _, c := range p.Status.Conditions {
		switch {
		case c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil:
			status.Ready, status.Reason = true, ""
		case c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse:
			status.Reason = c.Message
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		status.Restarts += int(c.RestartCount)
		lastWords := "" // of the container before this one
		if c.LastTerminationState.Terminated != nil {
			lastWords = strings.TrimSpace(c.LastTerminationState.Terminated.Message)
		}
		switch {
		case status.Ready:
		case c.State.Waiting != nil && lastWords != "":
			status.Reason = lastWords
		case c.State.Waiting != nil:
			status.Reason = strings.TrimSpace(c.State.Waiting.Reason + " " + c.State.Waiting.Message)
		case c.State.Terminated != nil:
			status.Reason = cmp.Or(strings.TrimSpace(c.State.Terminated.Message), fmt.Sprintf("ended with exit status %d", c.State.Terminated.ExitCode))
		case c.State.Running != nil && lastWords != "":
			status.Reason = "starts again; it ended before: " + lastWords
		case c.State.Running != nil:
			status.Reason = "starts"
		}
	}
	if p.DeletionTimestamp != nil {
		status.Reason = "ends"
	}
	return status
}

// explain is what pods that are not ready say of themselves: their last warning and the end of their log.
func (s *Services) explain(ctx context.Context, pods []PodStatus) string {
	var b strings.Builder
	for _, p := range pods {
		if p.Ready {
			continue
		}
		fmt.Fprintf(&b, "\n  pod %s on %s: %s", p.Pod, p.Node, p.Reason)
		events, err := s.client.CoreV1().Events(systemNamespace).List(ctx, metav1.ListOptions{
			FieldSelector: fields.AndSelectors(fields.OneTermEqualSelector("involvedObject.name", p.Pod), fields.OneTermEqualSelector("type", "Warning")).String()})
		if err == nil && len(events.Items) > 0 {
			newest := slices.MaxFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
			fmt.Fprintf(&b, "\n    %s", newest.Message)
		}
		for _, line := range s.lastLines(ctx, p.Pod, 6) {
			fmt.Fprintf(&b, "\n    %s", line)
		}
	}
	return b.String()
}

func (s *Services) lastLines(ctx context.Context, pod string, lines int64) []string {
	text, err := s.client.CoreV1().Pods(systemNamespace).GetLogs(pod, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(ctx)
	if err != nil || len(text) == 0 {
		text, _ = s.client.CoreV1().Pods(systemNamespace).GetLogs(pod, &corev1.PodLogOptions{TailLines: &lines, Previous: true}).DoRaw(ctx)
	}
	var list []string
	for line := range bytes.Lines(text) {
		list = append(list, strings.TrimRight(string(line), "\n"))
	}
	return list
}

// Logs writes what a service's pods have said, each line with the node that it came from.
func (s *Services) Logs(ctx context.Context, service string, follow bool, tail int64, out io.Writer) error {
	pods, err := s.pods(ctx, service)
	if err != nil {
		return err
	}
	if len(pods) == 0 {
		return fmt.Errorf("%s: no pod of it runs", service)
	}
	return copyLogs(ctx, pods, out, func(ctx context.Context, pod string) (io.ReadCloser, error) {
		options := &corev1.PodLogOptions{Follow: follow}
		if tail >= 0 {
			options.TailLines = &tail
		}
		return s.client.CoreV1().Pods(systemNamespace).GetLogs(pod, options).Stream(ctx)
	})
}
