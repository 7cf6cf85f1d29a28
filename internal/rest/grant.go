package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type grantInput struct {
	Group   string `path:"group"`
	Storage string `path:"storage"`
}

type grantOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Message  string   `json:"message" doc:"What was done"`
		Changed  bool     `json:"changed" doc:"False when it was so already"`
		Storages []string `json:"storages" doc:"What the group has now; the first one is a default storage of its members"`
		Warning  string   `json:"warning,omitempty" doc:"Why the storage cannot be used yet"`
	}
}

func (s *Server) grantOperations() {
	const path = prefix + "/groups/{group}/storages/{storage}"
	register(s, pai.Administrator, huma.Operation{
		OperationID: "grantStorage", Method: http.MethodPut, Path: path, Tags: []string{"group", "storage"},
		Summary: "Let the members of a group mount a storage. Administrators only.",
	}, func(ctx context.Context, in *grantInput) (*grantOutput, error) {
		result, err := s.services.Groups.GrantStorage(ctx, groupName(in.Group), pai.StorageName(in.Storage))
		return grantOutputOf(result, err, map[bool]string{
			true:  fmt.Sprintf("group %s may use storage %s", in.Group, in.Storage),
			false: fmt.Sprintf("group %s had storage %s already", in.Group, in.Storage),
		})
	})
	register(s, pai.Administrator, huma.Operation{
		OperationID: "revokeStorage", Method: http.MethodDelete, Path: path, Tags: []string{"group", "storage"},
		Summary: "Let the members of a group mount a storage no more. Jobs that run keep it. Administrators only.",
	}, func(ctx context.Context, in *grantInput) (*grantOutput, error) {
		result, err := s.services.Groups.RevokeStorage(ctx, groupName(in.Group), pai.StorageName(in.Storage), false)
		return grantOutputOf(result, err, map[bool]string{
			true:  fmt.Sprintf("group %s may not use storage %s any more", in.Group, in.Storage),
			false: fmt.Sprintf("group %s did not have storage %s", in.Group, in.Storage),
		})
	})
}

func grantOutputOf(r pai.GrantResult, err error, messages map[bool]string) (*grantOutput, error) {
	if err != nil {
		return nil, err
	}
	out := &grantOutput{ETag: etag(r.Group.Version)}
	out.Body.Message, out.Body.Changed, out.Body.Warning = messages[r.Changed], r.Changed, r.Warning
	out.Body.Storages = []string{}
	for _, name := range r.Group.ACLs().StorageConfigs {
		out.Body.Storages = append(out.Body.Storages, string(name))
	}
	return out, nil
}
