package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// StorageSummary is what every list and detail of storages says. It is exported because the library leaves out what is embedded otherwise.
type StorageSummary struct {
	Name       string `json:"name"`
	Share      bool   `json:"share" doc:"False for a personal storage: each user sees only a folder of the user's own"`
	VolumeName string `json:"volumeName"`
	Default    bool   `json:"default" doc:"Among those that an empty list in a job means"`
	Reason     string `json:"reason,omitempty" doc:"Why the storage is not usable yet; administrators only"`

	BindsWithJob bool `json:"bindsWithFirstJob,omitempty" doc:"Usable, and bound to a volume with the first job that mounts it"`
}

type storageDetail struct {
	StorageSummary
	Type         string            `json:"type" enum:"nfs,samba,azureFile,azureBlob,s3,dshuttle,hostPath,local,other,unknown"`
	Data         map[string]string `json:"data" doc:"Where it is; the keys depend on the type"`
	ReadOnly     bool              `json:"readOnly"`
	SecretName   string            `json:"secretName,omitempty" doc:"The Kubernetes Secret that workers mount it with"`
	MountOptions []string          `json:"mountOptions,omitempty"`
}

// storageEntry is a storage in a list; administrators who ask for all of them get more.
type storageEntry struct {
	StorageSummary
	State       string   `json:"state,omitempty" doc:"Of the claim: Bound, Pending, Lost, Terminating"`
	VolumeState string   `json:"volumeState,omitempty" doc:"Of the volume: Available, Bound, Released, Failed"`
	Type        string   `json:"type,omitempty"`
	ReadOnly    *bool    `json:"readOnly,omitempty"`
	Size        string   `json:"size,omitempty" doc:"What the volume has, else what the claim asks for"`
	Groups      []string `json:"groups,omitempty" doc:"Those that it is granted to"`
	RunningJobs *int     `json:"runningJobs,omitempty" doc:"How many jobs mount it and are not done"`
	Jobs        []string `json:"jobs,omitempty" doc:"Those jobs"`
	Exposed     bool     `json:"exposesCredentials,omitempty" doc:"Users see its credentials, because an administrator said so"`
}

type storagesInput struct {
	Default bool `query:"default" doc:"The default storages only"`
	All     bool `query:"all" doc:"Every storage with its state; administrators only"`
}

type storagesOutput struct {
	Body struct {
		Storages []storageEntry `json:"storages"`
	}
}

type storageInput struct {
	Storage string `path:"storage"`
}

type storageOutput struct{ Body storageDetail }

func (s *Server) storageOperations() {
	register(s, pai.Person, huma.Operation{
		OperationID: "getStorages", Method: http.MethodGet, Path: prefix + "/storages", Tags: []string{"storage"},
		Summary: "List the storages that the caller may see.",
	}, s.getStorages)
	register(s, pai.Person, huma.Operation{
		OperationID: "getStorage", Method: http.MethodGet, Path: prefix + "/storages/{storage}", Tags: []string{"storage"},
		Summary: "Get a storage.",
	}, s.getStorage)
	s.declarationOperations()
}

func (s *Server) getStorages(ctx context.Context, in *storagesInput) (*storagesOutput, error) {
	if in.All {
		return s.getAllStorages(ctx, in)
	}
	list, err := s.services.Storages.Storages(ctx)
	if err != nil {
		return nil, err
	}
	out := &storagesOutput{}
	out.Body.Storages = make([]storageEntry, 0, len(list))
	for _, st := range list {
		if st.Default || !in.Default {
			out.Body.Storages = append(out.Body.Storages, storageEntry{StorageSummary: summaryOf(st)})
		}
	}
	return out, nil
}

func (s *Server) getAllStorages(ctx context.Context, in *storagesInput) (*storagesOutput, error) {
	list, err := s.services.Storages.AllStorages(ctx)
	if err != nil {
		return nil, err
	}
	out := &storagesOutput{}
	out.Body.Storages = make([]storageEntry, 0, len(list))
	for _, o := range list {
		if o.Default || !in.Default {
			out.Body.Storages = append(out.Body.Storages, overviewOf(o))
		}
	}
	return out, nil
}

func overviewOf(o pai.StorageOverview) storageEntry {
	running := len(o.Jobs)
	e := storageEntry{StorageSummary: summaryOf(o.Storage), State: o.State, VolumeState: o.VolumeState, Type: string(o.Type), ReadOnly: &o.ReadOnly,
		Size: o.Size, RunningJobs: &running, Exposed: o.Exposed}
	for _, g := range o.Groups {
		e.Groups = append(e.Groups, string(g))
	}
	for _, id := range o.Jobs {
		e.Jobs = append(e.Jobs, id.String())
	}
	return e
}

func summaryOf(st pai.Storage) StorageSummary {
	return StorageSummary{Name: string(st.Name), Share: st.Share, VolumeName: st.VolumeName, Default: st.Default, Reason: st.Reason, BindsWithJob: st.BindsWithJob}
}

func (s *Server) getStorage(ctx context.Context, in *storageInput) (*storageOutput, error) {
	st, err := s.services.Storages.Storage(ctx, pai.StorageName(in.Storage))
	if err != nil {
		return nil, err
	}
	return &storageOutput{storageDetail{
		StorageSummary: summaryOf(st),
		Type:           string(st.Type), Data: st.Data, ReadOnly: st.ReadOnly, SecretName: st.SecretName, MountOptions: st.MountOptions,
	}}, nil
}
