package rest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type groupBody struct {
	Groupname    string         `json:"groupname"`
	Description  string         `json:"description"`
	ExternalName string         `json:"externalName"`
	Extension    map[string]any `json:"extension"`
}

type groupInput struct {
	Group string `path:"group"`
}

type groupOutput struct {
	ETag string `header:"ETag"`
	Body groupBody
}

type updateGroupInput struct {
	IfMatch string `header:"If-Match" doc:"The ETag of the version that the change is for"`
	Body    struct {
		Data struct {
			Groupname    string         `json:"groupname"`
			Description  *string        `json:"description,omitempty"`
			ExternalName *string        `json:"externalName,omitempty"`
			Extension    map[string]any `json:"extension,omitempty"`
		} `json:"data"`
		Patch bool `json:"patch,omitempty" doc:"Merge deeply: what is left out stays, a list replaces the list, null deletes"`
	}
}

type updateGroupOutput struct {
	ETag string `header:"ETag"`
	Body message
}

func (s *Server) groupOperations() {
	register(s, pai.Person, huma.Operation{
		OperationID: "getGroup", Method: http.MethodGet, Path: prefix + "/groups/{group}", Tags: []string{"group"},
		Summary: "Get a group.",
	}, s.getGroup)
	register(s, pai.Administrator, huma.Operation{
		OperationID: "updateGroup", Method: http.MethodPut, Path: prefix + "/groups", Tags: []string{"group"},
		Summary: "Change a group. Administrators only.", DefaultStatus: http.StatusCreated,
	}, s.updateGroup)
}

func (s *Server) getGroup(ctx context.Context, in *groupInput) (*groupOutput, error) {
	name, err := pai.ParseGroupName(in.Group)
	if err != nil {
		name = pai.GroupName(in.Group) // then there is none of that name, and the guard answers first
	}
	g, err := s.services.Groups.Group(ctx, name)
	if err != nil {
		return nil, err
	}
	return &groupOutput{ETag: etag(g), Body: groupBody{
		Groupname: string(g.Name), Description: g.Description, ExternalName: g.ExternalName, Extension: g.Extension,
	}}, nil
}

func (s *Server) updateGroup(ctx context.Context, in *updateGroupInput) (*updateGroupOutput, error) {
	data := in.Body.Data
	g, err := s.services.Groups.ChangeGroup(ctx, pai.GroupChange{
		Name: pai.GroupName(data.Groupname), Description: data.Description, ExternalName: data.ExternalName, Extension: data.Extension,
		Patch: in.Body.Patch, Version: versionOf(in.IfMatch),
	})
	if err != nil {
		return nil, err
	}
	return &updateGroupOutput{ETag: etag(g), Body: message{fmt.Sprintf("update group %s successfully.", g.Name)}}, nil
}

func etag(g pai.Group) string { return `"` + g.Version + `"` }

// versionOf reads If-Match. "*" insists on no version: a group that does not exist is refused anyway.
func versionOf(ifMatch string) string {
	if ifMatch == "*" {
		return ""
	}
	return strings.Trim(strings.TrimPrefix(ifMatch, "W/"), `"`)
}
