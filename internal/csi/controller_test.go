package csi

import (
	"context"
	"sync"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pai-storage/pai-storage/internal/volume"
)

// withController is the identity of a driver that has a controller besides.
type withController struct{ *identity }

func (withController) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	service := &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{{Type: &csi.PluginCapability_Service_{Service: service}}}}, nil
}

// controller hands out volumes, as administrators do with PersistentVolumes.
type controller struct {
	csi.UnimplementedControllerServer
	driver string

	mu   sync.Mutex
	made map[string]*csi.Volume
}

func (c *controller) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	rpc := &csi.ControllerServiceCapability_RPC{Type: csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME}
	return &csi.ControllerGetCapabilitiesResponse{Capabilities: []*csi.ControllerServiceCapability{{Type: &csi.ControllerServiceCapability_Rpc{Rpc: rpc}}}}, nil
}

func (c *controller) CreateVolume(_ context.Context, r *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if r.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name: missing")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.made[r.GetName()]
	if v == nil {
		v = &csi.Volume{VolumeId: r.GetName(), CapacityBytes: r.GetCapacityRange().GetRequiredBytes(), VolumeContext: map[string]string{"shareName": "share"}}
		if c.driver == volume.CSIDriver {
			v.VolumeContext = map[string]string{"type": volume.TypeAzureFile, "share": "share", "account": "account"}
		}
		c.made[r.GetName()] = v
	}
	return &csi.CreateVolumeResponse{Volume: v}, nil
}

func (c *controller) DeleteVolume(_ context.Context, r *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.made, r.GetVolumeId())
	return &csi.DeleteVolumeResponse{}, nil
}
