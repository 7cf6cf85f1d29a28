package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/plural"
)

// roles are the labels that layout.yaml gives to nodes, under the names that it has for them.
var roles = map[string]func(clusterconfig.Machine) bool{
	"pai-master":  func(m clusterconfig.Machine) bool { return m.Master },
	"pai-worker":  func(m clusterconfig.Machine) bool { return m.Worker },
	"pai-storage": func(m clusterconfig.Machine) bool { return m.Storage },
}

// plan is a configuration and what it comes to in this cluster.
type plan struct {
	clusterconfig.Configuration
	nodes   []corev1.Node
	machine map[string]clusterconfig.Machine // by the node that it is
}

// match finds out which nodes the machines of layout.yaml are: by the name, in any case, by an address in its place, else by hostip. What is
// no node, or a second machine for one, is a fault. Masters of an original cluster run no kubelet in some set-ups.
func (s *Services) match(ctx context.Context, cfg clusterconfig.Configuration) (plan, *clusterconfig.Faults, error) {
	p, faults := plan{Configuration: cfg, machine: map[string]clusterconfig.Machine{}}, &clusterconfig.Faults{}
	list, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return p, faults, err
	}
	p.nodes = list.Items
	var names []string
	for _, n := range p.nodes {
		names = append(names, n.Name)
	}
	for _, m := range cfg.Machines {
		node := nodeOf(m, p.nodes)
		switch other, taken := p.machine[node]; {
		case node == "" && (m.Worker || m.Storage):
			faults.Add(m.Fault("nodename", "machine %s of layout.yaml is no node of this cluster, by its name or its hostip %s: correct its nodename, or join it; there are: %s",
				m.NodeName, m.Address, cmp.Or(strings.Join(names, ", "), "none")))
		case node == "":
		case taken:
			faults.Add(m.Fault("nodename", "machine %s is the node %s, and so is %s: take one of them away, or correct it", m.HostName, node, other.HostName))
		default:
			p.machine[node] = m
		}
	}
	return p, faults, s.checkClients(ctx, p, faults)
}

// checkClients refuses clients of the NFS server that are pods: whoever runs a job would read and write everybody's files. Where pods are is
// what the nodes say, and the pods themselves, since some networks give nodes no range.
func (s *Services) checkClients(ctx context.Context, p plan, faults *clusterconfig.Faults) error {
	if p.StorageManager == nil || len(p.StorageManager.NFSAllowedClients) == 0 {
		return nil
	}
	var where []netip.Prefix
	for _, n := range p.nodes {
		for _, text := range append(slices.Clone(n.Spec.PodCIDRs), n.Spec.PodCIDR) {
			if network, err := netip.ParsePrefix(text); err == nil {
				where = append(where, network)
			}
		}
	}
	pods, err := s.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("nfs-allowed-clients: where are the pods? %w", err)
	}
	for _, pod := range pods.Items {
		for _, ip := range append(slices.Clone(pod.Status.PodIPs), corev1.PodIP{IP: pod.Status.PodIP}) {
			if address, err := netip.ParseAddr(ip.IP); err == nil && !pod.Spec.HostNetwork {
				where = append(where, netip.PrefixFrom(address, address.BitLen()))
			}
		}
	}
	for _, client := range p.StorageManager.NFSAllowedClients {
		if i := slices.IndexFunc(where, client.Overlaps); i >= 0 {
			faults.Add(p.ClientFault(client, "nfs-allowed-clients: %s has addresses of pods (%s), so that every job could read and write everybody's files: name machines alone", client, where[i]))
		}
	}
	return nil
}

// nodeOf is the name of the node that a machine is, or "".
func nodeOf(m clusterconfig.Machine, nodes []corev1.Node) string {
	named, _ := netip.ParseAddr(m.NodeName)
	for _, is := range []func(corev1.Node) bool{
		func(n corev1.Node) bool { return strings.EqualFold(n.Name, m.NodeName) },
		func(n corev1.Node) bool { return hasAddress(n, named) },
		func(n corev1.Node) bool { return hasAddress(n, m.Address) },
	} {
		if i := slices.IndexFunc(nodes, is); i >= 0 {
			return nodes[i].Name
		}
	}
	return ""
}

func hasAddress(n corev1.Node, address netip.Addr) bool {
	return address.IsValid() && slices.ContainsFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool {
		has, err := netip.ParseAddr(a.Address)
		return err == nil && has == address && (a.Type == corev1.NodeInternalIP || a.Type == corev1.NodeExternalIP)
	})
}

// labelNodes gives the cluster's nodes the roles that layout.yaml says: the new ones first, so that nobody is without them in between.
func (s *Services) labelNodes(ctx context.Context, p plan) error {
	changed := map[string]bool{}
	for _, give := range []bool{true, false} {
		for _, n := range p.nodes {
			patch := map[string]any{}
			for label, role := range roles {
				m, known := p.machine[n.Name]
				switch want := known && role(m); {
				case give && want && n.Labels[label] != "true":
					patch[label] = "true"
				case !give && !want && n.Labels[label] != "":
					patch[label] = nil
				}
			}
			if len(patch) == 0 {
				continue
			}
			if err := s.patchLabels(ctx, n.Name, patch); err != nil {
				return err
			}
			changed[n.Name] = true
		}
	}
	s.Note(ClusterConfiguration, fmt.Sprintf("%d of %s got other labels", len(changed), plural.Of(len(p.nodes), "node")))
	return nil
}

func (s *Services) patchLabels(ctx context.Context, node string, labels map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	return err
}

// unlabelNodes takes the roles away again.
func (s *Services) unlabelNodes(ctx context.Context) error {
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var faults []error
	for _, n := range nodes.Items {
		patch := map[string]any{}
		for label := range roles {
			if n.Labels[label] != "" {
				patch[label] = nil
			}
		}
		if len(patch) > 0 {
			faults = append(faults, s.patchLabels(ctx, n.Name, patch))
		}
	}
	return errors.Join(faults...)
}

// fieldManager is the name in which objects are written.
const fieldManager = "paictl"

func absent(err error) bool { return apierrors.IsNotFound(err) }
