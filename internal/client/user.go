package client

import (
	"context"
	"net/http"
	"net/url"

	pai "github.com/pai-storage/pai-storage"
)

// User is a user as the API shows one.
type User struct {
	Username       string            `json:"username"`
	Grouplist      []pai.GroupName   `json:"grouplist"`
	Email          string            `json:"email"`
	Extension      map[string]any    `json:"extension"`
	Admin          bool              `json:"admin"`
	VirtualCluster []string          `json:"virtualCluster"`
	StorageConfig  []pai.StorageName `json:"storageConfig"`
}

// NewUser is the order to create a user.
type NewUser struct {
	Username       string         `json:"username"`
	Password       string         `json:"password"`
	Admin          bool           `json:"admin,omitempty"`
	Email          string         `json:"email,omitempty"`
	VirtualCluster []string       `json:"virtualCluster,omitempty"`
	Extension      map[string]any `json:"extension,omitempty"`
}

// UserChange is what to change of a user; what is nil stays.
type UserChange struct {
	Username       string         `json:"username"`
	Email          *string        `json:"email,omitempty"`
	Password       *string        `json:"password,omitempty"`
	Admin          *bool          `json:"admin,omitempty"`
	VirtualCluster *[]string      `json:"virtualCluster,omitempty"`
	Extension      map[string]any `json:"extension,omitempty"` // merged deeply, null deletes
}

// SelfChange is what users change of their own record; what is nil stays.
type SelfChange struct {
	Username    string         `json:"username"`
	Email       *string        `json:"email,omitempty"`
	NewPassword *string        `json:"newPassword,omitempty"`
	OldPassword *string        `json:"oldPassword,omitempty"`
	Extension   map[string]any `json:"extension,omitempty"` // merged deeply, null deletes
}

func userPath(name pai.UserName) string { return "/users/" + url.PathEscape(string(name)) }

// Users lists all users, sorted by name. Administrators only.
func (c *Client) Users(ctx context.Context) (out []User, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/users"}, &out)
	return out, err
}

// User finds a user, and its version for [Client.PatchUser]. Others than oneself: administrators only.
func (c *Client) User(ctx context.Context, name pai.UserName) (u User, version string, err error) {
	header, err := c.do(ctx, call{method: http.MethodGet, path: userPath(name)}, &u)
	return u, header.Get("ETag"), err
}

// Self is the record of whoever the token belongs to.
func (c *Client) Self(ctx context.Context) (u User, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/users/me"}, &u)
	return u, err
}

// CreateUser adds a user, and says what the name keeps the user from, "" when nothing. Administrators only.
func (c *Client) CreateUser(ctx context.Context, u NewUser) (warning string, err error) {
	r, err := c.json(http.MethodPost, "/users", u)
	if err != nil {
		return "", err
	}
	var said struct{ Warning string }
	_, err = c.do(ctx, r, &said)
	return said.Warning, err
}

// PatchUser changes a user. With a version, it does so only while that is the current one: OutdatedVersionError. Administrators only.
func (c *Client) PatchUser(ctx context.Context, change UserChange, version string) error {
	return c.change(ctx, http.MethodPut, "/users", version, map[string]any{"data": change, "patch": true})
}

// PatchSelf changes one's own record.
func (c *Client) PatchSelf(ctx context.Context, change SelfChange) error {
	return c.change(ctx, http.MethodPut, "/users/me", "", map[string]any{"data": change, "patch": true})
}

// DeleteUser removes a user who is no administrator, and the user's tokens and SMB password. Administrators only.
func (c *Client) DeleteUser(ctx context.Context, name pai.UserName) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: userPath(name)}, nil)
	return err
}

// AddToGroup makes a user a member of a group. Administrators only.
func (c *Client) AddToGroup(ctx context.Context, name pai.UserName, group pai.GroupName) error {
	return c.change(ctx, http.MethodPut, userPath(name)+"/group", "", map[string]any{"groupname": group})
}

// RemoveFromGroup ends a user's membership in a group. Administrators only.
func (c *Client) RemoveFromGroup(ctx context.Context, name pai.UserName, group pai.GroupName) error {
	return c.change(ctx, http.MethodDelete, userPath(name)+"/group", "", map[string]any{"groupname": group})
}

// SetGroups makes a user a member of exactly these groups. Administrators only.
func (c *Client) SetGroups(ctx context.Context, name pai.UserName, groups []pai.GroupName) error {
	if groups == nil {
		groups = []pai.GroupName{}
	}
	return c.change(ctx, http.MethodPut, userPath(name)+"/grouplist", "", map[string]any{"grouplist": groups})
}

// change sends a body whose answer says nothing new.
func (c *Client) change(ctx context.Context, method, path, version string, body any) error {
	r, err := c.json(method, path, body)
	if err != nil {
		return err
	}
	r.ifMatch = version
	_, err = c.do(ctx, r, nil)
	return err
}
