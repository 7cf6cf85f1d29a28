package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
)

// roles are the labels that layout.yaml gives to nodes, under the names that it has for them.
var roles = map[string]func(clusterconfig.Machine) bool{
	"pai-master":  func(m clusterconfig.Machine) bool { return m.Master },
	"pai-worker":  func(m clusterconfig.Machine) bool { return m.Worker },
	"pai-storage": func(m clusterconfig.Machine) bool { return m.Storage },
}

// labelNodes gives the cluster's nodes the roles that layout.yaml says. A machine of it that is no node is a fault, which is told after the
// others have their labels.
func (s *Services) labelNodes(ctx context.Context, cfg clusterconfig.Configuration) error {
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	has := map[string]map[string]string{}
	for _, n := range nodes.Items {
		has[n.Name] = n.Labels
	}
	machines := map[string]clusterconfig.Machine{}
	var missing []string
	for _, m := range cfg.Machines {
		machines[m.NodeName] = m
		// Masters of an original cluster run no kubelet in some set-ups.
		if _, ok := has[m.NodeName]; !ok && (m.Worker || m.Storage) {
			missing = append(missing, m.NodeName)
		}
	}
	changed := 0
	for node, labels := range has {
		patch := map[string]any{}
		for label, role := range roles {
			m, known := machines[node]
			switch want := known && role(m); {
			case want && labels[label] != "true":
				patch[label] = "true"
			case !want && labels[label] != "":
				patch[label] = nil
			}
		}
		if len(patch) == 0 {
			continue
		}
		if err := s.patchLabels(ctx, node, patch); err != nil {
			return err
		}
		changed++
	}
	if len(missing) > 0 {
		return fmt.Errorf("layout.yaml names machines that are no nodes of this cluster: %s; correct their nodename, or join them", strings.Join(missing, ", "))
	}
	s.Note(ClusterConfiguration, fmt.Sprintf("%d of %d nodes got other labels", changed, len(has)))
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
