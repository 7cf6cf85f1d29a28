package rest

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

type createJobInput struct {
	ContentType string `header:"Content-Type"`
	RawBody     []byte `contentType:"text/yaml"`
}

type createJobOutput struct {
	Location string `header:"Location" doc:"The job"`
	Body     submitted
}

// submitted is what is said about a new job.
type submitted struct {
	Message  string   `json:"message"`
	Warnings []string `json:"warnings,omitempty" doc:"What the document asks of others than this server, and nobody will do"`
}

type jobInput struct {
	Job string `path:"framework" doc:"USER~JOB"`
}

type jobOutput struct{ Body jobDetail }

// jobDetail is the reference's JobDetail. Times are milliseconds since 1970, null when they have not come.
type jobDetail struct {
	Name      string              `json:"name"`
	Tags      []string            `json:"tags"`
	JobStatus jobStatus           `json:"jobStatus"`
	TaskRoles map[string]taskRole `json:"taskRoles"`
	DebugID   string              `json:"debugId" doc:"The name of the job's record in Kubernetes"`
	Priority  *string             `json:"jobPriority"`
	Storages  []string            `json:"storages" doc:"What it mounts"`
	Finding   *finding            `json:"finding" doc:"Why it waits, or failed: the first of its diagnosis"`
}

type jobStatus struct {
	Username       string       `json:"username"`
	State          string       `json:"state" enum:"WAITING,RUNNING,STOPPING,STOPPED,SUCCEEDED,FAILED,UNKNOWN"`
	SubState       string       `json:"subState"`
	ExecutionType  string       `json:"executionType" enum:"START,STOP"`
	Retries        int          `json:"retries"`
	RetryDetails   retryDetails `json:"retryDetails"`
	RetryDelayTime *int64       `json:"retryDelayTime"`
	SubmissionTime *int64       `json:"submissionTime"`
	CreatedTime    *int64       `json:"createdTime"`
	LaunchedTime   *int64       `json:"launchedTime"`
	CompletedTime  *int64       `json:"completedTime"`
	AttemptID      int          `json:"attemptId"`
	AttemptState   string       `json:"attemptState"`
	AppID          string       `json:"appId"`
	AppCreated     *int64       `json:"appCreatedTime"`
	AppLaunched    *int64       `json:"appLaunchedTime"`
	AppCompleted   *int64       `json:"appCompletedTime"`
	AppExitCode    *int         `json:"appExitCode"`
	Diagnostics    *string      `json:"appExitDiagnostics"`
	TriggerMessage *string      `json:"appExitTriggerMessage"`
	TriggerRole    *string      `json:"appExitTriggerTaskRoleName"`
	TriggerIndex   *int         `json:"appExitTriggerTaskIndex"`
	ExitType       *string      `json:"appExitType"`
	VirtualCluster string       `json:"virtualCluster"`
	Message        string       `json:"message,omitempty" doc:"Why the job waits or failed, as far as is known"`
}

type retryDetails struct {
	User     int `json:"user"`
	Platform int `json:"platform"`
	Resource int `json:"resource"`
}

type taskRole struct {
	Status   taskRoleStatus `json:"taskRoleStatus"`
	Statuses []taskStatus   `json:"taskStatuses"`
}

type taskRoleStatus struct {
	Name string `json:"name"`
}

type taskStatus struct {
	Index         int            `json:"taskIndex"`
	UID           string         `json:"taskUid"`
	State         string         `json:"taskState" enum:"WAITING,RUNNING,STOPPING,STOPPED,SUCCEEDED,FAILED,UNKNOWN"`
	ContainerID   *string        `json:"containerId"`
	IP            *string        `json:"containerIp"`
	Node          *string        `json:"containerNodeName"`
	Ports         map[string]int `json:"containerPorts"`
	GPUs          *string        `json:"containerGpus"`
	Log           string         `json:"containerLog" doc:"Where the log is listed"`
	ExitCode      *int           `json:"containerExitCode"`
	Diagnostics   *string        `json:"containerExitDiagnostics"`
	Retries       int            `json:"retries"`
	Accountable   int            `json:"accountableRetries"`
	CreatedTime   *int64         `json:"createdTime"`
	LaunchedTime  *int64         `json:"launchedTime"`
	CompletedTime *int64         `json:"completedTime"`
	AttemptID     int            `json:"attemptId"`
	AttemptState  string         `json:"attemptState"`
}

func (s *Server) jobOperations() {
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "createJob", Method: http.MethodPost, Path: prefix + "/jobs", Tags: []string{"job"},
		Summary: "Submit a job: a job protocol document, version 2.", DefaultStatus: http.StatusAccepted, MaxBodyBytes: jobspec.MaxSize + 1,
	}, s.createJob)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getJob", Method: http.MethodGet, Path: prefix + "/jobs/{framework}", Tags: []string{"job"},
		Summary: "Get a job as it is now. Its owner and administrators only.",
	}, s.getJob)
	s.jobListOperations()
	s.jobDetailOperations()
	s.jobChangeOperations()
	s.diagnosisOperations()
}

