package client

import (
	"context"
	"net/http"
	"net/url"

	pai "github.com/pai-storage/pai-storage"
)

// Storage is a storage as the API shows it; lists leave out what comes after Reason.
type Storage struct {
	Name       string `json:"name"`
	Share      bool   `json:"share"`
	VolumeName string `json:"volumeName"`
	Default    bool   `json:"default"`
	Reason     string `json:"reason,omitempty"`

	Type         string            `json:"type,omitempty"`
	Data         map[string]string `json:"data,omitempty"`
	ReadOnly     bool              `json:"readOnly,omitempty"`
	SecretName   string            `json:"secretName,omitempty"`
	MountOptions []string          `json:"mountOptions,omitempty"`
}

// Storages lists the storages that the user may see.
func (c *Client) Storages(ctx context.Context, defaultsOnly bool) ([]Storage, error) {
	var out struct {
		Storages []Storage `json:"storages"`
	}
	r := call{method: http.MethodGet, path: "/storages"}
	if defaultsOnly {
		r.query = url.Values{"default": {"true"}}
	}
	_, err := c.do(ctx, r, &out)
	return out.Storages, err
}

// Storage finds one.
func (c *Client) Storage(ctx context.Context, name pai.StorageName) (out Storage, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/storages/" + url.PathEscape(string(name))}, &out)
	return out, err
}
