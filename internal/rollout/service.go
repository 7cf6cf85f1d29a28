package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pai-storage/pai-storage/internal/plural"
)

// Services of the project, in the order in which they start.
const (
	ClusterConfiguration = "cluster-configuration"
	RESTServer           = "rest-server"
	StorageManager       = "storage-manager"
	NodeAgent            = "node-agent"
)

// ServiceNames in the order in which they start. They stop in the opposite order.
var ServiceNames = []string{ClusterConfiguration, RESTServer, StorageManager, NodeAgent}

// CheckServices says which names are none of a service's, and returns the others in the order in which they start.
func CheckServices(names []string) ([]string, error) {
	var unknown []string
	for _, n := range names {
		if !slices.Contains(ServiceNames, n) {
			unknown = append(unknown, n)
		}
	}
	if len(unknown) > 0 {
		return nil, fmt.Errorf("no such service: %s; there are: %s", strings.Join(unknown, ", "), strings.Join(ServiceNames, ", "))
	}
	return slices.DeleteFunc(slices.Clone(ServiceNames), func(n string) bool { return !slices.Contains(names, n) }), nil
}

// Services starts and stops the services of one cluster.
type Services struct {
	// Note is told how it goes: a line that replaces the one before.
	Note func(service, state string)
	// Warn is told what an administrator should know although the work goes on.
	Warn func(text string)

	rest   *rest.Config
	client kubernetes.Interface
}

// Connect reaches the cluster of a kubeconfig; "" is $KUBECONFIG, else ~/.kube/config.
func Connect(kubeconfig string) (*Services, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("no way to the cluster: %s names none; give --kubeconfig FILE, or set KUBECONFIG", cmp.Or(kubeconfig, "the kubeconfig"))
	}
	if err != nil {
		return nil, fmt.Errorf("no way to the cluster: %w; give --kubeconfig FILE, or set KUBECONFIG", err)
	}
	return NewServices(config)
}

// NewServices is [Connect] for a configuration that is at hand.
func NewServices(config *rest.Config) (*Services, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Services{rest: config, client: client, Note: func(string, string) {}, Warn: func(string) {}}, nil
}

// Start brings services up with the configuration that the cluster has, and waits until they serve. A service that runs gets what has changed.
func (s *Services) Start(ctx context.Context, names []string) error {
	return s.startAs(ctx, "start", names)
}

// startAs is [Services.Start] for what the audit trail calls command.
func (s *Services) startAs(ctx context.Context, command string, names []string) error {
	p, err := s.plan(ctx, names)
	if err != nil {
		return err
	}
	for _, n := range names {
		err := s.start(ctx, n, p)
		s.record(ctx, did(command, n, err))
		if err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}

// plan finds out everything that keeps services from being started, before anything is touched.
func (s *Services) plan(ctx context.Context, names []string) (plan, error) {
	cfg, err := s.configuration(ctx)
	if err != nil {
		return plan{}, err
	}
	p, faults, err := s.match(ctx, cfg)
	if err != nil {
		return p, err
	}
	var all []error
	labels := slices.Contains(names, ClusterConfiguration) // then all have theirs by the time that they are needed
	for _, n := range names {
		var wrong []error
		switch n {
		case StorageManager:
			wrong = p.checkStorage(labels)
		case NodeAgent:
			wrong = p.checkWorkers(labels)
		case ClusterConfiguration, RESTServer:
		default:
			wrong = []error{errors.New("no such service")}
		}
		for _, err := range wrong {
			all = append(all, fmt.Errorf("%s: %w", n, err))
		}
	}
	if labels || slices.Contains(names, StorageManager) {
		all = append([]error{faults.Err()}, all...)
	}
	return p, errors.Join(all...)
}

func (s *Services) start(ctx context.Context, name string, p plan) error {
	switch name {
	case ClusterConfiguration:
		return s.labelNodes(ctx, p)
	case RESTServer:
		return s.startRESTServer(ctx, p.Configuration)
	case StorageManager:
		return s.startStorageManager(ctx, p.Configuration)
	case NodeAgent:
		return s.startNodeAgent(ctx, p.Configuration)
	}
	return errors.New("no such service")
}

// Refresh gives services that run the newest configuration. What does not run is not started.
func (s *Services) Refresh(ctx context.Context, names []string) error {
	list, err := s.Status(ctx, names)
	if err != nil {
		return err
	}
	var running []string
	for _, status := range list {
		if status.State == Stopped {
			s.Note(status.Service, "does not run")
			continue
		}
		running = append(running, status.Service)
	}
	return s.startAs(ctx, "refresh", running)
}

// Stop ends services, the last one first, and waits until their pods are gone. What they keep stays: configuration, passwords, data.
func (s *Services) Stop(ctx context.Context, names []string) error {
	return s.endAs(ctx, "stop", names, s.stop)
}

// Delete stops services and takes away what they were given: rights, configuration, passwords. The data stay.
func (s *Services) Delete(ctx context.Context, names []string) error {
	return s.endAs(ctx, "delete", names, func(ctx context.Context, name string) error {
		if err := s.stop(ctx, name); err != nil {
			return err
		}
		return s.takeAway(ctx, name)
	})
}

// endAs ends services, the last one first, by what the audit trail calls command. Whoever may not ask for their pods cannot wait for their end: then
// nothing is touched.
func (s *Services) endAs(ctx context.Context, command string, names []string, end func(context.Context, string) error) error {
	var wrong []error
	for _, n := range names {
		if _, err := s.pods(ctx, n); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", n, err))
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	for _, n := range slices.Backward(names) {
		err := end(ctx, n)
		s.record(ctx, did(command, n, err))
		if err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
	}
	return nil
}

func (s *Services) stop(ctx context.Context, name string) error {
	switch name {
	case ClusterConfiguration:
		s.Note(name, "nothing of it runs: the nodes keep their labels")
	case RESTServer:
		return s.remove(ctx, name, "Deployment")
	case StorageManager, NodeAgent:
		return s.remove(ctx, name, "DaemonSet")
	}
	return nil
}

func (s *Services) takeAway(ctx context.Context, name string) error {
	switch name {
	case ClusterConfiguration:
		return s.unlabelNodes(ctx)
	case RESTServer:
		return s.deleteRESTServer(ctx)
	case StorageManager:
		return s.deleteStorageManager(ctx)
	case NodeAgent:
		return s.deleteNodeAgent(ctx)
	}
	return nil
}

// systemNamespace is where the services are.
const systemNamespace = "pai-system"

// remove deletes a workload and waits for its pods' end.
func (s *Services) remove(ctx context.Context, name, kind string) error {
	foreground := metav1.DeletePropagationForeground
	options := metav1.DeleteOptions{PropagationPolicy: &foreground}
	var err error
	if kind == "DaemonSet" {
		err = s.client.AppsV1().DaemonSets(systemNamespace).Delete(ctx, name, options)
	} else {
		err = s.client.AppsV1().Deployments(systemNamespace).Delete(ctx, name, options)
	}
	if absent(err) {
		s.Note(name, "does not run")
		return nil
	}
	if err != nil {
		return err
	}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		pods, err := s.pods(ctx, name)
		if err != nil {
			return err
		}
		if len(pods) == 0 {
			s.Note(name, "stopped")
			return nil
		}
		s.Note(name, fmt.Sprintf("waiting for the end of %s", plural.Of(len(pods), "pod")))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: pod %s on %s does not end; its node may be away", context.Cause(ctx), pods[0].Name, pods[0].Spec.NodeName)
		}
	}
}
