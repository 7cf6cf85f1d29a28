package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

func TestReadVirtualClusters(t *testing.T) {
	for text, fault := range map[string]string{
		"research: {cpu: 64, memoryMB: 1024, gpu: 8}": "",
		"research: {cpus: 64}":                        "unknown field",
		"research: {cpu: -1}":                         "less than nothing",
		"research: {cpu: many}":                       "cannot unmarshal",
		"[research]":                                  "cannot unmarshal",
	} {
		file := filepath.Join(t.TempDir(), "vc.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readVirtualClusters(file)
		if fault == "" {
			if err != nil || got["research"] != (pai.Quantity{CPU: 64, MemoryMB: 1024, GPU: 8}) {
				t.Errorf("%s: got %+v, %v", text, got, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: got %v, want %q", text, err, fault)
		}
	}
}
