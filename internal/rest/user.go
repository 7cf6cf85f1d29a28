package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

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

func (s *Server) userOperations() {
	register(s, pai.Administrator, huma.Operation{
		OperationID: "createUser", Method: http.MethodPost, Path: prefix + "/users", Tags: []string{"user"},
		Summary: "Create a user. Administrators only.", DefaultStatus: http.StatusCreated,
	}, s.createUser)
}

func (s *Server) createUser(ctx context.Context, in *createUserInput) (*messageOutput, error) {
	name, err := pai.ParseUserName(in.Body.Username)
	if err != nil {
		return nil, err
	}
	err = s.services.Users.CreateUser(ctx, pai.NewUser{
		Name: name, Password: pai.Password(in.Body.Password), Email: in.Body.Email, Admin: in.Body.Admin,
		VirtualClusters: in.Body.VirtualCluster, Extension: in.Body.Extension,
	})
	return &messageOutput{message{"User is created successfully"}}, err
}
