package client

import (
	"context"
	"net/http"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// StorageAccount is what there is to say of a user's SMB password without the password.
type StorageAccount struct {
	Username string     `json:"username"`
	Set      bool       `json:"set"`
	Since    *time.Time `json:"since,omitempty"`
	Admin    bool       `json:"admin"`
	Warning  string     `json:"warning,omitempty"`
}

func storagePasswordPath(name pai.UserName) string { return userPath(name) + "/storage-password" }

// StorageAccount tells whether a user has an SMB password. Others than oneself: administrators only.
func (c *Client) StorageAccount(ctx context.Context, name pai.UserName) (a StorageAccount, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: storagePasswordPath(name)}, &a)
	return a, err
}

// SetStoragePassword sets a user's SMB password. Others than oneself: administrators only.
func (c *Client) SetStoragePassword(ctx context.Context, name pai.UserName, password pai.Password) (a StorageAccount, err error) {
	r, err := c.json(http.MethodPut, storagePasswordPath(name), map[string]string{"password": string(password)})
	if err != nil {
		return a, err
	}
	_, err = c.do(ctx, r, &a)
	return a, err
}

// RemoveStoragePassword takes a user's SMB password away; there may be none. Others than oneself: administrators only.
func (c *Client) RemoveStoragePassword(ctx context.Context, name pai.UserName) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: storagePasswordPath(name)}, nil)
	return err
}
