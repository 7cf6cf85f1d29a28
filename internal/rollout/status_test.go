package rollout

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/pai-storage/pai-storage/deploy"
)

// TestStatusWithoutPods: a status says whether a role or a taint is why a service has no pod.
func TestStatusWithoutPods(t *testing.T) {
	gpu := corev1.Taint{Key: "nvidia.com/gpu", Value: "present", Effect: corev1.TaintEffectNoSchedule}
	cordoned := corev1.Taint{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}
	for name, c := range map[string]struct {
		labels      map[string]string
		taints      []corev1.Taint
		tolerations []corev1.Toleration
		state, want string
	}{
		"no role":           {nil, []corev1.Taint{gpu}, nil, Degraded, "no node has the role"},
		"a taint":           {map[string]string{"pai-storage": "true"}, []corev1.Taint{gpu}, nil, Degraded, "worker1 has the taint nvidia.com/gpu=present:NoSchedule"},
		"another value":     {map[string]string{"pai-storage": "true"}, []corev1.Taint{gpu}, []corev1.Toleration{{Key: gpu.Key, Value: "absent"}}, Degraded, "kubectl taint nodes worker1 nvidia.com/gpu:NoSchedule-"},
		"a tolerated taint": {map[string]string{"pai-storage": "true"}, []corev1.Taint{gpu, cordoned}, []corev1.Toleration{{Operator: corev1.TolerationOpExists}}, Starting, "not looked at it yet"},
		"its value":         {map[string]string{"pai-storage": "true"}, []corev1.Taint{gpu}, []corev1.Toleration{{Key: gpu.Key, Value: "present"}}, Starting, "not looked at it yet"},
	} {
		d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: StorageManager}}
		d.Spec.Template.Spec.NodeSelector, d.Spec.Template.Spec.Tolerations = map[string]string{"pai-storage": "true"}, c.tolerations
		s, _ := services(t, d, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1", Labels: c.labels}, Spec: corev1.NodeSpec{Taints: c.taints}})
		list, err := s.Status(t.Context(), []string{StorageManager})
		if err != nil || list[0].State != c.state || !strings.Contains(list[0].Reason, c.want) {
			t.Errorf("%s: %+v, %v", name, list, err)
		}
	}
}

// TestTaintsOfNodes: layout.yaml says where the services for nodes run, whatever these are tainted with.
func TestTaintsOfNodes(t *testing.T) {
	for name, manifest := range map[string][]byte{StorageManager: deploy.StorageManager, NodeAgent: deploy.NodeAgent} {
		var d appsv1.DaemonSet
		if err := yaml.Unmarshal(manifest, &d); err != nil || d.Kind != "DaemonSet" {
			t.Fatalf("%s: %s, %v", name, d.Kind, err)
		}
		for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
			if !tolerated(d.Spec.Template.Spec.Tolerations, corev1.Taint{Key: "anything", Value: "at-all", Effect: effect}) {
				t.Errorf("%s does not tolerate %s", name, effect)
			}
		}
	}
}

// TestLastWords: a pod that does not come up is explained by what its program said at its end, and not by the pause that Kubernetes makes.
func TestLastWords(t *testing.T) {
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "the disk is missing\n"}}
	silent := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}
	waits := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"}}
	runs := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, c := range map[string]struct {
		now, last corev1.ContainerState
		want      string
	}{
		"waits":             {waits, ended, "the disk is missing"},
		"waits, was silent": {waits, silent, "CrashLoopBackOff back-off 10s"},
		"has ended":         {ended, corev1.ContainerState{}, "the disk is missing"},
		"ended silently":    {silent, corev1.ContainerState{}, "ended with exit status 1"},
		"starts again":      {runs, ended, "starts again; it ended before: the disk is missing"},
		"starts":            {runs, corev1.ContainerState{}, "starts"},
	} {
		p := corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: c.now, LastTerminationState: c.last}}}}
		if got := podStatus(p).Reason; got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestTryAgain: starting a service starts at once what Kubernetes lets wait, and nothing else.
func TestTryAgain(t *testing.T) {
	pod := func(name string, state corev1.ContainerState) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name, UID: types.UID(name), Labels: map[string]string{"app.kubernetes.io/name": StorageManager}},
			Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: state}}}}
	}
	s, _ := services(t, pod("stuck", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}),
		pod("made", corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}), pod("runs", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}))
	if err := s.tryAgain(t.Context(), StorageManager); err != nil {
		t.Fatal(err)
	}
	pods, err := s.pods(t.Context(), StorageManager)
	if err != nil || len(pods) != 2 || pods[0].Name != "made" || pods[1].Name != "runs" {
		t.Errorf("left are %v, %v", pods, err)
	}
}

// TestStorageServersAreWaitedFor: nodes that are to serve count before Kubernetes has counted them.
func TestStorageServersAreWaitedFor(t *testing.T) {
	role := map[string]string{"pai-storage": "true"}
	taint := []corev1.Taint{{Key: "nvidia.com/gpu", Effect: corev1.TaintEffectNoSchedule}}
	for name, c := range map[string]struct {
		labels map[string]string
		taints []corev1.Taint
		want   int
		fault  string
	}{
		"no role":         {nil, nil, 0, ""},
		"a role":          {role, nil, 1, "no pod of it runs"},
		"a role, a taint": {role, taint, 0, ""},
	} {
		d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: StorageManager}}
		d.Spec.Template.Spec.NodeSelector = role
		s, _ := services(t, d, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker1", Labels: c.labels}, Spec: corev1.NodeSpec{Taints: c.taints}})
		s.Note = func(string, string) {}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		got, err := s.AwaitStorageServers(ctx)
		cancel()
		if got != c.want || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}
