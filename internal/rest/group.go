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
	ExternalName string         `json:"externalName" doc:"The group's name at the identity provider"`
	Extension    map[string]any `json:"extension" doc:"acls {admin, virtualClusters, storageConfigs}, and any other keys"`
}

func groupBodyOf(g pai.Group) groupBody {
	return groupBody{Groupname: string(g.Name), Description: g.Description, ExternalName: g.ExternalName, Extension: g.Extension}
}

type groupInput struct {
	Group string `path:"group"`
}

type groupOutput struct {
	ETag string `header:"ETag"`
	Body groupBody
}

type groupsOutput struct{ Body []groupBody }

type createGroupInput struct {
	Body struct {
		Groupname    string         `json:"groupname"`
		Description  *string        `json:"description,omitempty"`
		ExternalName *string        `json:"externalName,omitempty" doc:"The group's name at the identity provider"`
		Extension    map[string]any `json:"extension,omitempty" doc:"What is left out of acls grants nothing"`
	}
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

type membersOutput struct{ Body []memberBody }

type memberBody struct {
	Username     string `json:"username"`
	ClusterAdmin bool   `json:"clusterAdmin" doc:"An administrator, by this group or another one"`
}

func (s *Server) groupOperations() {
	register(s, pai.Person, huma.Operation{
		OperationID: "getAllGroup", Method: http.MethodGet, Path: prefix + "/groups", Tags: []string{"group"},
		Summary: "List the groups.",
	}, s.getGroups)
	register(s, pai.Person, huma.Operation{
		OperationID: "getGroup", Method: http.MethodGet, Path: prefix + "/groups/{group}", Tags: []string{"group"},
		Summary: "Get a group.",
	}, s.getGroup)
	register(s, pai.Administrator, huma.Operation{
		OperationID: "getGroupMembers", Method: http.MethodGet, Path: prefix + "/groups/{group}/userlist", Tags: []string{"group"},
		Summary: "List the users of a group. Administrators only.",
	}, s.getMembers)
	register(s, pai.Administrator, huma.Operation{
		OperationID: "createGroup", Method: http.MethodPost, Path: prefix + "/groups", Tags: []string{"group"},
		Summary: "Create a group. Administrators only.", DefaultStatus: http.StatusCreated,
	}, s.createGroup)
	register(s, pai.Administrator, huma.Operation{
		OperationID: "updateGroup", Method: http.MethodPut, Path: prefix + "/groups", Tags: []string{"group"},
		Summary: "Change a group. Administrators only.", DefaultStatus: http.StatusCreated,
	}, s.updateGroup)
	register(s, pai.Administrator, huma.Operation{
		OperationID: "deleteGroup", Method: http.MethodDelete, Path: prefix + "/groups/{group}", Tags: []string{"group"},
		Summary: "Delete a group. Administrators only.", DefaultStatus: http.StatusCreated, // sic: the reference has it
	}, s.deleteGroup)
	s.groupFieldOperations()
	s.grantOperations()
}

// groupName reads the group of a path. A name that no group can have is the name of none, and the guard answers first.
func groupName(text string) pai.GroupName { return pai.GroupName(text) }

func (s *Server) getGroups(ctx context.Context, _ *struct{}) (*groupsOutput, error) {
	list, err := s.services.Groups.Groups(ctx)
	if err != nil {
		return nil, err
	}
	out := &groupsOutput{Body: make([]groupBody, 0, len(list))}
	for _, g := range list {
		out.Body = append(out.Body, groupBodyOf(g))
	}
	return out, nil
}

func (s *Server) getGroup(ctx context.Context, in *groupInput) (*groupOutput, error) {
	g, err := s.services.Groups.Group(ctx, groupName(in.Group))
	if err != nil {
		return nil, err
	}
	return &groupOutput{ETag: etag(g.Version), Body: groupBodyOf(g)}, nil
}

func (s *Server) getMembers(ctx context.Context, in *groupInput) (*membersOutput, error) {
	list, err := s.services.Groups.Members(ctx, groupName(in.Group))
	if err != nil {
		return nil, err
	}
	out := &membersOutput{Body: make([]memberBody, 0, len(list))}
	for _, m := range list {
		out.Body = append(out.Body, memberBody{string(m.Name), m.Admin})
	}
	return out, nil
}

func (s *Server) createGroup(ctx context.Context, in *createGroupInput) (*updateGroupOutput, error) {
	order, err := pai.NewGroup(pai.GroupName(in.Body.Groupname), pai.GroupChange{
		Description: in.Body.Description, ExternalName: in.Body.ExternalName, Extension: in.Body.Extension,
	})
	if err != nil {
		return nil, err
	}
	g, err := s.services.Groups.CreateGroup(ctx, order)
	if err != nil {
		return nil, err
	}
	return &updateGroupOutput{ETag: etag(g.Version), Body: message{"group is created successfully"}}, nil
}

func (s *Server) updateGroup(ctx context.Context, in *updateGroupInput) (*updateGroupOutput, error) {
	data := in.Body.Data
	return s.changeGroup(ctx, in.IfMatch, fmt.Sprintf("update group %s successfully.", data.Groupname), pai.GroupChange{
		Name: pai.GroupName(data.Groupname), Description: data.Description, ExternalName: data.ExternalName, Extension: data.Extension,
		Patch: in.Body.Patch,
	})
}

func (s *Server) changeGroup(ctx context.Context, ifMatch, done string, change pai.GroupChange) (*updateGroupOutput, error) {
	change.Version = versionOf(ifMatch)
	g, err := s.services.Groups.ChangeGroup(ctx, change)
	if err != nil {
		return nil, err
	}
	return &updateGroupOutput{ETag: etag(g.Version), Body: message{done}}, nil
}

func (s *Server) deleteGroup(ctx context.Context, in *groupInput) (*messageOutput, error) {
	return &messageOutput{message{"group is removed successfully"}}, s.services.Groups.DeleteGroup(ctx, groupName(in.Group))
}

func etag(version string) string { return `"` + version + `"` }

// versionOf reads If-Match. "*" insists on no version: a group that does not exist is refused anyway.
func versionOf(ifMatch string) string {
	if ifMatch == "*" {
		return ""
	}
	return strings.Trim(strings.TrimPrefix(ifMatch, "W/"), `"`)
}
