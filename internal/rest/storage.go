package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type storageSummary struct {
	Name       string `json:"name"`
	Share      bool   `json:"share" doc:"False for a personal storage: each user sees only a folder of the user's own"`
	VolumeName string `json:"volumeName"`
	Default    bool   `json:"default" doc:"Among those that an empty list in a job means"`
	Reason     string `json:"reason,omitempty" doc:"Why the storage is not usable yet; administrators only"`
}

type storageDetail struct {
	storageSummary
	Type         string            `json:"type" enum:"nfs,samba,azureFile,azureBlob,dshuttle,hostPath,local,other,unknown"`
	Data         map[string]string `json:"data" doc:"Where it is; the keys depend on the type"`
	ReadOnly     bool              `json:"readOnly"`
	SecretName   string            `json:"secretName,omitempty" doc:"The Kubernetes Secret that workers mount it with"`
	MountOptions []string          `json:"mountOptions,omitempty"`
}

type storagesInput struct {
	Default bool `query:"default" doc:"The default storages only"`
}

type storagesOutput struct {
	Body struct {
		Storages []storageSummary `json:"storages"`
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
}

func (s *Server) getStorages(ctx context.Context, in *storagesInput) (*storagesOutput, error) {
	list, err := s.services.Storages.Storages(ctx)
	if err != nil {
		return nil, err
	}
	out := &storagesOutput{}
	out.Body.Storages = make([]storageSummary, 0, len(list))
	for _, st := range list {
		if st.Default || !in.Default {
			out.Body.Storages = append(out.Body.Storages, summaryOf(st))
		}
	}
	return out, nil
}

func summaryOf(st pai.Storage) storageSummary {
	return storageSummary{Name: string(st.Name), Share: st.Share, VolumeName: st.VolumeName, Default: st.Default, Reason: st.Reason}
}

func (s *Server) getStorage(ctx context.Context, in *storageInput) (*storageOutput, error) {
	st, err := s.services.Storages.Storage(ctx, pai.StorageName(in.Storage))
	if err != nil {
		return nil, err
	}
	return &storageOutput{storageDetail{
		storageSummary: summaryOf(st),
		Type:           string(st.Type), Data: st.Data, ReadOnly: st.ReadOnly, SecretName: st.SecretName, MountOptions: st.MountOptions,
	}}, nil
}
