package client

import (
	"context"
	"net/http"
	"net/url"

	pai "github.com/pai-storage/pai-storage"
)

// Group is a group as the API shows it.
type Group struct {
	Groupname    string         `json:"groupname"`
	Description  string         `json:"description"`
	ExternalName string         `json:"externalName"`
	Extension    map[string]any `json:"extension"`
}

// ACLs reads what the group grants.
func (g Group) ACLs() pai.ACLs { return pai.Group{Extension: g.Extension}.ACLs() }

// Member is a user in a group.
type Member struct {
	Username     string `json:"username"`
	ClusterAdmin bool   `json:"clusterAdmin"`
}

// GroupChange makes or changes a group; what is nil is left out. In a patch that keeps it.
type GroupChange struct {
	Groupname    string         `json:"groupname"`
	Description  *string        `json:"description,omitempty"`
	ExternalName *string        `json:"externalName,omitempty"`
	Extension    map[string]any `json:"extension,omitempty"`
}

func groupPath(name pai.GroupName) string { return "/groups/" + url.PathEscape(string(name)) }

// Groups lists all groups.
func (c *Client) Groups(ctx context.Context) (out []Group, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/groups"}, &out)
	return out, err
}

// Group finds a group, and its version for [Client.PatchGroup].
func (c *Client) Group(ctx context.Context, name pai.GroupName) (g Group, version string, err error) {
	header, err := c.do(ctx, call{method: http.MethodGet, path: groupPath(name)}, &g)
	return g, header.Get("ETag"), err
}

// Members lists the users of a group. Administrators only.
func (c *Client) Members(ctx context.Context, name pai.GroupName) (out []Member, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: groupPath(name) + "/userlist"}, &out)
	return out, err
}

// CreateGroup adds a group. Administrators only.
func (c *Client) CreateGroup(ctx context.Context, order GroupChange) error {
	return c.change(ctx, http.MethodPost, "/groups", "", order)
}

// PatchGroup merges a change into a group. With a version, it does so only while that is the current one: OutdatedVersionError.
func (c *Client) PatchGroup(ctx context.Context, change GroupChange, version string) error {
	return c.change(ctx, http.MethodPut, "/groups", version, map[string]any{"data": change, "patch": true})
}

// DeleteGroup removes a group. Administrators only.
func (c *Client) DeleteGroup(ctx context.Context, name pai.GroupName) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: groupPath(name)}, nil)
	return err
}

// Grant is what a grant or its revocation did.
type Grant struct {
	Message  string            `json:"message"`
	Changed  bool              `json:"changed"`
	Storages []pai.StorageName `json:"storages"` // of the group now
	Warning  string            `json:"warning,omitempty"`
	Jobs     []string          `json:"jobs,omitempty"`    // of a revocation: those that still mount it although their users may not any more
	Stopped  bool              `json:"stopped,omitempty"` // those jobs were told to stop
}

// GrantStorage lets the members of a group mount a storage. Administrators only.
func (c *Client) GrantStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName) (out Grant, err error) {
	_, err = c.do(ctx, call{method: http.MethodPut, path: groupPath(group) + "/storages/" + url.PathEscape(string(storage))}, &out)
	return out, err
}

// RevokeStorage lets the members of a group mount a storage no more, and with stopJobs stops the jobs that still do. Administrators only.
func (c *Client) RevokeStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName, stopJobs bool) (out Grant, err error) {
	r := call{method: http.MethodDelete, path: groupPath(group) + "/storages/" + url.PathEscape(string(storage))}
	if stopJobs {
		r.query = url.Values{"stopJobs": {"true"}}
	}
	_, err = c.do(ctx, r, &out)
	return out, err
}
