package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// JobSummary is a job as lists show it.
type JobSummary struct {
	Name            string       `json:"name"`
	Username        string       `json:"username"`
	State           pai.JobState `json:"state"`
	Tags            []string     `json:"tags"`
	Retries         int          `json:"retries"`
	SubmissionTime  *Time        `json:"submissionTime"`
	LaunchedTime    *Time        `json:"launchedTime"`
	CompletedTime   *Time        `json:"completedTime"`
	AppExitCode     *int         `json:"appExitCode"`
	VirtualCluster  string       `json:"virtualCluster"`
	JobPriority     string       `json:"jobPriority,omitempty"`
	TotalGPUNumber  int          `json:"totalGpuNumber"`
	TotalTaskNumber int          `json:"totalTaskNumber"`
	Storages        []string     `json:"storages"`
	Finding         *Finding     `json:"finding"`
}

// Finding is one reason why a job waits, failed, or does not end.
type Finding struct {
	Code     string    `json:"code"`
	Object   string    `json:"object"`
	Message  string    `json:"message"`
	Fix      string    `json:"fix"`
	Who      pai.Fixer `json:"who"`
	Tasks    []string  `json:"tasks"`
	Evidence string    `json:"evidence"`
	Since    *Time     `json:"since"`
	Line     string    `json:"line"`
	HeldBy   []string  `json:"heldBy,omitempty"`
}

// Diagnosis is everything that can be said about why a job is as it is.
type Diagnosis struct {
	Job      string       `json:"job"`
	State    pai.JobState `json:"state"`
	Seen     Time         `json:"seen"`
	Findings []Finding    `json:"findings"`
}

// JobEvent is what Kubernetes said about a task of a job.
type JobEvent struct {
	UID            string `json:"uid"`
	TaskroleName   string `json:"taskroleName"`
	TaskIndex      int    `json:"taskIndex"`
	Type           string `json:"type"`
	Reason         string `json:"reason"`
	Message        string `json:"message"`
	FirstTimestamp string `json:"firstTimestamp"`
	LastTimestamp  string `json:"lastTimestamp"`
	Count          int    `json:"count"`
}

// Jobs lists the jobs that a query selects, and says how many there are without its offset and limit.
func (c *Client) Jobs(ctx context.Context, q pai.JobQuery) ([]JobSummary, int, error) {
	var out struct {
		TotalCount int          `json:"totalCount"`
		Data       []JobSummary `json:"data"`
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/jobs", query: jobQuery(q)}, &out)
	return out.Data, out.TotalCount, err
}

func jobQuery(q pai.JobQuery) url.Values {
	var states []string
	for _, state := range q.States {
		states = append(states, string(state))
	}
	order := ""
	if q.Order.Field != "" {
		order = string(q.Order.Field) + map[bool]string{true: ",ASC", false: ",DESC"}[q.Order.Ascending]
	}
	values := url.Values{"withTotalCount": {"true"}}
	for key, value := range map[string]string{
		"username": string(q.User), "vc": q.VirtualCluster, "state": strings.Join(states, ","), "keyword": q.Keyword,
		"tagsContain": strings.Join(q.TagsAny, ","), "tagsNotContain": strings.Join(q.TagsNone, ","), "jobPriority": q.Priority,
		"storage": string(q.Storage), "order": order,
	} {
		if value != "" {
			values.Set(key, value)
		}
	}
	for key, n := range map[string]int{"offset": q.Offset, "limit": q.Limit} {
		if n > 0 {
			values.Set(key, strconv.Itoa(n))
		}
	}
	return values
}

// JobConfig is the document of a job, with the values of secrets withheld.
func (c *Client) JobConfig(ctx context.Context, id pai.JobID) ([]byte, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: jobPath(id) + "/config"})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("config of job %s: %w", id, err)
	}
	return text, nil
}

// StopJob ends the tasks of a job.
func (c *Client) StopJob(ctx context.Context, id pai.JobID) error {
	return c.changeJob(ctx, http.MethodPut, jobPath(id)+"/executionType", "STOP")
}

// DeleteJob ends the tasks of a job and forgets it.
func (c *Client) DeleteJob(ctx context.Context, id pai.JobID) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: jobPath(id)}, nil)
	return err
}

// TagJob adds a tag to a job.
func (c *Client) TagJob(ctx context.Context, id pai.JobID, tag string) error {
	return c.changeJob(ctx, http.MethodPut, jobPath(id)+"/tag", tag)
}

// UntagJob takes a tag off a job.
func (c *Client) UntagJob(ctx context.Context, id pai.JobID, tag string) error {
	return c.changeJob(ctx, http.MethodDelete, jobPath(id)+"/tag", tag)
}

func (c *Client) changeJob(ctx context.Context, method, path, value string) error {
	r, err := c.json(method, path, map[string]string{"value": value})
	if err != nil {
		return err
	}
	_, err = c.do(ctx, r, nil)
	return err
}

// JobEvents is what Kubernetes said about the tasks of a job, the latest first; of one kind alone, Normal or Warning, when one is given.
func (c *Client) JobEvents(ctx context.Context, id pai.JobID, kind string) ([]JobEvent, error) {
	var out struct {
		Data []JobEvent `json:"data"`
	}
	r := call{method: http.MethodGet, path: jobPath(id) + "/events"}
	if kind != "" {
		r.query = url.Values{"type": {kind}}
	}
	_, err := c.do(ctx, r, &out)
	return out.Data, err
}

// Diagnosis says why a job is as it is.
func (c *Client) Diagnosis(ctx context.Context, id pai.JobID) (out Diagnosis, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: jobPath(id) + "/diagnosis"}, &out)
	return out, err
}
