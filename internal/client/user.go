package client

import (
	"context"
	"net/http"
)

// NewUser is the order to create a user.
type NewUser struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Admin    bool   `json:"admin,omitempty"`
	Email    string `json:"email,omitempty"`
}

// CreateUser adds a user. Administrators only.
func (c *Client) CreateUser(ctx context.Context, u NewUser) error {
	r, err := c.json(http.MethodPost, "/users", u)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, r, nil)
	return err
}
