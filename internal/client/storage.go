package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	pai "github.com/pai-storage/pai-storage"
)

// Storage is a storage as the API shows it; lists leave out what comes after Reason.
type Storage struct {
	Name       string `json:"name"`
	Share      bool   `json:"share"`
	VolumeName string `json:"volumeName"`
	Default    bool   `json:"default"`
	Reason     string `json:"reason,omitempty"`

	BindsWithJob bool `json:"bindsWithFirstJob,omitempty"`

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

// StorageOverview is a storage as administrators see it in the list of all.
type StorageOverview struct {
	Storage
	State              string   `json:"state"`
	VolumeState        string   `json:"volumeState,omitempty"`
	Size               string   `json:"size,omitempty"`
	Groups             []string `json:"groups,omitempty"`
	RunningJobs        int      `json:"runningJobs"`
	Jobs               []string `json:"jobs,omitempty"`
	ExposesCredentials bool     `json:"exposesCredentials,omitempty"`
}

// AllStorages lists every storage with its state. Administrators only.
func (c *Client) AllStorages(ctx context.Context) ([]StorageOverview, error) {
	var out struct {
		Storages []StorageOverview `json:"storages"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/storages", query: url.Values{"all": {"true"}}}, &out)
	return out.Storages, err
}

// Declaration is the short description of a storage; see [pai.StorageDeclaration] for what belongs to which type.
type Declaration struct {
	Name          string            `json:"name"`
	Type          pai.StorageType   `json:"type"`
	Server        string            `json:"server,omitempty"`
	Path          string            `json:"path,omitempty"`
	Address       string            `json:"address,omitempty"`
	AccountName   string            `json:"accountName,omitempty"`
	ContainerName string            `json:"containerName,omitempty"`
	ShareName     string            `json:"shareName,omitempty"`
	Bucket        string            `json:"bucket,omitempty"`
	Prefix        string            `json:"prefix,omitempty"`
	Endpoint      string            `json:"endpoint,omitempty"`
	Region        string            `json:"region,omitempty"`
	Anonymous     bool              `json:"anonymous,omitempty"`
	Nodes         []string          `json:"nodes,omitempty"`
	Size          string            `json:"size,omitempty"`
	Personal      bool              `json:"personal,omitempty"`
	ReadOnly      bool              `json:"readOnly,omitempty"`
	MountOptions  []string          `json:"mountOptions,omitempty"`
	Options       map[string]string `json:"options,omitempty"`
	SecretName    string            `json:"secretName,omitempty"`
	Secret        pai.Secret        `json:"secret,omitempty"`
}

// Declared is what a declaration made.
type Declared struct {
	Message    string `json:"message"`
	Name       string `json:"name"`
	VolumeName string `json:"volumeName"`
	SecretName string `json:"secretName,omitempty"`
	Manifest   string `json:"manifest"`
}

// DeclareStorage makes a storage, or with dryRun says only what would be made. Administrators only.
func (c *Client) DeclareStorage(ctx context.Context, d Declaration, dryRun bool) (out Declared, err error) {
	r, err := c.json(http.MethodPost, "/storages", d)
	if err != nil {
		return out, err
	}
	if dryRun {
		r.query = url.Values{"dryRun": {"true"}}
	}
	_, err = c.do(ctx, r, &out)
	return out, err
}

// Removed is what the removal of a storage did.
type Removed struct {
	Message string   `json:"message"`
	Deleted []string `json:"deleted"`
	Kept    []string `json:"kept"`
	Groups  []string `json:"groups"` // that still have a grant
	Jobs    []string `json:"jobs"`   // that still mount it
}

// RemoveStorage removes a storage; its data stays. Administrators only.
func (c *Client) RemoveStorage(ctx context.Context, r pai.StorageRemoval) (out Removed, err error) {
	query := url.Values{"force": {strconv.FormatBool(r.Force)}, "revoke": {strconv.FormatBool(r.Revoke)}}
	_, err = c.do(ctx, call{method: http.MethodDelete, path: "/storages/" + url.PathEscape(string(r.Name)), query: query}, &out)
	return out, err
}
