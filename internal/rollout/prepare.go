package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// Preparation is what a worker lacks to mount storages, and how it gets it.
type Preparation struct {
	Node     string    `json:"node"`
	OS       string    `json:"os"`
	Kernel   string    `json:"kernel"`
	Reported time.Time `json:"reported"` // when its agent said what it has
	Lacks    []Lack    `json:"lacks"`
	Commands []string  `json:"commands"`         // to be run as root on the worker, in this order
	Faults   []string  `json:"faults,omitempty"` // what its agent itself could not do
}

// Ready says whether the worker lacks nothing.
func (p Preparation) Ready() bool { return len(p.Lacks) == 0 }

// ErrNoNode is about a node that is not there.
var ErrNoNode = errors.New("no such node")

// Preparation works out what a worker lacks by what its agent reported.
func (s *Services) Preparation(ctx context.Context, node string) (Preparation, error) {
	n, err := s.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if absent(err) {
		return Preparation{}, fmt.Errorf("%w in this cluster: %s; see: paictl node list", ErrNoNode, node)
	}
	if err != nil {
		return Preparation{}, err
	}
	report, err := s.report(ctx, node)
	if err != nil {
		return Preparation{}, err
	}
	info := n.Status.NodeInfo
	p := Preparation{Node: node, OS: info.OSImage, Kernel: info.KernelVersion, Reported: report.Time, Faults: report.Faults}
	p.Lacks = lacks(report.Facts, info.OSImage, info.KernelVersion)
	p.Commands = commands(p.Lacks, info.OSImage)
	return p, nil
}

// report is what a node's agent said last.
func (s *Services) report(ctx context.Context, node string) (storagecheck.Report, error) {
	var report storagecheck.Report
	m, err := s.client.CoreV1().ConfigMaps(storagecheck.ReportNamespace).Get(ctx, node, metav1.GetOptions{})
	if absent(err) {
		return report, fmt.Errorf("the agent of node %s has not reported what the node has; see whether it runs: paictl service status -n %s", node, NodeAgent)
	}
	if err != nil {
		return report, err
	}
	if err := json.Unmarshal([]byte(m.Data[storagecheck.ReportKey]), &report); err != nil {
		return report, fmt.Errorf("report of node %s: %w; its agent writes a new one within five minutes", node, err)
	}
	return report, nil
}

// Prepare runs a preparation's commands on its worker, copies what they print to out, and waits until the worker's agent finds what was
// lacking. It returns what the worker lacks then, which no command can bring.
func (s *Services) Prepare(ctx context.Context, p Preparation, out io.Writer) (Preparation, error) {
	if len(p.Commands) == 0 {
		return p, nil
	}
	agent, err := s.client.AppsV1().DaemonSets(systemNamespace).Get(ctx, NodeAgent, metav1.GetOptions{})
	if absent(err) {
		return p, fmt.Errorf("the service %s, in whose image the commands run, is not there; start it: paictl service start -n %s", NodeAgent, NodeAgent)
	}
	if err != nil {
		return p, err
	}
	pod := preparePod(p, agent.Spec.Template.Spec)
	if deadline, ok := ctx.Deadline(); ok {
		seconds := max(int64(time.Until(deadline).Seconds()), 1)
		pod.Spec.ActiveDeadlineSeconds = &seconds
	}
	err = s.runPod(ctx, pod, out)
	s.record(ctx, prepared(p, err))
	if err != nil {
		return p, fmt.Errorf("prepare %s: %w", p.Node, err)
	}
	return s.awaitPrepared(ctx, p)
}

// preparePod runs the commands in the namespaces of the machine's first process, as if somebody had typed them there.
func preparePod(p Preparation, agent corev1.PodSpec) *corev1.Pod {
	no, yes := false, true
	script := strings.Join(p.Commands, "\n")
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "node-prepare-" + p.Node, Labels: map[string]string{"app.kubernetes.io/name": "node-prepare"}},
		Spec: corev1.PodSpec{
			NodeName: p.Node, HostPID: true, HostNetwork: true, DNSPolicy: corev1.DNSDefault, RestartPolicy: corev1.RestartPolicyNever,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no, ImagePullSecrets: agent.ImagePullSecrets,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "prepare", Image: agent.Containers[0].Image, ImagePullPolicy: agent.Containers[0].ImagePullPolicy,
				Command:         []string{"nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--", "/bin/sh", "-exc", script},
				SecurityContext: &corev1.SecurityContext{Privileged: &yes},
			}},
		},
	}
}

// runPod creates a pod, copies its log until it ends, and deletes it, whatever happens.
func (s *Services) runPod(ctx context.Context, pod *corev1.Pod, out io.Writer) (err error) {
	pods := s.client.CoreV1().Pods(pod.Namespace)
	if old, err := pods.Get(ctx, pod.Name, metav1.GetOptions{}); err == nil && ended(old) {
		now := int64(0)
		if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !absent(err) {
			return err
		}
	}
	_, err = pods.Create(ctx, pod, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("somebody does already; see: kubectl -n %s logs %s", pod.Namespace, pod.Name)
	}
	if err != nil {
		return err
	}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if gone := pods.Delete(late, pod.Name, metav1.DeleteOptions{}); gone != nil && !absent(gone) {
			err = errors.Join(err, fmt.Errorf("pod %s is left: %w", pod.Name, gone))
		}
	}()
	if _, err := s.awaitPod(ctx, pod.Name, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning || ended(p) }); err != nil {
		return err
	}
	logs, err := pods.GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("what the commands print: %w", err)
	}
	defer logs.Close()
	if _, err := io.Copy(out, logs); err != nil {
		return fmt.Errorf("what the commands print: %w", err)
	}
	last, err := s.awaitPod(ctx, pod.Name, ended)
	if err != nil {
		return err
	}
	if last.Status.Phase != corev1.PodSucceeded {
		return fmt.Errorf("the commands %s; what they printed says why", podStatus(*last).Reason)
	}
	return nil
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// awaitPod waits until a pod is as it shall be.
func (s *Services) awaitPod(ctx context.Context, name string, enough func(*corev1.Pod) bool) (*corev1.Pod, error) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		pod, err := s.client.CoreV1().Pods(systemNamespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		if enough(pod) {
			return pod, nil
		}
		s.Note(pod.Spec.NodeName, podStatus(*pod).Reason)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s", context.Cause(ctx), podStatus(*pod).Reason)
		}
	}
}

// awaitPrepared waits until the agent has found all that commands bring. Agents look every few seconds.
func (s *Services) awaitPrepared(ctx context.Context, p Preparation) (Preparation, error) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := s.Preparation(ctx, p.Node)
		if err != nil && ctx.Err() == nil {
			return p, err
		}
		if err == nil {
			if p = now; len(p.Commands) == 0 {
				return p, nil
			}
		}
		s.Note(p.Node, "the commands ran; waiting for its agent to find what they brought")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p, fmt.Errorf("%w: the commands ran, and the agent of %s does not find %s; see: paictl service logs -n %s", context.Cause(ctx), p.Node, whats(p.Lacks), NodeAgent)
		}
	}
}

func whats(list []Lack) string {
	var names []string
	for _, l := range list {
		names = append(names, l.What)
	}
	return strings.Join(names, ", ")
}
