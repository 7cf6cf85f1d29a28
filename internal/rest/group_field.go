package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// The original has a path for each field of a group. They are not in its reference description, and clients use them. Like every patch
// they merge, so what a request leaves out keeps its value.

type groupExtensionInput struct {
	Group   string `path:"group"`
	IfMatch string `header:"If-Match"`
	Body    struct {
		Extension map[string]any `json:"extension"`
	}
}

type groupAttributeInput struct {
	Group   string `path:"group"`
	Path    string `path:"path" doc:"Keys from the extension inwards, such as acls/storageConfigs"`
	IfMatch string `header:"If-Match"`
	Body    struct {
		Data any `json:"data" doc:"The value; null deletes the key"`
	}
}

type groupDescriptionInput struct {
	Group   string `path:"group"`
	IfMatch string `header:"If-Match"`
	Body    struct {
		Description string `json:"description"`
	}
}

type groupExternalNameInput struct {
	Group   string `path:"group"`
	IfMatch string `header:"If-Match"`
	Body    struct {
		ExternalName string `json:"externalName"`
	}
}

func (s *Server) groupFieldOperations() {
	field := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodPut, Path: prefix + "/groups/{group}" + path, Tags: []string{"group"},
			Summary: summary + " Administrators only.", DefaultStatus: http.StatusCreated}
	}
	register(s, pai.Administrator, field("updateGroupExtension", "/extension", "Merge into the extension of a group."),
		func(ctx context.Context, in *groupExtensionInput) (*updateGroupOutput, error) {
			return s.changeGroup(ctx, in.IfMatch, "update group extension data successfully.",
				pai.GroupChange{Name: groupName(in.Group), Extension: in.Body.Extension, Patch: true})
		})
	register(s, pai.Administrator, field("updateGroupAttribute", "/extension/{path...}", "Set one value in the extension of a group."),
		s.updateGroupAttribute)
	register(s, pai.Administrator, field("updateGroupDescription", "/description", "Set the description of a group."),
		func(ctx context.Context, in *groupDescriptionInput) (*updateGroupOutput, error) {
			return s.changeGroup(ctx, in.IfMatch, "update group description data successfully.",
				pai.GroupChange{Name: groupName(in.Group), Description: &in.Body.Description, Patch: true})
		})
	register(s, pai.Administrator, field("updateGroupExternalName", "/externalname", "Set the name of a group at the identity provider."),
		func(ctx context.Context, in *groupExternalNameInput) (*updateGroupOutput, error) {
			return s.changeGroup(ctx, in.IfMatch, "update group externalNameData data successfully.",
				pai.GroupChange{Name: groupName(in.Group), ExternalName: &in.Body.ExternalName, Patch: true})
		})
	// The mux writes a parameter that takes the rest of a path as {path...}, OpenAPI as {path}.
	paths, mux := s.api.OpenAPI().Paths, prefix+"/groups/{group}/extension/{path...}"
	paths[strings.Replace(mux, "...", "", 1)] = paths[mux]
	delete(paths, mux)
}

// maxAttributeDepth keeps a path from becoming a tower of objects.
const maxAttributeDepth = 16

func (s *Server) updateGroupAttribute(ctx context.Context, in *groupAttributeInput) (*updateGroupOutput, error) {
	keys := strings.Split(in.Path, "/")
	if len(keys) > maxAttributeDepth {
		return nil, pai.Errorf(pai.InvalidParametersError, "path: at most %d keys", maxAttributeDepth)
	}
	value := in.Body.Data
	for i := len(keys) - 1; i >= 0; i-- {
		if keys[i] == "" {
			return nil, pai.Errorf(pai.InvalidParametersError, "path: an empty key")
		}
		value = map[string]any{keys[i]: value}
	}
	return s.changeGroup(ctx, in.IfMatch, "update group extension attribute data successfully.",
		pai.GroupChange{Name: groupName(in.Group), Extension: value.(map[string]any), Patch: true})
}
