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

// SubmitJob starts the job that a job protocol document describes.
func (c *Client) SubmitJob(ctx context.Context, document []byte) (id pai.JobID, warnings []string, err error) {
	var said struct{ Warnings []string }
	header, err := c.do(ctx, call{method: http.MethodPost, path: "/jobs", contentType: "text/yaml", body: document}, &said)
	if err != nil {
		return pai.JobID{}, nil, err
	}
	id, err = pai.ParseJobID(path.Base(header.Get("Location")))
	return id, said.Warnings, err
}

// Job is a job as the API shows it, as far as programs need it.
type Job struct {
	Name        string              `json:"name"`
	Tags        []string            `json:"tags"`
	JobPriority string              `json:"jobPriority,omitempty"`
	JobStatus   JobStatus           `json:"jobStatus"`
	TaskRoles   map[string]TaskRole `json:"taskRoles"`
	DebugID     string              `json:"debugId"`
	Finding     *Finding            `json:"finding"`
}

// JobStatus is how a job is.
type JobStatus struct {
	Username       string       `json:"username"`
	State          pai.JobState `json:"state"`
	AttemptID      int          `json:"attemptId"`
	VirtualCluster string       `json:"virtualCluster"`
	SubmissionTime *Time        `json:"submissionTime"`
	LaunchedTime   *Time        `json:"launchedTime"`
	CompletedTime  *Time        `json:"completedTime"`
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
