package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// States of a service.
const (
	Stopped  = "stopped"
	Starting = "starting"
	Running  = "running"
	Degraded = "degraded" // it serves, but not everywhere, or not as its newest configuration says
)

// ServiceStatus is how a service is.
type ServiceStatus struct {
	Service string      `json:"service"`
	State   string      `json:"state"`
	Ready   int         `json:"ready"`
	Wanted  int         `json:"wanted"`
	Reason  string      `json:"reason,omitempty"` // why it is not running
	Pods    []PodStatus `json:"pods"`
}

// Where are the nodes that it runs on, for people.
func (s ServiceStatus) Where() string {
	var nodes []string
	for _, p := range s.Pods {
		if !slices.Contains(nodes, p.Node) {
			nodes = append(nodes, p.Node)
		}
	}
	slices.Sort(nodes)
	if more := len(nodes) - 5; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(nodes[:5], ", "), more)
	}
	return strings.Join(nodes, ", ")
}

// Status of services, in the order of their names.
func (s *Services) Status(ctx context.Context, names []string) ([]ServiceStatus, error) {
	var list []ServiceStatus
	for _, n := range names {
		var status ServiceStatus
		var err error
		switch n {
		case ClusterConfiguration:
			status, err = s.rolesStatus(ctx)
		default:
			status, err = s.workloadStatus(ctx, n)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		list = append(list, status)
	}
	return list, nil
}

// rolesStatus counts the nodes that have a role.
func (s *Services) rolesStatus(ctx context.Context) (ServiceStatus, error) {
	status := ServiceStatus{Service: ClusterConfiguration, State: Stopped, Reason: "no node has a role"}
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return status, err
	}
	for _, n := range nodes.Items {
		for label := range roles {
			if n.Labels[label] == "true" {
				status.Ready++
				break
			}
		}
	}
	if status.Wanted = status.Ready; status.Ready > 0 {
		status.State, status.Reason = Running, ""
	}
	return status, nil
}

func (s *Services) workloadStatus(ctx context.Context, name string) (ServiceStatus, error) {
	status := ServiceStatus{Service: name, State: Stopped}
	labelled, kept := 0, []string(nil)
	switch name {
	case RESTServer:
		d, err := s.client.AppsV1().Deployments(systemNamespace).Get(ctx, name, metav1.GetOptions{})
		if absent(err) {
			return status, nil
		}
		if err != nil {
			return status, err
		}
		status.Wanted = int(d.Status.Replicas)
	default:
		d, err := s.client.AppsV1().DaemonSets(systemNamespace).Get(ctx, name, metav1.GetOptions{})
		if absent(err) {
			return status, nil
		}
		if err != nil {
			return status, err
		}
		status.Wanted = int(d.Status.DesiredNumberScheduled)
		if labelled, kept, err = s.placement(ctx, d); err != nil {
			return status, err
		}
	}
	pods, err := s.podStatuses(ctx, name)
	if err != nil {
		return status, err
	}
	status.Pods = pods
	var reasons []string
	for _, p := range pods {
		if p.Ready {
			status.Ready++
			continue
		}
		reasons = append(reasons, p.Node+": "+p.Reason)
	}
	switch name {
	case StorageManager:
		reasons = append(reasons, s.storageFaults(ctx, pods)...)
	case NodeAgent:
		faults, err := s.agentFaults(ctx, pods, time.Now())
		if err != nil {
			return status, err
		}
		reasons = append(reasons, faults...)
	}
	reasons = append(reasons, kept...)
	status.Reason = strings.Join(reasons, "; ")
	switch {
	case status.Wanted == 0 && len(kept) > 0:
		status.State = Degraded
	case status.Wanted == 0 && labelled > 0:
		status.State, status.Reason = Starting, "Kubernetes has not looked at it yet"
	case status.Wanted == 0 && name == RESTServer:
		status.State, status.Reason = Starting, cmp.Or(status.Reason, "it has no pods yet")
	case status.Wanted == 0:
		status.State, status.Reason = Degraded, `no node has the role that it needs; see "paictl service start -n `+ClusterConfiguration+`"`
	case status.Ready == 0:
		status.State = Starting
	case status.Ready < status.Wanted || status.Reason != "":
		status.State = Degraded
	default:
		status.State = Running
	}
	return status, nil
}

