package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// StorageAccount is a user's account on the SMB server.
type StorageAccount struct {
	Username string     `json:"username"`
	Set      bool       `json:"set"`
	Since    *time.Time `json:"since,omitempty"`
}

func storagePasswordPath(user pai.UserName) string {
	return "/users/" + url.PathEscape(string(user)) + "/storage-password"
}

// StorageAccount says whether a user has a password for the SMB server.
func (c *Client) StorageAccount(ctx context.Context, user pai.UserName) (StorageAccount, error) {
	var out StorageAccount
	_, err := c.do(ctx, call{method: http.MethodGet, path: storagePasswordPath(user)}, &out)
	return out, err
}

// SetStoragePassword sets it.
func (c *Client) SetStoragePassword(ctx context.Context, user pai.UserName, password pai.Password) (StorageAccount, error) {
	var out StorageAccount
	body, err := json.Marshal(map[string]string{"password": string(password)})
	if err != nil {
		return out, err
	}
	_, err = c.do(ctx, call{method: http.MethodPut, path: storagePasswordPath(user), contentType: "application/json", body: body}, &out)
	return out, err
}

// RemoveStoragePassword takes the account away.
func (c *Client) RemoveStoragePassword(ctx context.Context, user pai.UserName) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: storagePasswordPath(user)}, nil)
	return err
}
