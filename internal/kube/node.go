package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// lastApplied is where kubectl keeps a copy of the whole object, secrets included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// slimPod drops from a pod what nobody here reads, and what looks like a secret.
func slimPod(obj any) (any, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil // a tombstone
	}
	p.ManagedFields = nil
	delete(p.Annotations, lastApplied)
	withholdInPod(&p.Spec)
	return p, nil
}

func slimNode(obj any) (any, error) {
	if n, ok := obj.(*corev1.Node); ok {
		n.ManagedFields = nil
		delete(n.Annotations, lastApplied)
	}
	return obj, nil
}

// node is what we keep of a worker.
type node struct {
	name     string
	host     string // its label kubernetes.io/hostname, which volumes go by; mostly the same as its name
	ready    bool   // and takes tasks
	worker   bool   // by its label
	created  time.Time
	capacity pai.Quantity
	has      amounts // the same, exactly
	fact     doctor.Node
}

func parseNode(obj any) (node, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return node{}, fmt.Errorf("expected a Node, got %T", obj)
	}
	out := node{name: n.Name, host: cmp.Or(n.Labels[corev1.LabelHostname], n.Name), worker: n.Labels["pai-worker"] == "true"}
	out.created, out.capacity, out.has = n.CreationTimestamp.Time, quantityOf(n.Status.Allocatable), amountsOf(n.Status.Allocatable)
	out.fact = doctor.Node{Name: n.Name, Cordoned: n.Spec.Unschedulable, Reason: "it has not reported yet"}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.fact.Ready = c.Status == corev1.ConditionTrue
			out.fact.Reason, out.fact.Since = c.Message, c.LastTransitionTime.Time
		}
	}
	out.ready = out.fact.Ready && !out.fact.Cordoned
	for label, value := range n.Labels {
		t, ok := strings.CutPrefix(label, specs.CanMountLabel)
		switch {
		case ok && value == "true":
			setType(&out.fact.CanMount, t)
		case ok && value == "false":
			setType(&out.fact.CannotMount, t)
		}
	}
	return out, nil
}

func setType(set *map[pai.StorageType]bool, t string) {
	if *set == nil {
		*set = map[pai.StorageType]bool{}
	}
	(*set)[pai.StorageType(t)] = true
}

// drivers are the CSI drivers that have registered with a worker.
type drivers struct{ names []string }

func parseDrivers(obj any) (drivers, error) {
	n, ok := obj.(*storagev1.CSINode)
	if !ok {
		return drivers{}, fmt.Errorf("expected a CSINode, got %T", obj)
	}
	var out drivers
	for _, d := range n.Spec.Drivers {
		out.names = append(out.names, d.Name)
	}
	return out, nil
}

// quantityOf reads what a list of Kubernetes resources has of what we know. Parts of a core count up.
func quantityOf(list corev1.ResourceList) pai.Quantity {
	gpu := list[specs.GPUResource]
	return pai.Quantity{CPU: list.Cpu().Value(), MemoryMB: list.Memory().Value() >> 20, GPU: gpu.Value()}
}

// amounts are resources exactly as Kubernetes counts them.
type amounts struct{ milliCPU, memory, gpu int64 }

func amountsOf(list corev1.ResourceList) amounts {
	gpu := list[specs.GPUResource]
	return amounts{list.Cpu().MilliValue(), list.Memory().Value(), gpu.Value()}
}

func (a amounts) plus(b amounts) amounts {
	return amounts{a.milliCPU + b.milliCPU, a.memory + b.memory, a.gpu + b.gpu}
}

// otherPod is what we keep of a pod that is no task.
type otherPod struct {
	node string
	asks amounts // nothing, once it has ended
}

func parseOtherPod(obj any) (otherPod, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return otherPod{}, fmt.Errorf("expected a Pod, got %T", obj)
	}
	out := otherPod{node: p.Spec.NodeName}
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return out, nil
	}
	for _, c := range p.Spec.Containers {
		out.asks = out.asks.plus(amountsOf(c.Resources.Requests))
	}
	return out, nil
}

// room is what a worker has for tasks: what it has less what other pods on it ask for, in whole cores.
func (c *Cluster) room(n node) pai.Quantity {
	left := n.has
	for _, p := range c.others.in(n.name) {
		left = left.plus(amounts{-p.asks.milliCPU, -p.asks.memory, -p.asks.gpu})
	}
	return pai.Quantity{CPU: max(left.milliCPU, 0) / 1000, MemoryMB: max(left.memory, 0) >> 20, GPU: max(left.gpu, 0)}
}

// Nodes is the workers as Kubernetes describes them. The guard decides who may.
func (c *Cluster) Nodes(context.Context) (json.RawMessage, error) {
	list := corev1.NodeList{TypeMeta: metav1.TypeMeta{Kind: "NodeList", APIVersion: "v1"}, Items: []corev1.Node{}}
	for _, obj := range c.rawNodes.List() {
		if n, ok := obj.(*corev1.Node); ok {
			list.Items = append(list.Items, *n)
		}
	}
	slices.SortFunc(list.Items, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return json.Marshal(list)
}

// Pods is the pods as Kubernetes describes them, of one namespace or of all for "". The guard decides who may.
func (c *Cluster) Pods(_ context.Context, namespace string) (json.RawMessage, error) {
	objects := c.rawPods.List()
	if namespace != "" {
		var err error
		if objects, err = c.rawPods.ByIndex(cache.NamespaceIndex, namespace); err != nil {
			return nil, fmt.Errorf("pods of namespace %s: %w", namespace, err)
		}
	}
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, obj := range objects {
		if p, ok := obj.(*corev1.Pod); ok {
			list.Items = append(list.Items, *p)
		}
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return json.Marshal(list)
}
