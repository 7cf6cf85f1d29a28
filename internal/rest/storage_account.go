package rest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// storageAccountInfo is what there is to say of an SMB password without the password.
type storageAccountInfo struct {
	Username pai.UserName `json:"username"`
	Set      bool         `json:"set" doc:"There is a password, and the SMB server lets the user in with it"`
	Since    *time.Time   `json:"since,omitempty" doc:"When it was set"`
	Admin    bool         `json:"admin" doc:"The user is an administrator"`
	Warning  string       `json:"warning,omitempty" doc:"What is unwise about the password that was just set"`
}

type storageAccountOutput struct{ Body storageAccountInfo }

type setStoragePasswordInput struct {
	User string `path:"user"`
	Body struct {
		Password string `json:"password" doc:"6 to 127 characters, no control characters. Choose another one than for login."`
	}
}

const storagePasswordPath = prefix + "/users/{user}/storage-password"

func (s *Server) storageAccountOperations() {
	tags := []string{"user", "storage"}
	register(s, pai.Person, huma.Operation{OperationID: "getStoragePassword", Method: http.MethodGet, Path: storagePasswordPath, Tags: tags,
		Summary: "Tell whether a user has an SMB password, and since when. Others than oneself: administrators only."}, s.getStoragePassword)
	register(s, pai.Person, huma.Operation{OperationID: "setStoragePassword", Method: http.MethodPut, Path: storagePasswordPath, Tags: tags,
		Summary: "Set the password that a user opens the user's own folder with over SMB. Others than oneself: administrators only."}, s.setStoragePassword)
	register(s, pai.Person, huma.Operation{OperationID: "removeStoragePassword", Method: http.MethodDelete, Path: storagePasswordPath, Tags: tags,
		Summary: "Take a user's SMB password away; files stay. Others than oneself: administrators only."}, s.removeStoragePassword)
}

func storageAccountInfoOf(a pai.StorageAccount) *storageAccountOutput {
	return &storageAccountOutput{storageAccountInfo{Username: a.User, Set: !a.Set.IsZero(), Since: moment(a.Set), Admin: a.Admin, Warning: a.Warning}}
}

// None of these checks the name: there is no user of one that cannot be, and the guard answers first.

func (s *Server) getStoragePassword(ctx context.Context, in *userInput) (*storageAccountOutput, error) {
	a, err := s.services.StorageAccounts.StorageAccount(ctx, pai.UserName(in.User))
	return storageAccountInfoOf(a), err
}

func (s *Server) setStoragePassword(ctx context.Context, in *setStoragePasswordInput) (*storageAccountOutput, error) {
	a, err := s.services.StorageAccounts.SetStoragePassword(ctx, pai.UserName(in.User), pai.Password(in.Body.Password))
	return storageAccountInfoOf(a), err
}

func (s *Server) removeStoragePassword(ctx context.Context, in *userInput) (*messageOutput, error) {
	removed, err := s.services.StorageAccounts.RemoveStoragePassword(ctx, pai.UserName(in.User))
	if !removed {
		return &messageOutput{message{fmt.Sprintf("User %s has no SMB password: nothing to remove", in.User)}}, err
	}
	return &messageOutput{message{fmt.Sprintf("The SMB password of user %s is removed", in.User)}}, err
}
