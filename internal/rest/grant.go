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

type revokeInput struct {
	Group    string `path:"group"`
	Storage  string `path:"storage"`
	StopJobs bool   `query:"stopJobs" doc:"Stop the jobs that mount it although their users may not any more"`
}

type revokeOutput struct {
	ETag string `header:"ETag"`
	Body struct {
		Message  string   `json:"message" doc:"What was done"`
		Changed  bool     `json:"changed" doc:"False when it was so already"`
		Storages []string `json:"storages" doc:"What the group has now; the first one is a default storage of its members"`
		Jobs     []string `json:"jobs" doc:"Those that are not done and mount the storage although their users may not any more"`
		Stopped  bool     `json:"stopped" doc:"These jobs were told to stop"`
	}
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
		Summary: "Let the members of a group mount a storage no more, and say which jobs still do. Administrators only.",
	}, s.revokeStorage)
}

func (s *Server) revokeStorage(ctx context.Context, in *revokeInput) (*revokeOutput, error) {
	r, err := s.services.Groups.RevokeStorage(ctx, groupName(in.Group), pai.StorageName(in.Storage), in.StopJobs)
	granted, err := grantOutputOf(r, err, map[bool]string{
		true:  fmt.Sprintf("group %s may not use storage %s any more", in.Group, in.Storage),
		false: fmt.Sprintf("group %s did not have storage %s", in.Group, in.Storage),
	})
	if err != nil {
		return nil, err
	}
	out := &revokeOutput{ETag: granted.ETag}
	out.Body.Message, out.Body.Changed, out.Body.Storages = granted.Body.Message, granted.Body.Changed, granted.Body.Storages
	out.Body.Jobs, out.Body.Stopped = []string{}, r.Stopped
	for _, id := range r.Jobs {
		out.Body.Jobs = append(out.Body.Jobs, id.String())
	}
	return out, nil
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
