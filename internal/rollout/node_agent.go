package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

const (
	nodeAgentPolicy = "pai-node-agent" // the admission policy, its binding, and the ClusterRole
	workerLabel     = "pai-worker"
	canMountLabels  = "pai.storage/can-mount-"
	azureFileDriver = "file.csi.azure.com"
)

// startNodeAgent applies the node agent with its rights and waits for its pods.
func (s *Services) startNodeAgent(ctx context.Context, cfg clusterconfig.Configuration) error {
	workers, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: workerLabel + "=true"})
	if err != nil {
		return err
	}
	s.Note(NodeAgent, "applying")
	for _, manifest := range [][]byte{deploy.NodeAgentRBAC, deploy.NodeAgentPolicy, deploy.NodeAgentCSIDriver} {
		if err := kubeapply.Apply(ctx, s.rest, fieldManager, manifest); err != nil {
			return err
		}
	}
	// Where the official driver is installed the object is its own.
	if _, err := s.client.StorageV1().CSIDrivers().Get(ctx, azureFileDriver, metav1.GetOptions{}); absent(err) {
		if err := kubeapply.Apply(ctx, s.rest, fieldManager, deploy.NodeAgentAzureFile); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	objects, err := kubeapply.Decode(deploy.NodeAgent)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() != "DaemonSet" {
			continue
		}
		if err := s.setImage(o, cfg.Images[NodeAgent]); err != nil {
			return err
		}
	}
	if err := kubeapply.ApplyObjects(ctx, s.rest, fieldManager, objects); err != nil {
		return err
	}
	return s.waitFor(ctx, NodeAgent, len(workers.Items))
}

// checkWorkers is what keeps the node agent from being started. With labels, the nodes get theirs first.
func (p plan) checkWorkers(labels bool) []error {
	for _, n := range p.nodes {
		if labels && p.machine[n.Name].Worker || !labels && n.Labels[workerLabel] == "true" {
			return nil
		}
	}
	return []error{fmt.Errorf(`no node has the label of a worker: name workers in layout.yaml with pai-worker: "true", "paictl config push", and "paictl service start -n %s %s"`, ClusterConfiguration, NodeAgent)}
}

// silentAfter is how old an agent's report may be: agents report every five minutes at least.
const silentAfter = 12 * time.Minute

// agentFaults are what running node agents complain about, or that they say nothing.
func (s *Services) agentFaults(ctx context.Context, pods []PodStatus, now time.Time) ([]string, error) {
	list, err := s.client.CoreV1().ConfigMaps(storagecheck.ReportNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	said := map[string]storagecheck.Report{}
	for _, m := range list.Items {
		var report storagecheck.Report
		if json.Unmarshal([]byte(m.Data[storagecheck.ReportKey]), &report) == nil {
			said[m.Name] = report
		}
	}
	var faults []string
	for _, p := range pods {
		report, spoke := said[p.Node]
		switch {
		case !p.Ready: // the pod's own reason is told already
		case !spoke:
			faults = append(faults, p.Node+": its agent has not reported yet")
		case now.Sub(report.Time) > silentAfter:
			faults = append(faults, fmt.Sprintf("%s: its agent has not reported since %s", p.Node, report.Time.Local().Format(time.DateTime)))
		default:
			for _, f := range report.Faults {
				faults = append(faults, p.Node+": "+f)
			}
		}
	}
	return faults, nil
}

// deleteNodeAgent takes away what stopped agents leave: labels and reports, which nobody keeps true any more, and rights. What is mounted
// stays mounted.
func (s *Services) deleteNodeAgent(ctx context.Context) error {
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var faults []error
	for _, n := range nodes.Items {
		if patch := agentLabels(n); len(patch) > 0 {
			faults = append(faults, s.patchLabels(ctx, n.Name, patch))
		}
	}
	core, rights, admission := s.client.CoreV1(), s.client.RbacV1(), s.client.AdmissionregistrationV1()
	gone := metav1.DeleteOptions{}
	for _, err := range []error{
		core.ConfigMaps(storagecheck.ReportNamespace).DeleteCollection(ctx, gone, metav1.ListOptions{}),
		core.ServiceAccounts(systemNamespace).Delete(ctx, NodeAgent, gone),
		rights.RoleBindings(storagecheck.OrderNamespace).Delete(ctx, NodeAgent, gone),
		rights.Roles(storagecheck.OrderNamespace).Delete(ctx, NodeAgent, gone),
		rights.RoleBindings(storagecheck.ReportNamespace).Delete(ctx, NodeAgent, gone),
		rights.Roles(storagecheck.ReportNamespace).Delete(ctx, NodeAgent, gone),
		rights.ClusterRoleBindings().Delete(ctx, nodeAgentPolicy, gone),
		rights.ClusterRoles().Delete(ctx, nodeAgentPolicy, gone),
		admission.ValidatingAdmissionPolicyBindings().Delete(ctx, nodeAgentPolicy, gone),
		admission.ValidatingAdmissionPolicies().Delete(ctx, nodeAgentPolicy, gone),
		s.client.StorageV1().CSIDrivers().DeleteCollection(ctx, gone, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=pai-storage"}),
	} {
		if err != nil && !absent(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// agentLabels is the patch that takes an agent's labels off a node.
func agentLabels(n corev1.Node) map[string]any {
	patch := map[string]any{}
	for label := range n.Labels {
		if strings.HasPrefix(label, canMountLabels) {
			patch[label] = nil
		}
	}
	return patch
}
