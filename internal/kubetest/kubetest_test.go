package kubetest_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pai-storage/pai-storage/internal/await"
	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// TestServerComesBack: what was written is there after the API server was killed and restarted.
func TestServerComesBack(t *testing.T) {
	server := kubetest.Run(t)
	client, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx := await.Context(t)
	want := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}, Data: map[string]string{"a": "b"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(ctx, want, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	if err := server.APIServer.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().ConfigMaps("default").Get(ctx, "kept", metav1.GetOptions{})
	if err != nil || got.Data["a"] != "b" {
		t.Fatalf("after the restart: %v, %v", got, err)
	}
	if restarts := server.APIServer.State().Restarts; restarts != 1 {
		t.Errorf("restarts = %d, want 1", restarts)
	}
}
