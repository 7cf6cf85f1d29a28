package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// userInfo is a user as the reference file has it, and the groups, which the original adds.
type userInfo struct {
	Username       pai.UserName      `json:"username"`
	Grouplist      []pai.GroupName   `json:"grouplist" doc:"Those that exist"`
	Email          string            `json:"email"`
	Extension      map[string]any    `json:"extension" doc:"Without private keys"`
	Admin          bool              `json:"admin"`
	VirtualCluster []string          `json:"virtualCluster" doc:"Those that the user may use"`
	StorageConfig  []pai.StorageName `json:"storageConfig" doc:"The storages that the user may mount"`
}

type userInput struct {
	User string `path:"user"`
}

type userOutput struct {
	ETag string `header:"ETag"`
	Body userInfo
}

type usersOutput struct{ Body []userInfo }

type createUserInput struct {
	Body struct {
		Username       string         `json:"username" doc:"Letters, digits, '_', '-' and '.'"`
		Password       string         `json:"password" doc:"At least 6 characters"`
		Admin          bool           `json:"admin,omitempty"`
		Email          string         `json:"email,omitempty" doc:"An email address, or nothing"`
		VirtualCluster []string       `json:"virtualCluster,omitempty"`
		Extension      map[string]any `json:"extension,omitempty"`
	}
}

type createUserOutput struct {
	Body struct {
		Message string `json:"message" doc:"What was done"`
		Warning string `json:"warning,omitempty" doc:"What the name keeps the user from"`
	}
}

// userChange is what administrators may change of a user. What is left out is not given.
type userChange struct {
	Username       string         `json:"username"`
	Email          *string        `json:"email,omitempty"`
	VirtualCluster []string       `json:"virtualCluster,omitempty" doc:"Replaces the memberships of virtual clusters' groups; other memberships stay"`
	Admin          *bool          `json:"admin,omitempty"`
	Password       *string        `json:"password,omitempty" doc:"Signs the user out everywhere"`
	Extension      map[string]any `json:"extension,omitempty" doc:"Private keys that are not mentioned stay"`
}

type updateUserInput struct {
	IfMatch string `header:"If-Match" doc:"The ETag of the version that the change is for"`
	Body    struct {
		Data  userChange `json:"data"`
		Patch bool       `json:"patch,omitempty" doc:"Merge deeply: what is left out stays, a list replaces the list, null deletes. Without it every field is required."`
	}
}

// selfChange is what users may change of their own record. What is left out is not given.
type selfChange struct {
	Username    string         `json:"username" doc:"The caller's own name"`
	Email       *string        `json:"email,omitempty"`
	NewPassword *string        `json:"newPassword,omitempty" doc:"Signs the user out everywhere else"`
	OldPassword *string        `json:"oldPassword,omitempty" doc:"Required with newPassword"`
	Extension   map[string]any `json:"extension,omitempty" doc:"Private keys that are not mentioned stay"`
}

type updateSelfInput struct {
	IfMatch string `header:"If-Match" doc:"The ETag of the version that the change is for"`
	Body    struct {
		Data  selfChange `json:"data"`
		Patch bool       `json:"patch,omitempty" doc:"Merge deeply: what is left out stays, a list replaces the list, null deletes. Without it every field is required."`
	}
}

type updateUserOutput struct {
	ETag string `header:"ETag"`
	Body message
}

type userGroupInput struct {
	User string `path:"user"`
	Body struct {
		Groupname string `json:"groupname"`
	}
}

type userGroupsInput struct {
	User string `path:"user"`
	Body struct {
		Grouplist []string `json:"grouplist"`
	}
}

func (s *Server) userOperations() {
	tags := []string{"user"}
	register(s, pai.Administrator, huma.Operation{OperationID: "getAllUser", Method: http.MethodGet, Path: prefix + "/users", Tags: tags,
		Summary: "List all users. Administrators only."}, s.getUsers)
	register(s, pai.Administrator, huma.Operation{OperationID: "updateUser", Method: http.MethodPut, Path: prefix + "/users", Tags: tags,
		Summary: "Change a user. Administrators only.", DefaultStatus: http.StatusCreated}, s.updateUser)
	register(s, pai.Person, huma.Operation{OperationID: "getUserSelf", Method: http.MethodGet, Path: prefix + "/users/me", Tags: tags,
		Summary: "Get the caller's own record."}, s.getSelf)
	register(s, pai.Person, huma.Operation{OperationID: "updateUserSelf", Method: http.MethodPut, Path: prefix + "/users/me", Tags: tags,
		Summary: "Change the caller's own email address, password or extension.", DefaultStatus: http.StatusCreated}, s.updateSelf)
	register(s, pai.Person, huma.Operation{OperationID: "getUser", Method: http.MethodGet, Path: prefix + "/users/{user}", Tags: tags,
		Summary: "Get a user. Others than oneself: administrators only."}, s.getUser)
	register(s, pai.Administrator, huma.Operation{OperationID: "deleteUser", Method: http.MethodDelete, Path: prefix + "/users/{user}", Tags: tags,
		Summary: "Remove a user who is no administrator, and the user's tokens and SMB password. Jobs go on, and folders in personal storages stay. Administrators only."}, s.deleteUser)
	if s.services.SignOn == nil {
		s.membershipOperations(tags)
	}
}

