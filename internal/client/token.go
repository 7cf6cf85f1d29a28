package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	pai "github.com/pai-storage/pai-storage"
)

// Session is the result of signing in.
type Session struct {
	Token string `json:"token"`
	User  string `json:"user"`
	Admin bool   `json:"admin"`
}

// Login signs in. A lifetime of 0 seconds is the server's default.
func (c *Client) Login(ctx context.Context, user pai.UserName, password pai.Password, seconds int) (Session, error) {
	form := url.Values{"username": {string(user)}, "password": {string(password)}}
	if seconds > 0 {
		form.Set("expiration", strconv.Itoa(seconds))
	}
	var out Session
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/authn/basic/login",
		contentType: "application/x-www-form-urlencoded", body: []byte(form.Encode())}, &out)
	return out, err
}

// Logout revokes the client's token.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: "/authn/basic/logout"}, nil)
	return err
}
