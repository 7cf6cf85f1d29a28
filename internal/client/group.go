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

// Group finds a group, and its version for [Client.PatchGroup].
func (c *Client) Group(ctx context.Context, name pai.GroupName) (g Group, version string, err error) {
	header, err := c.do(ctx, call{method: http.MethodGet, path: "/groups/" + url.PathEscape(string(name))}, &g)
	return g, header.Get("ETag"), err
}

// PatchGroup merges an extension into a group's. With a version, it does so only while that is the current one: OutdatedVersionError.
func (c *Client) PatchGroup(ctx context.Context, name pai.GroupName, extension map[string]any, version string) error {
	r, err := c.json(http.MethodPut, "/groups", map[string]any{
		"data": map[string]any{"groupname": name, "extension": extension}, "patch": true,
	})
	if err != nil {
		return err
	}
	r.ifMatch = version
	_, err = c.do(ctx, r, nil)
	return err
}
