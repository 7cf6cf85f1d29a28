package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type storageAccountInput struct {
	User string `path:"user"`
}

type setStoragePasswordInput struct {
	User string `path:"user"`
	Body struct {
		Password string `json:"password" doc:"At least 6 characters; another one than that of the web pages"`
	}
}

// storageAccount is a user's account on the SMB server. Nothing leads from it to the password.
type storageAccount struct {
	Username string     `json:"username"`
	Set      bool       `json:"set" doc:"Whether there is a password, and so an account"`
	Since    *time.Time `json:"since,omitempty" doc:"When the password was set"`
}

type storageAccountOutput struct{ Body storageAccount }

// storagePasswordPath is where a user's account is, for the user and for administrators.
const storagePasswordPath = prefix + "/users/{user}/storage-password"

func (s *Server) storageAccountOperations() {
	tags := []string{"user"}
	register(s, pai.Person, huma.Operation{OperationID: "getStoragePassword", Method: http.MethodGet, Path: storagePasswordPath, Tags: tags,
		Summary: "Whether a user has a password for the SMB server. Others than oneself: administrators only."}, s.getStorageAccount)
	register(s, pai.Person, huma.Operation{OperationID: "setStoragePassword", Method: http.MethodPut, Path: storagePasswordPath, Tags: tags,
		Summary: "Set the password with which a user reaches the user's own folder by SMB. Others' than one's own: administrators only."}, s.setStoragePassword)
	register(s, pai.Person, huma.Operation{OperationID: "removeStoragePassword", Method: http.MethodDelete, Path: storagePasswordPath, Tags: tags,
		Summary: "Take a user's SMB account away. Others' than one's own: administrators only."}, s.removeStoragePassword)
}

func storageAccountOf(a pai.StorageAccount) *storageAccountOutput {
	return &storageAccountOutput{storageAccount{Username: string(a.User), Set: !a.Set.IsZero(), Since: moment(a.Set)}}
}

func (s *Server) getStorageAccount(ctx context.Context, in *storageAccountInput) (*storageAccountOutput, error) {
	account, err := s.services.StorageAccounts.StorageAccount(ctx, pai.UserName(in.User))
	if err != nil {
		return nil, err
	}
	return storageAccountOf(account), nil
}

func (s *Server) setStoragePassword(ctx context.Context, in *setStoragePasswordInput) (*storageAccountOutput, error) {
	account, err := s.services.StorageAccounts.SetStoragePassword(ctx, pai.UserName(in.User), pai.Password(in.Body.Password))
	if err != nil {
		return nil, err
	}
	return storageAccountOf(account), nil
}

func (s *Server) removeStoragePassword(ctx context.Context, in *storageAccountInput) (*messageOutput, error) {
	if err := s.services.StorageAccounts.RemoveStoragePassword(ctx, pai.UserName(in.User)); err != nil {
		return nil, err
	}
	return &messageOutput{message{"the SMB account is removed"}}, nil
}
