package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path"
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

// SubmitJob starts the job that a job protocol document describes.
func (c *Client) SubmitJob(ctx context.Context, document []byte) (pai.JobID, error) {
	header, err := c.do(ctx, call{method: http.MethodPost, path: "/jobs", contentType: "text/yaml", body: document}, nil)
	if err != nil {
		return pai.JobID{}, err
	}
	return pai.ParseJobID(path.Base(header.Get("Location")))
}

// Job is a job as the API shows it, as far as programs need it.
type Job struct {
	Name      string              `json:"name"`
	JobStatus JobStatus           `json:"jobStatus"`
	TaskRoles map[string]TaskRole `json:"taskRoles"`
	DebugID   string              `json:"debugId"`
}

// JobStatus is how a job is. Times are milliseconds since 1970.
type JobStatus struct {
	Username       string       `json:"username"`
	State          pai.JobState `json:"state"`
	VirtualCluster string       `json:"virtualCluster"`
	SubmissionTime *int64       `json:"submissionTime"`
	LaunchedTime   *int64       `json:"launchedTime"`
	CompletedTime  *int64       `json:"completedTime"`
	AppExitCode    *int         `json:"appExitCode"`
	Message        string       `json:"message,omitempty"`
}

// TaskRole is the tasks of a role.
type TaskRole struct {
	TaskStatuses []TaskStatus `json:"taskStatuses"`
}

// TaskStatus is how a task is.
type TaskStatus struct {
	TaskIndex         int          `json:"taskIndex"`
	TaskState         pai.JobState `json:"taskState"`
	ContainerIP       *string      `json:"containerIp"`
	ContainerNodeName *string      `json:"containerNodeName"`
	ContainerExitCode *int         `json:"containerExitCode"`
	Diagnostics       *string      `json:"containerExitDiagnostics"`
	Retries           int          `json:"retries"`
}

// Job finds one.
func (c *Client) Job(ctx context.Context, id pai.JobID) (out Job, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: jobPath(id)}, &out)
	return out, err
}

func jobPath(id pai.JobID) string { return "/jobs/" + url.PathEscape(id.String()) }

// Log opens the log of a task; the caller closes it.
func (c *Client) Log(ctx context.Context, r pai.LogRequest) (io.ReadCloser, error) {
	query := url.Values{"taskIndex": {strconv.Itoa(r.Task)}}
	if r.Role != "" {
		query.Set("taskRole", r.Role)
	}
	if r.Tail > 0 {
		query.Set("tail", strconv.Itoa(r.Tail))
	}
	if r.Follow {
		query.Set("follow", "true")
	}
	resp, err := c.send(ctx, call{method: http.MethodGet, path: jobPath(r.Job) + "/logs", query: query})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}