// placement tells how many nodes a service's pods are meant for, and which of these keep them away by a taint.
func (s *Services) placement(ctx context.Context, d *appsv1.DaemonSet) (labelled int, kept []string, err error) {
	pod := d.Spec.Template.Spec
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(pod.NodeSelector).String()})
	if err != nil {
		return 0, nil, err
	}
	for _, n := range nodes.Items {
		for _, t := range n.Spec.Taints {
			// Those of Kubernetes itself come and go, and a DaemonSet's pods tolerate them.
			if t.Effect == corev1.TaintEffectPreferNoSchedule || strings.HasPrefix(t.Key, "node.kubernetes.io/") || tolerated(pod.Tolerations, t) {
				continue
			}
			kept = append(kept, fmt.Sprintf("%s has the taint %s, which keeps its pods away: \"paictl service start -n %s\" has them tolerate it, or take it away (kubectl taint nodes %s %s:%s-)",
				n.Name, t.ToString(), d.Name, n.Name, t.Key, t.Effect))
		}
	}
	return len(nodes.Items), kept, nil
}

// tolerated tells whether pods with these tolerations may run on a node with this taint.
func tolerated(tolerations []corev1.Toleration, t corev1.Taint) bool {
	return slices.ContainsFunc(tolerations, func(o corev1.Toleration) bool {
		exists := o.Operator == corev1.TolerationOpExists
		return (o.Effect == "" || o.Effect == t.Effect) && (o.Key == t.Key || o.Key == "" && exists) && (exists || o.Value == t.Value)
	})
}

// StorageServer is what one storage manager says of itself.
type StorageServer struct {
	Pod    string          `json:"pod"`
	Node   string          `json:"node"`
	Fault  string          `json:"fault,omitempty"` // why it says nothing
	Status json.RawMessage `json:"status,omitempty"`
}

// StorageServers asks every storage manager.
func (s *Services) StorageServers(ctx context.Context) ([]StorageServer, error) {
	pods, err := s.podStatuses(ctx, StorageManager)
	if err != nil {
		return nil, err
	}
	list := make([]StorageServer, 0, len(pods))
	for _, p := range pods {
		server := StorageServer{Pod: p.Pod, Node: p.Node}
		text, err := s.execute(ctx, p.Pod, "storage-manager", "status")
		if err != nil {
			server.Fault = err.Error()
			if !p.Ready {
				server.Fault = p.Reason + ": " + server.Fault
			}
		} else {
			server.Status = json.RawMessage(text)
		}
		list = append(list, server)
	}
	return list, nil
}

// AwaitStorageServers waits until every storage manager answers for itself and says that its servers do, where there are any: after the
// machines were off, the cluster still has their last words. It returns how many there are.
func (s *Services) AwaitStorageServers(ctx context.Context) (int, error) {
	d, err := s.client.AppsV1().DaemonSets(systemNamespace).Get(ctx, StorageManager, metav1.GetOptions{})
	if absent(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	want := int(d.Status.DesiredNumberScheduled)
	switch labelled, kept, err := s.placement(ctx, d); {
	case err != nil:
		return 0, err
	case len(kept) == 0:
		want = max(want, labelled) // Kubernetes may not have counted the nodes yet
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		waiting := "no pod of it runs"
		servers, err := s.StorageServers(ctx)
		if err == nil && len(servers) >= want {
			waiting = ""
			for _, server := range servers {
				if fault := server.notServing(); fault != "" {
					waiting = server.Node + ": " + fault
				}
			}
		}
		if waiting == "" {
			return want, nil
		}
		s.Note(StorageManager, waiting)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return want, fmt.Errorf("%w: %s", context.Cause(ctx), waiting)
		}
	}
}

// notServing is why a storage server does not serve; "" when it does.
func (s StorageServer) notServing() string {
	if s.Fault != "" {
		return s.Fault
	}
	var said struct {
		Servers []struct {
			Name, Reason string
			Healthy      bool
		}
	}
	if err := json.Unmarshal(s.Status, &said); err != nil {
		return err.Error()
	}
	for _, server := range said.Servers {
		if !server.Healthy {
			return server.Name + ": " + server.Reason
		}
	}
	return ""
}

// storageFaults are what running storage managers complain about.
func (s *Services) storageFaults(ctx context.Context, pods []PodStatus) []string {
	var faults []string
	for _, p := range pods {
		text, err := s.execute(ctx, p.Pod, "storage-manager", "status")
		if err != nil {
			continue
		}
		var said struct {
			Fault  string
			Domain *struct {
				Joined bool
				Reason string
			}
		}
		if json.Unmarshal(text, &said) != nil {
			continue
		}
		if said.Fault != "" {
			faults = append(faults, p.Node+": the newest configuration is not in use: "+said.Fault)
		}
		if said.Domain != nil && !said.Domain.Joined {
			faults = append(faults, p.Node+": not in the domain: "+said.Domain.Reason)
		}
	}
	return faults
}
