package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/fileserver"
	"github.com/pai-storage/pai-storage/internal/kube"
)

// defaultNFSVersion is what servers are asked in that a volume says nothing about.
const defaultNFSVersion = 4

// askServer asks a file server whether it is there.
func askServer(ctx context.Context, s kube.Server) error {
	if s.Kind != pai.StorageNFS {
		return fileserver.ReachTCP(ctx, s.Address)
	}
	err := fileserver.ReachNFS(ctx, s.Address, cmp.Or(s.Version, defaultNFSVersion))
	if errors.Is(err, fileserver.ErrVersion) {
		return fmt.Errorf("%w: %w", kube.ErrVersion, err)
	}
	return err
}