// yamlTypes are the content types that clients send a job document as.
var yamlTypes = []string{"text/yaml", "application/yaml", "application/x-yaml", "text/x-yaml", "text/plain", "application/json", ""}

func (s *Server) createJob(ctx context.Context, in *createJobInput) (*createJobOutput, error) {
	if _, err := pai.CallerFrom(ctx); err != nil { // guests do not get to use the parser
		return nil, err
	}
	media, _, _ := mime.ParseMediaType(in.ContentType)
	if !slices.Contains(yamlTypes, media) {
		return nil, pai.Errorf(pai.InvalidParametersError, "send the job document with the header Content-Type: text/yaml")
	}
	spec, err := jobspec.Parse(in.RawBody)
	if err != nil {
		return nil, err
	}
	id, err := s.services.Jobs.Submit(ctx, pai.Submission{Spec: spec, Source: spec.Document})
	if err != nil {
		return nil, err
	}
	return &createJobOutput{Location: jobPath(id), Body: submitted{Message: fmt.Sprintf("update job %s successfully", id.Name), Warnings: spec.Warnings}}, nil
}

func jobPath(id pai.JobID) string { return prefix + "/jobs/" + id.String() }

func (s *Server) getJob(ctx context.Context, in *jobInput) (*jobOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	job, err := s.services.Jobs.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	return &jobOutput{detailOf(job)}, nil
}

// jobID reads a job's name in a path. What cannot be one names no job, to those who are signed in.
func (s *Server) jobID(ctx context.Context, text string) (pai.JobID, error) {
	id, err := pai.ParseJobID(text)
	if err == nil {
		return id, nil
	}
	if _, denied := pai.CallerFrom(ctx); denied != nil {
		return id, denied
	}
	return id, pai.Errorf(pai.NoJobError, "Job %.80s is not found.", text).Because(err)
}

func detailOf(j pai.Job) jobDetail {
	out := jobDetail{Name: string(j.ID.Name), Tags: list(j.Tags), DebugID: j.Object, Priority: optional(j.Priority), Storages: []string{},
		Finding: findingOf(j.Finding), TaskRoles: map[string]taskRole{}}
	for _, name := range j.Storages {
		out.Storages = append(out.Storages, string(name))
	}
	out.JobStatus = jobStatus{
		Username: string(j.ID.User), State: string(j.State), SubState: subState(j.State), ExecutionType: executionType(j.Stopped),
		Retries: j.Attempt, RetryDetails: retryDetails{User: j.Attempt}, AttemptID: j.Attempt,
		SubmissionTime: millis(j.Submitted), CreatedTime: millis(j.Submitted), LaunchedTime: millis(j.Started), CompletedTime: millis(j.Completed),
		AttemptState: string(j.State), AppID: j.UID, AppCreated: millis(j.Submitted), AppLaunched: millis(j.Started), AppCompleted: millis(j.Completed),
		AppExitCode: j.ExitCode, VirtualCluster: j.VirtualCluster, Message: j.Message,
	}
	if j.State.Done() {
		st := &out.JobStatus
		exitType := map[pai.JobState]string{pai.JobSucceeded: "Succeeded", pai.JobFailed: "Failed", pai.JobStopped: "Stopped"}[j.State]
		st.ExitType, st.Diagnostics, st.TriggerMessage = &exitType, &j.Message, &j.Message
		if j.ExitCode != nil {
			st.TriggerRole, st.TriggerIndex = &j.ExitRole, &j.ExitTask
		}
	}
	for _, role := range j.Roles {
		tr := taskRole{Status: taskRoleStatus{Name: role.Name}, Statuses: []taskStatus{}}
		for _, t := range role.Tasks {
			tr.Statuses = append(tr.Statuses, taskStatusOf(j.ID, j.Attempt, role.Name, t))
		}
		out.TaskRoles[role.Name] = tr
	}
	return out
}

func taskStatusOf(id pai.JobID, attempt int, role string, t pai.TaskStatus) taskStatus {
	return taskStatus{
		Index: t.Index, UID: t.UID, State: string(t.State), ContainerID: optional(t.UID), IP: optional(t.IP), Node: optional(t.Node),
		Ports: map[string]int{}, Log: logListPath(id, attempt, role, t.Index, t.Retries), ExitCode: t.ExitCode, Diagnostics: optional(t.Message),
		Retries: t.Retries, Accountable: t.Retries, CreatedTime: millis(t.Created), LaunchedTime: millis(t.Started), CompletedTime: millis(t.Completed),
		AttemptID: t.Retries, AttemptState: string(t.State),
	}
}

// subState is the nearest state of the original's framework controller.
func subState(s pai.JobState) string {
	switch s {
	case pai.JobWaiting:
		return "AttemptPreparing"
	case pai.JobRunning:
		return "AttemptRunning"
	case pai.JobStopping:
		return "AttemptDeleting"
	}
	return "Completed"
}

func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
