package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pai-storage/pai-storage/internal/mount"
	"github.com/pai-storage/pai-storage/internal/volume"
)

// callLimit is how long a call may take: less than the two minutes that the kubelet waits.
const callLimit = 100 * time.Second

// node is the node service.
type node struct {
	csi.UnimplementedNodeServer
	options Options

	mu   sync.Mutex
	busy map[string]bool // volumes about which a call is under way
}

// begin keeps a second call about a volume away until the first ends.
func (n *node) begin(ctx context.Context, volumeID string) (limited context.Context, end func(), err error) {
	if volumeID == "" {
		return nil, nil, status.Error(codes.InvalidArgument, "volume_id: missing")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy[volumeID] {
		return nil, nil, status.Errorf(codes.Aborted, "another call about volume %s is under way", volumeID)
	}
	n.busy[volumeID] = true
	limited, cancel := context.WithTimeout(ctx, callLimit)
	return limited, func() {
		cancel()
		n.mu.Lock()
		delete(n.busy, volumeID)
		n.mu.Unlock()
	}, nil
}

func absolute(field, path string) error {
	if path == "" || !filepath.IsAbs(path) || filepath.Clean(path) != strings.TrimSuffix(path, "/") {
		return status.Errorf(codes.InvalidArgument, "%s: expected an absolute path", field)
	}
	return nil
}

func mountable(c *csi.VolumeCapability) error {
	switch {
	case c == nil:
		return status.Error(codes.InvalidArgument, "volume_capability: missing")
	case c.GetMount() == nil:
		return status.Error(codes.InvalidArgument, "volume_capability: only volumes with file systems can be mounted, no block devices")
	}
	return nil
}

// readers are access modes that write nothing.
func readers(c *csi.VolumeCapability) bool {
	mode := c.GetAccessMode().GetMode()
	return mode == csi.VolumeCapability_AccessMode_SINGLE_NODE_READER_ONLY || mode == csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
}

// NodeStageVolume mounts a volume, once for all pods of this node.
func (n *node) NodeStageVolume(ctx context.Context, r *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	ctx, end, err := n.begin(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer end()
	if err := errors.Join(absolute("staging_target_path", r.GetStagingTargetPath()), mountable(r.GetVolumeCapability())); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	v, err := volume.CSI(n.options.Name, r.GetVolumeContext(), r.GetVolumeId(), r.GetVolumeCapability().GetMount().GetMountFlags(), readers(r.GetVolumeCapability()))
	if err == nil {
		v, err = volume.WithSecret(v, r.GetSecrets())
	}
	var s mount.Secret
	if err == nil {
		s, err = volume.Secret(n.options.Name, v, r.GetSecrets())
	}
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "volume %s: %v", r.GetVolumeId(), err)
	}
	if err := n.options.Mounter.Mount(ctx, r.GetStagingTargetPath(), v, s); err != nil {
		return nil, coded(err)
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

// NodeUnstageVolume takes it away again, when everything is written.
func (n *node) NodeUnstageVolume(ctx context.Context, r *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	ctx, end, err := n.begin(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer end()
	if err := absolute("staging_target_path", r.GetStagingTargetPath()); err != nil {
		return nil, err
	}
	if err := n.options.Mounter.Unmount(ctx, r.GetStagingTargetPath()); err != nil {
		return nil, coded(err)
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// NodePublishVolume shows the volume to a pod.
func (n *node) NodePublishVolume(ctx context.Context, r *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	ctx, end, err := n.begin(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer end()
	if err := errors.Join(absolute("target_path", r.GetTargetPath()), mountable(r.GetVolumeCapability())); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	staging := r.GetStagingTargetPath()
	if err := absolute("staging_target_path", staging); err != nil {
		return nil, status.Error(codes.FailedPrecondition, "staging_target_path: the volume has to be staged first")
	}
	mounted, err := n.options.Mounter.Mounted(ctx, staging)
	switch {
	case err != nil:
		return nil, coded(err)
	case !mounted:
		return nil, status.Errorf(codes.FailedPrecondition, "volume %s is not mounted at %s", r.GetVolumeId(), staging)
	}
	if err := n.options.Mounter.Bind(ctx, staging, r.GetTargetPath(), r.GetReadonly() || readers(r.GetVolumeCapability())); err != nil {
		if errors.Is(err, unix.ENOTCONN) || strings.Contains(err.Error(), unix.ENOTCONN.Error()) {
			return nil, status.Errorf(codes.Unavailable, "the process that serves volume %s on this node is gone: delete the pods here that use it, so that it is mounted anew", r.GetVolumeId())
		}
		return nil, coded(err)
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume takes it away from the pod.
func (n *node) NodeUnpublishVolume(ctx context.Context, r *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	ctx, end, err := n.begin(ctx, r.GetVolumeId())
	if err != nil {
		return nil, err
	}
	defer end()
	if err := absolute("target_path", r.GetTargetPath()); err != nil {
		return nil, err
	}
	if err := n.options.Mounter.Unmount(ctx, r.GetTargetPath()); err != nil {
		return nil, coded(err)
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

// NodeGetVolumeStats says how full a volume is.
func (n *node) NodeGetVolumeStats(ctx context.Context, r *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if r.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume_id: missing")
	}
	if r.GetVolumePath() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume_path: missing")
	}
	const limit = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	mounted, err := n.options.Mounter.Mounted(ctx, r.GetVolumePath())
	switch {
	case err != nil:
		return nil, coded(err)
	case !mounted:
		return nil, status.Errorf(codes.NotFound, "nothing is mounted at %s", r.GetVolumePath())
	}
	u, err := n.options.Mounter.Usage(ctx, r.GetVolumePath())
	if err != nil {
		return nil, coded(err)
	}
	usage := func(unit csi.VolumeUsage_Unit, size, free, used int64) *csi.VolumeUsage {
		return &csi.VolumeUsage{Unit: unit, Total: max(size, 0), Available: max(free, 0), Used: max(used, 0)}
	}
	answer := &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{usage(csi.VolumeUsage_BYTES, u.Size, u.Free, u.Used)}}
	if u.Inodes >= 0 {
		answer.Usage = append(answer.Usage, usage(csi.VolumeUsage_INODES, u.Inodes, u.InodesFree, u.InodesUsed))
	}
	return answer, nil
}

// NodeGetInfo says which node this is.
func (n *node) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: n.options.Node}, nil
}

// NodeGetCapabilities says which calls there are.
func (n *node) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	answer := &csi.NodeGetCapabilitiesResponse{}
	for _, c := range []csi.NodeServiceCapability_RPC_Type{csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS} {
		answer.Capabilities = append(answer.Capabilities, &csi.NodeServiceCapability{Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: c}}})
	}
	return answer, nil
}

// coded gives an error the code that fits, and keeps its words, by which the doctor knows it.
func coded(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	case errors.Is(err, fs.ErrNotExist):
		code = codes.NotFound
	}
	return status.Error(code, fmt.Sprint(err))
}
