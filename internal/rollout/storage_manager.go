package rollout

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/pai-storage/pai-storage/deploy"
	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/kubeapply"
)

const (
	storageConfigMap = "storage-manager"
	storageSecret    = "storage-manager-passwords"
	storageFile      = "storage-manager.yaml"
	revisionKey      = "revision" // tells the reader whether both are of the same time
)

// startStorageManager applies the storage manager with the configuration's section and waits for its pods.
func (s *Services) startStorageManager(ctx context.Context, cfg clusterconfig.Configuration) error {
	settings := cfg.StorageManager
	section, passwords, err := settings.Section()
	if err != nil {
		return err
	}
	servers := cfg.StorageServers()
	s.Note(StorageManager, "applying")
	if err := kubeapply.Apply(ctx, s.rest, fieldManager, deploy.StorageManagerRBAC); err != nil {
		return err
	}
	revision := rand.Text()
	if err := s.giveConfiguration(ctx, section, passwords, revision); err != nil {
		return err
	}
	objects, err := kubeapply.Decode(deploy.StorageManager)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if o.GetKind() != "DaemonSet" {
			continue
		}
		if err := errors.Join(s.setImage(o, cfg.Images[StorageManager]), setLocalPath(o, settings.LocalPath)); err != nil {
			return err
		}
	}
	if err := kubeapply.ApplyObjects(ctx, s.rest, fieldManager, objects); err != nil {
		return err
	}
	if err := s.hasten(ctx, revision); err != nil {
		return err
	}
	if err := s.waitFor(ctx, StorageManager, len(servers)); err != nil {
		return err
	}
	return s.inUse(ctx, revision)
}

// hasten has the kubelets bring the new configuration into running pods now: they do when a pod changes, else within a minute or two.
func (s *Services) hasten(ctx context.Context, revision string) error {
	pods, err := s.pods(ctx, StorageManager)
	if err != nil {
		return err
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"pai.storage/revision":%q}}}`, revision)
	for _, p := range pods {
		_, err := s.client.CoreV1().Pods(systemNamespace).Patch(ctx, p.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err != nil && !absent(err) {
			return err
		}
	}
	return nil
}

// inUse waits until every storage manager has read a revision of its configuration, and says what one thinks of it.
func (s *Services) inUse(ctx context.Context, revision string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		servers, err := s.StorageServers(ctx)
		if err != nil {
			return err
		}
		waiting := ""
		for _, server := range servers {
			var said struct{ Revision, Fault string }
			switch {
			case server.Fault != "":
				waiting = server.Node + ": " + server.Fault
			case json.Unmarshal(server.Status, &said) != nil || said.Revision != revision:
				waiting = server.Node + ": has not read its newest configuration yet"
			case said.Fault != "":
				return fmt.Errorf("%s does not use the newest configuration: %s; the one before it stays in use", server.Node, said.Fault)
			}
		}
		if waiting == "" && len(servers) > 0 {
			return nil
		}
		s.Note(StorageManager, waiting)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), waiting)
		}
	}
}

// checkStorage is what keeps the storage manager from being started. With labels, the nodes get theirs first.
func (p plan) checkStorage(labels bool) (wrong []error) {
	if p.StorageManager == nil {
		wrong = append(wrong, errors.New("services-configuration.yaml has no section storage-manager: add it (or take its comment signs away), and \"paictl config push\""))
	}
	if len(p.StorageServers()) == 0 {
		wrong = append(wrong, errors.New(`no machine of layout.yaml has pai-storage: "true"; add it to a worker, and "paictl config push"`))
	}
	for _, n := range p.nodes {
		if p.machine[n.Name].Storage && !labels && n.Labels["pai-storage"] != "true" {
			wrong = append(wrong, fmt.Errorf("node %s lacks the label of a storage server: start the service %s first (paictl service start -n %s %s)",
				n.Name, ClusterConfiguration, ClusterConfiguration, StorageManager))
		}
	}
	return wrong
}

// giveConfiguration writes the section and its passwords, apart from each other.
func (s *Services) giveConfiguration(ctx context.Context, section []byte, passwords map[string]string, revision string) error {
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	labels := map[string]string{"app.kubernetes.io/name": StorageManager}
	config := v1.ConfigMap(storageConfigMap, systemNamespace).WithLabels(labels).WithData(map[string]string{storageFile: string(section), revisionKey: revision})
	if _, err := s.client.CoreV1().ConfigMaps(systemNamespace).Apply(ctx, config, options); err != nil {
		return err
	}
	data := map[string][]byte{revisionKey: []byte(revision)}
	for key, password := range passwords {
		data[key] = []byte(password)
	}
	secret := v1.Secret(storageSecret, systemNamespace).WithLabels(labels).WithType(corev1.SecretTypeOpaque).WithData(data)
	_, err := s.client.CoreV1().Secrets(systemNamespace).Apply(ctx, secret, options)
	return err
}

// setImage puts this cluster's image into a workload of one container.
func (s *Services) setImage(o *unstructured.Unstructured, image string) error {
	containers, found, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil || !found || image == "" {
		return err
	}
	for _, c := range containers {
		c.(map[string]any)["image"] = image
	}
	return unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers")
}

// setLocalPath puts the directory of the shares into the DaemonSet: at the same place in the container as on the node.
func setLocalPath(o *unstructured.Unstructured, localPath string) error {
	containers, found, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil || !found || len(containers) != 1 {
		return fmt.Errorf("the manifest of %s has not one container: %w", o.GetName(), err)
	}
	container := containers[0].(map[string]any)
	mounts := container["volumeMounts"].([]any)
	index := slices.IndexFunc(mounts, func(m any) bool { return m.(map[string]any)["name"] == "share" })
	mounts[index].(map[string]any)["mountPath"] = path.Clean(localPath)
	if err := unstructured.SetNestedSlice(o.Object, containers, "spec", "template", "spec", "containers"); err != nil {
		return err
	}
	volumes, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "volumes")
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if volume := v.(map[string]any); volume["name"] == "share" {
			volume["hostPath"].(map[string]any)["path"] = path.Clean(localPath)
		}
	}
	return unstructured.SetNestedSlice(o.Object, volumes, "spec", "template", "spec", "volumes")
}

// deleteStorageManager takes away what a stopped storage manager leaves: configuration, passwords, rights. What it serves stays on the disks.
func (s *Services) deleteStorageManager(ctx context.Context) error {
	core := s.client.CoreV1()
	faults := []error{s.deleteRights(ctx, deploy.StorageManagerRBAC)}
	for _, err := range []error{
		core.ConfigMaps(systemNamespace).Delete(ctx, storageConfigMap, metav1.DeleteOptions{}),
		core.Secrets(systemNamespace).Delete(ctx, storageSecret, metav1.DeleteOptions{}),
	} {
		if err != nil && !absent(err) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}