// membershipOperations decide who is a user and a member of what. An identity provider does it where there is one.
func (s *Server) membershipOperations(tags []string) {
	const one = prefix + "/users/{user}"
	register(s, pai.Administrator, huma.Operation{OperationID: "createUser", Method: http.MethodPost, Path: prefix + "/users", Tags: tags,
		Summary: "Create a user. Administrators only.", DefaultStatus: http.StatusCreated}, s.createUser)
	register(s, pai.Administrator, huma.Operation{OperationID: "updateUserGroup", Method: http.MethodPut, Path: one + "/group", Tags: tags,
		Summary: "Add a user to a group. Administrators only.", DefaultStatus: http.StatusCreated}, s.addUserToGroup)
	register(s, pai.Administrator, huma.Operation{OperationID: "deleteUserGroup", Method: http.MethodDelete, Path: one + "/group", Tags: tags,
		Summary: "Remove a user from a group. Administrators only.", DefaultStatus: http.StatusCreated}, s.removeUserFromGroup)
	register(s, pai.Administrator, huma.Operation{OperationID: "updateUserGrouplist", Method: http.MethodPut, Path: one + "/grouplist", Tags: tags,
		Summary: "Replace the groups of a user. Administrators only.", DefaultStatus: http.StatusCreated}, s.setUserGroups)
}

func infoOf(a pai.Account) userInfo {
	return userInfo{Username: a.Name, Grouplist: notNil(a.Groups), Email: a.Email, Extension: a.Extension, Admin: a.Admin,
		VirtualCluster: notNil(a.VirtualClusters), StorageConfig: notNil(a.Storages)}
}

// notNil makes JSON write [] and not null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// userETag is the version of a user as a header.
func userETag(a pai.Account) string { return `"` + a.Version + `"` }

func (s *Server) getUsers(ctx context.Context, _ *struct{}) (*usersOutput, error) {
	list, err := s.services.Users.Users(ctx)
	if err != nil {
		return nil, err
	}
	out := &usersOutput{Body: make([]userInfo, len(list))}
	for i, a := range list {
		out.Body[i] = infoOf(a)
	}
	return out, nil
}

// getUser does not check the name: there is no user of one that cannot be, and the guard answers first.
func (s *Server) getUser(ctx context.Context, in *userInput) (*userOutput, error) {
	a, err := s.services.Users.User(ctx, pai.UserName(in.User))
	return &userOutput{ETag: userETag(a), Body: infoOf(a)}, err
}

func (s *Server) getSelf(ctx context.Context, _ *struct{}) (*userOutput, error) {
	caller, err := pai.CallerFrom(ctx)
	if err != nil {
		return nil, err
	}
	return s.getUser(ctx, &userInput{User: string(caller.User)})
}

func (s *Server) createUser(ctx context.Context, in *createUserInput) (*createUserOutput, error) {
	warning, err := s.services.Users.CreateUser(ctx, pai.NewUser{
		Name: pai.UserName(in.Body.Username), Password: pai.Password(in.Body.Password), Email: in.Body.Email, Admin: in.Body.Admin,
		VirtualClusters: in.Body.VirtualCluster, Extension: in.Body.Extension,
	})
	out := &createUserOutput{}
	out.Body.Message, out.Body.Warning = "User is created successfully", warning
	return out, err
}

func (s *Server) updateUser(ctx context.Context, in *updateUserInput) (*updateUserOutput, error) {
	data := in.Body.Data
	a, err := s.services.Users.ChangeUser(ctx, pai.UserChange{
		Name: pai.UserName(data.Username), Email: data.Email, Password: (*pai.Password)(data.Password), Admin: data.Admin,
		VirtualClusters: data.VirtualCluster, Extension: data.Extension, Patch: in.Body.Patch, Version: versionOf(in.IfMatch),
	})
	return updatedUser(a), err
}

func (s *Server) updateSelf(ctx context.Context, in *updateSelfInput) (*updateUserOutput, error) {
	data := in.Body.Data
	a, err := s.services.Users.ChangeSelf(ctx, pai.SelfChange{
		Name: pai.UserName(data.Username), Email: data.Email, OldPassword: (*pai.Password)(data.OldPassword), NewPassword: (*pai.Password)(data.NewPassword),
		Extension: data.Extension, Patch: in.Body.Patch, Version: versionOf(in.IfMatch),
	})
	return updatedUser(a), err
}

func updatedUser(a pai.Account) *updateUserOutput {
	return &updateUserOutput{ETag: userETag(a), Body: message{fmt.Sprintf("Update user %s successfully", a.Name)}}
}

func (s *Server) deleteUser(ctx context.Context, in *userInput) (*messageOutput, error) {
	err := s.services.Users.DeleteUser(ctx, pai.UserName(in.User))
	return &messageOutput{message{"user is removed successfully"}}, err
}

func (s *Server) addUserToGroup(ctx context.Context, in *userGroupInput) (*messageOutput, error) {
	err := s.services.Users.AddToGroup(ctx, pai.UserName(in.User), pai.GroupName(in.Body.Groupname))
	return &messageOutput{message{fmt.Sprintf("User %s is added into group %s", in.User, in.Body.Groupname)}}, err
}

func (s *Server) removeUserFromGroup(ctx context.Context, in *userGroupInput) (*messageOutput, error) {
	err := s.services.Users.RemoveFromGroup(ctx, pai.UserName(in.User), pai.GroupName(in.Body.Groupname))
	return &messageOutput{message{fmt.Sprintf("User %s is removed from group %s", in.User, in.Body.Groupname)}}, err
}

func (s *Server) setUserGroups(ctx context.Context, in *userGroupsInput) (*messageOutput, error) {
	groups := make([]pai.GroupName, len(in.Body.Grouplist))
	for i, name := range in.Body.Grouplist {
		groups[i] = pai.GroupName(name)
	}
	err := s.services.Users.SetGroups(ctx, pai.UserName(in.User), groups)
	return &messageOutput{message{"update user grouplist successfully."}}, err
}
