package daemon

import (
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// readVirtualClusters reads the file that says what is guaranteed to which virtual cluster:
//
//	research: {cpu: 64, memoryMB: 262144, gpu: 8}
//
// Without a file nothing is: then every virtual cluster may use the whole cluster.
func readVirtualClusters(file string) (map[string]pai.Quantity, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err == nil {
		text, err = yamltext.Text(text)
	}
	if err != nil {
		return nil, fmt.Errorf("--virtual-clusters: %w", err)
	}
	var shares map[string]struct {
		CPU      int64 `json:"cpu"`
		MemoryMB int64 `json:"memoryMB"`
		GPU      int64 `json:"gpu"`
	}
	if err := yaml.UnmarshalStrict(text, &shares); err != nil {
		return nil, fmt.Errorf("--virtual-clusters: %s: %w", file, err)
	}
	out := map[string]pai.Quantity{}
	for name, share := range shares {
		if strings.TrimSpace(name) == "" || share.CPU < 0 || share.MemoryMB < 0 || share.GPU < 0 {
			return nil, fmt.Errorf("--virtual-clusters: %s: %q: a name, and amounts that are not less than nothing", file, name)
		}
		out[name] = pai.Quantity(share)
	}
	return out, nil
}
