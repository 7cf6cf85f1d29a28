package rest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type jobAttemptInput struct {
	Job     string `path:"framework" doc:"USER~JOB"`
	Attempt string `path:"jobAttemptId" doc:"From 0"`
}

type taskInput struct {
	Job       string `path:"framework" doc:"USER~JOB"`
	Attempt   string `path:"jobAttemptId" doc:"From 0"`
	TaskRole  string `path:"taskRoleName"`
	TaskIndex string `path:"taskIndex"`
}

type jobConfigOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type eventsInput struct {
	Job  string `path:"framework" doc:"USER~JOB"`
	Type string `query:"type" enum:"Normal,Warning" doc:"Events of this type only"`
}

type jobEvent struct {
	UID       string    `json:"uid"`
	Framework string    `json:"frameworkName" doc:"The name of the job's record in Kubernetes"`
	PodUID    string    `json:"podUid"`
	TaskRole  string    `json:"taskroleName"`
	TaskName  string    `json:"taskName" doc:"The name of what it is about in Kubernetes"`
	TaskIndex int       `json:"taskIndex"`
	Type      string    `json:"type" enum:"Normal,Warning"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
	First     time.Time `json:"firstTimestamp"`
	Last      time.Time `json:"lastTimestamp"`
	Count     int       `json:"count"`
	Component string    `json:"sourceComponent"`
	Host      *string   `json:"sourceHost"`
}

type eventsOutput struct {
	Body struct {
		TotalCount int        `json:"totalCount"`
		Data       []jobEvent `json:"data" doc:"The latest first"`
	}
}

// taskHistory is the reference's TaskStatus.
type taskHistory struct {
	Index         int           `json:"taskIndex"`
	UID           string        `json:"taskUid"`
	State         string        `json:"taskState" enum:"WAITING,RUNNING,STOPPING,STOPPED,SUCCEEDED,FAILED,UNKNOWN"`
	Retries       int           `json:"retries"`
	Accountable   int           `json:"accountableRetries"`
	CreatedTime   *int64        `json:"createdTime"`
	LaunchedTime  *int64        `json:"launchedTime"`
	CompletedTime *int64        `json:"completedTime"`
	Username      string        `json:"username"`
	JobName       string        `json:"jobName"`
	JobAttempt    int           `json:"jobAttemptId"`
	TaskRole      string        `json:"taskRoleName"`
	Attempts      []taskAttempt `json:"attempts"`
}

type taskAttempt struct {
	ID          int            `json:"attemptId"`
	State       string         `json:"attemptState"`
	Created     *int64         `json:"currentAttemptCreatedTime"`
	Launched    *int64         `json:"currentAttemptLaunchedTime"`
	Completed   *int64         `json:"currentAttemptCompletedTime"`
	ContainerID *string        `json:"containerId"`
	IP          *string        `json:"containerIp"`
	Node        *string        `json:"containerNodeName"`
	Ports       map[string]int `json:"containerPorts"`
	GPUs        *string        `json:"containerGpus"`
	Log         string         `json:"containerLog"`
	ExitCode    *int           `json:"containerExitCode"`
	Diagnostics *string        `json:"containerExitDiagnostics"`
}

type taskHistoryOutput struct{ Body taskHistory }

func (s *Server) jobDetailOperations() {
	const path = prefix + "/jobs/{framework}"
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getJobAttempt", Method: http.MethodGet, Path: path + "/attempts/{jobAttemptId}", Tags: []string{"job"},
		Summary: "Get a job as one of its attempts left it. Its owner and administrators only.",
	}, s.getJobAttempt)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getJobConfig", Method: http.MethodGet, Path: path + "/config", Tags: []string{"job"},
		Summary: "Get the document of a job as it was submitted, without the values of secrets. Its owner and administrators only.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The document", Content: map[string]*huma.MediaType{"text/yaml": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, s.getJobConfig)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getEvents", Method: http.MethodGet, Path: path + "/events", Tags: []string{"job"},
		Summary: "List what Kubernetes said about the tasks of a job in the last hour. Its owner and administrators only.",
	}, s.getEvents)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getTask", Method: http.MethodGet, Tags: []string{"job"},
		Path:    path + "/attempts/{jobAttemptId}/taskRoles/{taskRoleName}/taskIndex/{taskIndex}/attempts",
		Summary: "Get every attempt at a task. Its owner and administrators only.",
	}, s.getTask)
}

func (s *Server) getJobAttempt(ctx context.Context, in *jobAttemptInput) (*jobOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	job, err := s.services.Jobs.JobAttempt(ctx, id, index(in.Attempt))
	if err != nil {
		return nil, err
	}
	return &jobOutput{detailOf(job)}, nil
}

// index reads a number in a path; -1, which nothing has, for what is none.
func index(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func (s *Server) getJobConfig(ctx context.Context, in *jobInput) (*jobConfigOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	text, err := s.services.Jobs.JobConfig(ctx, id)
	if err != nil {
		return nil, err
	}
	return &jobConfigOutput{ContentType: "text/yaml; charset=utf-8", Body: text}, nil
}

func (s *Server) getEvents(ctx context.Context, in *eventsInput) (*eventsOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	events, err := s.services.Jobs.JobEvents(ctx, id)
	if err != nil {
		return nil, err
	}
	job, err := s.services.Jobs.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{}
	out.Body.Data = []jobEvent{}
	for _, e := range events {
		if in.Type != "" && e.Type != in.Type {
			continue
		}
		out.Body.Data = append(out.Body.Data, jobEvent{UID: e.UID, Framework: job.Object, PodUID: e.PodUID, TaskRole: e.Role, TaskName: e.Object,
			TaskIndex: max(e.Task, 0), Type: e.Type, Reason: e.Reason, Message: e.Message, First: e.First, Last: e.Last, Count: e.Count,
			Component: e.Component, Host: optional(e.Host)})
	}
	out.Body.TotalCount = len(out.Body.Data)
	return out, nil
}

func (s *Server) getTask(ctx context.Context, in *taskInput) (*taskHistoryOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	h, err := s.services.Jobs.TaskHistory(ctx, id, index(in.Attempt), in.TaskRole, index(in.TaskIndex))
	if err != nil {
		return nil, err
	}
	return &taskHistoryOutput{historyOf(h)}, nil
}

func historyOf(h pai.TaskHistory) taskHistory {
	now := h.Attempts[len(h.Attempts)-1]
	retries := len(h.Attempts) - 1
	out := taskHistory{Index: now.Index, UID: now.UID, State: string(now.State), Retries: retries, Accountable: retries,
		CreatedTime: millis(h.Attempts[0].Created), LaunchedTime: millis(now.Started), CompletedTime: millis(now.Completed),
		Username: string(h.Job.User), JobName: string(h.Job.Name), JobAttempt: h.Attempt, TaskRole: h.Role}
	for i, t := range h.Attempts {
		out.Attempts = append(out.Attempts, taskAttempt{ID: i, State: string(t.State), Created: millis(t.Created), Launched: millis(t.Started),
			Completed: millis(t.Completed), ContainerID: optional(t.UID), IP: optional(t.IP), Node: optional(t.Node), Ports: map[string]int{},
			Log: logListPath(h.Job, h.Attempt, h.Role, t.Index, i), ExitCode: t.ExitCode, Diagnostics: optional(t.Message)})
	}
	return out
}

// literal keeps a text from being read as a format.
func literal(text string) string { return strings.ReplaceAll(text, "%", "%%") }
