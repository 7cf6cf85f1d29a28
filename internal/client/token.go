package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

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

// Token is what there is to say of a token without the token itself.
type Token struct {
	ID          string     `json:"id"`
	Application bool       `json:"application"`
	Issued      *time.Time `json:"issued,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"` // nil: never
	Current     bool       `json:"current"`           // the client's own
}

// Tokens lists one's own valid tokens, the newest first.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	var out struct {
		Details []Token `json:"details"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/tokens"}, &out)
	return out.Details, err
}

// CreateApplicationToken makes a token for programs: good for jobs only, until it is revoked.
func (c *Client) CreateApplicationToken(ctx context.Context) (string, error) {
	var out struct {
		Token string `json:"token"`
	}
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/tokens/application"}, &out)
	return out.Token, err
}

// RevokeToken revokes one of one's own tokens, named by itself or its ID, or somebody else's, named by itself: administrators only. A token
// that is not listed is as good as revoked; the server's message says which it was.
func (c *Client) RevokeToken(ctx context.Context, token string) (message string, err error) {
	var out struct {
		Message string `json:"message"`
	}
	_, err = c.do(ctx, call{method: http.MethodDelete, path: "/tokens/" + url.PathEscape(token)}, &out)
	return out.Message, err
}
