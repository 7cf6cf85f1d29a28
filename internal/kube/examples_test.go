package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
)

// TestExamples: each file of examples/storages is a volume of the type that its name says, and a claim that it can be bound to.
func TestExamples(t *testing.T) {
	kinds := map[string]pai.StorageType{"samba": pai.StorageSamba, "azure-blob": pai.StorageAzureBlob, "azure-file": pai.StorageAzureFile, "s3": pai.StorageS3, "hostpath": pai.StorageHostPath}
	files, err := filepath.Glob("../../examples/storages/*.yaml")
	if err != nil || len(files) < len(kinds) {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, second, _ := strings.Cut(string(text), "\n---\n")
		var pv corev1.PersistentVolume
		var pvc corev1.PersistentVolumeClaim
		if err := yaml.UnmarshalStrict([]byte(first), &pv); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if err := yaml.UnmarshalStrict([]byte(second), &pvc); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		v, err := parseVolume(&pv)
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		if want := kinds[strings.TrimSuffix(strings.TrimSuffix(name, "-csi"), "-flexvolume")]; err != nil || v.kind != want {
			t.Errorf("%s: got %s, %v, want %s", file, v.kind, err, want)
		}
		if v.driver != "" && v.secretName == "" {
			t.Errorf("%s has no Secret", file)
		}
		if pvc.Spec.Selector == nil || pvc.Spec.Selector.MatchLabels["name"] != pv.Labels["name"] || pvc.Spec.Resources.Requests.Storage().Cmp(*pv.Spec.Capacity.Storage()) > 0 {
			t.Errorf("%s: the claim does not find its volume", file)
		}
	}
}
