package rollout

import (
	"io"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/pai-storage/pai-storage/internal/kubetest"
)

// TestForbidden: somebody whose kubeconfig gives no rights is told so by each operation, and nothing changes.
func TestForbidden(t *testing.T) {
	admin := kubetest.Start(t)
	stranger := rest.CopyConfig(admin)
	stranger.Impersonate = rest.ImpersonationConfig{UserName: "mallory"}
	s, err := NewServices(stranger)
	if err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"pull":    func() error { _, err := s.Pull(t.Context()); return err },
		"push":    func() error { _, err := s.Push(t.Context(), files("canary"), "", true); return err },
		"start":   func() error { return s.Start(t.Context(), []string{StorageManager}) },
		"stop":    func() error { return s.Stop(t.Context(), []string{StorageManager}) },
		"delete":  func() error { return s.Delete(t.Context(), []string{StorageManager}) },
		"prepare": func() error { _, err := s.Preparation(t.Context(), "worker1"); return err },
		"status":  func() error { _, err := s.Status(t.Context(), ServiceNames); return err },
		"logs":    func() error { return s.Logs(t.Context(), StorageManager, false, -1, io.Discard) },
		"server":  func() error { _, err := s.StorageServers(t.Context()); return err },
	} {
		err := call()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "mallory") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	client := kubernetes.NewForConfigOrDie(admin)
	if maps, err := client.CoreV1().ConfigMaps(configurationNamespace).Get(t.Context(), configurationName, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("there is a configuration: %v, %v", maps, err)
	}
	if _, err := client.AppsV1().DaemonSets(systemNamespace).Get(t.Context(), StorageManager, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error("there is a storage manager:", err)
	}
}
