package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/plural"
)

type declarationInput struct {
	DryRun bool `query:"dryRun" doc:"Make nothing, only say what would be made"`
	Body   struct {
		Name          string            `json:"name"`
		Type          string            `json:"type" enum:"nfs,samba,azureBlob,azureFile,s3,hostPath,local"`
		Server        string            `json:"server,omitempty" doc:"nfs: host name or IP address; azureFile: where it is not Azure's own"`
		Path          string            `json:"path,omitempty" doc:"nfs, hostPath, local: absolute path"`
		Address       string            `json:"address,omitempty" doc:"samba: //HOST/SHARE, or //HOST/SHARE/DIRECTORY"`
		AccountName   string            `json:"accountName,omitempty" doc:"azureBlob, azureFile; else the secret has it"`
		ContainerName string            `json:"containerName,omitempty" doc:"azureBlob"`
		ShareName     string            `json:"shareName,omitempty" doc:"azureFile"`
		Bucket        string            `json:"bucket,omitempty" doc:"s3"`
		Prefix        string            `json:"prefix,omitempty" doc:"azureBlob, s3: only what is below it is seen"`
		Endpoint      string            `json:"endpoint,omitempty" doc:"azureBlob, s3: URL of the service; without it the public cloud's"`
		Region        string            `json:"region,omitempty" doc:"s3"`
		Anonymous     bool              `json:"anonymous,omitempty" doc:"s3: nothing is asked of whoever reads it, so that no secret is needed"`
		Nodes         []string          `json:"nodes,omitempty" maxItems:"1000" doc:"local: the workers that have the path"`
		Size          string            `json:"size,omitempty" doc:"Such as 10Gi, which is also the default"`
		Personal      bool              `json:"personal,omitempty" doc:"Each user sees only a folder of the user's own"`
		ReadOnly      bool              `json:"readOnly,omitempty"`
		MountOptions  []string          `json:"mountOptions,omitempty" maxItems:"100"`
		Options       map[string]string `json:"options,omitempty" doc:"Another way to say endpoint, region, prefix and server"`
		SecretName    string            `json:"secretName,omitempty" doc:"A Secret of the jobs namespace that is there already"`
		Secret        map[string]string `json:"secret,omitempty" doc:"Or the content of a new one. It is never shown again"`
	}
}

type declarationOutput struct {
	Status int
	Body   struct {
		Message    string `json:"message" doc:"What was done"`
		Name       string `json:"name"`
		VolumeName string `json:"volumeName"`
		SecretName string `json:"secretName,omitempty" doc:"Of the Secret that was made"`
		Manifest   string `json:"manifest" doc:"The objects in YAML, without what is secret"`
	}
}

type removalInput struct {
	Storage string `path:"storage"`
	Force   bool   `query:"force" doc:"Although jobs mount it"`
	Revoke  bool   `query:"revoke" doc:"Take it off all groups, too"`
}

type removalOutput struct {
	Body struct {
		Message string   `json:"message" doc:"What was done"`
		Deleted []string `json:"deleted" doc:"Objects that are gone, or go with the last job that mounts the storage"`
		Kept    []string `json:"kept" doc:"Objects that are still there. The data always is"`
		Groups  []string `json:"groups" doc:"Those that it still is granted to: a new storage of that name would be theirs"`
		Jobs    []string `json:"jobs" doc:"Those that still mount it"`
	}
}

func (s *Server) declarationOperations() {
	register(s, pai.Administrator, huma.Operation{
		OperationID: "declareStorage", Method: http.MethodPost, Path: prefix + "/storages", Tags: []string{"storage"},
		Summary: "Declare a storage: volume, claim and secret in one call that undoes itself when it fails. Administrators only.", DefaultStatus: http.StatusCreated,
	}, s.declareStorage)
	register(s, pai.Administrator, huma.Operation{
		OperationID: "removeStorage", Method: http.MethodDelete, Path: prefix + "/storages/{storage}", Tags: []string{"storage"},
		Summary: "Remove a storage. The data that it holds stays. Administrators only.",
	}, s.removeStorage)
}

func (s *Server) declareStorage(ctx context.Context, in *declarationInput) (*declarationOutput, error) {
	b := in.Body
	made, err := s.services.Storages.DeclareStorage(ctx, pai.StorageDeclaration{
		Name: pai.StorageName(b.Name), Type: pai.StorageType(b.Type), Server: b.Server, Path: b.Path, Address: b.Address,
		Account: b.AccountName, Container: b.ContainerName, Share: b.ShareName, Bucket: b.Bucket, Prefix: b.Prefix, Endpoint: b.Endpoint, Region: b.Region,
		Anonymous: b.Anonymous, Nodes: b.Nodes, Size: b.Size, Personal: b.Personal, ReadOnly: b.ReadOnly, MountOptions: b.MountOptions, Options: b.Options,
		SecretName: b.SecretName, Secret: b.Secret, DryRun: in.DryRun,
	})
	if err != nil {
		return nil, err
	}
	out := &declarationOutput{Status: http.StatusCreated}
	out.Body.Message = fmt.Sprintf("storage %s is declared", made.Name)
	if in.DryRun {
		out.Status, out.Body.Message = http.StatusOK, "nothing is made: this is what would be"
	}
	out.Body.Name, out.Body.VolumeName, out.Body.SecretName, out.Body.Manifest = string(made.Name), made.VolumeName, made.SecretName, made.Manifest
	return out, nil
}

func (s *Server) removeStorage(ctx context.Context, in *removalInput) (*removalOutput, error) {
	r, err := s.services.Storages.RemoveStorage(ctx, pai.StorageRemoval{Name: pai.StorageName(in.Storage), Force: in.Force, Revoke: in.Revoke})
	if err != nil {
		return nil, err
	}
	out := &removalOutput{}
	out.Body.Message = removalMessage(in.Storage, r)
	out.Body.Deleted, out.Body.Kept = r.Deleted, r.Kept
	out.Body.Groups, out.Body.Jobs = make([]string, 0, len(r.Granted)), make([]string, 0, len(r.Jobs))
	for _, g := range r.Granted {
		out.Body.Groups = append(out.Body.Groups, string(g))
	}
	for _, id := range r.Jobs {
		out.Body.Jobs = append(out.Body.Jobs, id.String())
	}
	return out, nil
}

func removalMessage(name string, r pai.RemovedStorage) string {
	parts := []string{fmt.Sprintf("storage %s is removed; its data is kept (reclaim policy Retain)", name)}
	if len(r.Kept) > 0 {
		parts = append(parts, "kept: "+strings.Join(r.Kept, ", "))
	}
	if len(r.Jobs) > 0 {
		parts = append(parts, "still mounted by "+plural.Of(len(r.Jobs), "job"))
	}
	return strings.Join(parts, "; ")
}
