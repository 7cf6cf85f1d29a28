package rest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type jobListInput struct {
	User           string `query:"username" doc:"Jobs of this user"`
	VirtualCluster string `query:"vc" doc:"Jobs in this virtual cluster"`
	State          string `query:"state" doc:"Jobs in this state; several with commas between them"`
	Keyword        string `query:"keyword" doc:"Part of the name of the job, its user, or its virtual cluster"`
	TagsContain    string `query:"tagsContain" doc:"Jobs with at least one of these tags, which have commas between them"`
	TagsNotContain string `query:"tagsNotContain" doc:"Jobs with none of these tags"`
	Priority       string `query:"jobPriority" doc:"Jobs of this priority class; default for those that have none"`
	Storage        string `query:"storage" doc:"Jobs that mount this storage"`
	Offset         string `query:"offset" doc:"How many to leave out at the front"`
	Limit          string `query:"limit" doc:"How many at most: 5000 when left out, 50000 at most"`
	Order          string `query:"order" doc:"FIELD,ASC or FIELD,DESC; submissionTime,DESC when left out"`
	WithTotalCount string `query:"withTotalCount" doc:"true: an object with the number of all selected jobs, and the list as data"`
}

// jobSummary is an item of the reference's JobSummary.
type jobSummary struct {
	ProtocolVersion string       `json:"protocolVersion"`
	Name            string       `json:"name"`
	Username        string       `json:"username"`
	State           string       `json:"state" enum:"WAITING,RUNNING,STOPPING,STOPPED,SUCCEEDED,FAILED,UNKNOWN"`
	SubState        string       `json:"subState"`
	ExecutionType   string       `json:"executionType" enum:"START,STOP"`
	Tags            []string     `json:"tags"`
	Retries         int          `json:"retries"`
	RetryDetails    retryDetails `json:"retryDetails"`
	RetryDelayTime  *int64       `json:"retryDelayTime"`
	SubmissionTime  *int64       `json:"submissionTime"`
	CreatedTime     *int64       `json:"createdTime"`
	LaunchedTime    *int64       `json:"launchedTime"`
	CompletedTime   *int64       `json:"completedTime"`
	AppExitCode     *int         `json:"appExitCode"`
	VirtualCluster  string       `json:"virtualCluster"`
	GPUs            int          `json:"totalGpuNumber"`
	Tasks           int          `json:"totalTaskNumber"`
	TaskRoles       int          `json:"totalTaskRoleNumber"`
	DebugID         string       `json:"debugId"`
	Priority        *string      `json:"jobPriority"`
	Storages        []string     `json:"storages" doc:"What it mounts"`
	Finding         *finding     `json:"finding" doc:"Why it waits, or failed: the first of its diagnosis"`
}

type jobPage struct {
	TotalCount int          `json:"totalCount"`
	Data       []jobSummary `json:"data"`
}

func (s *Server) jobListOperations() {
	registry := s.api.OpenAPI().Components.Schemas
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "listJobs", Method: http.MethodGet, Path: prefix + "/jobs", Tags: []string{"job"},
		Summary: "List jobs: the caller's own, and for administrators everybody's.",
		Responses: map[string]*huma.Response{"200": {Description: "The jobs", Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{OneOf: []*huma.Schema{
				registry.Schema(reflect.TypeFor[[]jobSummary](), true, "JobList"), registry.Schema(reflect.TypeFor[jobPage](), true, "JobPage")}}}}}},
	}, s.listJobs)
}

func (s *Server) listJobs(ctx context.Context, in *jobListInput) (*huma.StreamResponse, error) {
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	page, err := s.services.Jobs.Jobs(ctx, q)
	if err != nil {
		return nil, err
	}
	texts, err := s.jobTexts.of(page.Jobs)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/json")
		hctx.SetStatus(http.StatusOK)
		out := listWriters.Get().(*bufio.Writer)
		defer listWriters.Put(out)
		out.Reset(hctx.BodyWriter())
		if in.WithTotalCount == "true" {
			fmt.Fprintf(out, `{"totalCount":%d,"data":`, page.Total)
			defer out.Flush()
			defer out.WriteString("}\n")
		}
		writeList(out, texts)
		out.Flush()
	}}, nil
}

// listWriters keep the memory of lists, which would be a lot to collect.
var listWriters = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, 64<<10) }}

// writeList writes texts that are JSON as a JSON list. What cannot be written any more has nobody who reads it.
func writeList(out *bufio.Writer, texts [][]byte) {
	out.WriteByte('[')
	for i, text := range texts {
		if i > 0 {
			out.WriteByte(',')
		}
		out.Write(text)
	}
	out.WriteByte(']')
}

// query reads the parameters, and names everything that is wrong with them.
func (in *jobListInput) query() (pai.JobQuery, error) {
	var faults []string
	note := func(err error) {
		if err != nil {
			faults = append(faults, err.Error())
		}
	}
	q := pai.JobQuery{User: pai.UserName(in.User), VirtualCluster: in.VirtualCluster, Keyword: in.Keyword, Priority: in.Priority,
		Storage: pai.StorageName(in.Storage), TagsAny: split(in.TagsContain), TagsNone: split(in.TagsNotContain)}
	var err error
	q.States, err = parseStates(in.State)
	note(err)
	q.Order, err = pai.ParseJobOrder(in.Order)
	note(err)
	q.Offset, err = parseCount("offset", in.Offset, 0, 1<<31-1, 0)
	note(err)
	q.Limit, err = parseCount("limit", in.Limit, 1, pai.MaxJobLimit, pai.DefaultJobLimit)
	note(err)
	if !slices.Contains([]string{"", "true", "false"}, in.WithTotalCount) {
		note(fmt.Errorf("withTotalCount %.20q: expected true or false", in.WithTotalCount))
	}
	if len(faults) > 0 {
		return q, pai.Errorf(pai.InvalidParametersError, "%s", strings.Join(faults, "; "))
	}
	return q, nil
}

var jobStates = []pai.JobState{pai.JobWaiting, pai.JobRunning, pai.JobStopping, pai.JobStopped, pai.JobSucceeded, pai.JobFailed}

func parseStates(text string) ([]pai.JobState, error) {
	var out []pai.JobState
	for _, part := range split(text) {
		if !slices.Contains(jobStates, pai.JobState(part)) {
			return nil, fmt.Errorf("state %.40q: expected one of %s", part, joinStates())
		}
		out = append(out, pai.JobState(part))
	}
	return out, nil
}

func joinStates() string {
	var names []string
	for _, s := range jobStates {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// split takes apart what commas separate.
func split(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func parseCount(name, text string, least, most, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s %.20q: expected a whole number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// jobTexts keeps what summaries look like as JSON. A summary never changes, so its text is made once, however often it is listed: a list of
// ten thousand is a matter of joining texts.
type jobTexts struct {
	mu    sync.Mutex
	fresh map[*pai.JobSummary][]byte
	aging map[*pai.JobSummary][]byte // what was not asked for since the last change of guard is forgotten at the next
}

// minTexts is how many texts are kept at least before some are forgotten.
const minTexts = 4096

// of returns the texts of jobs.
func (t *jobTexts) of(jobs []*pai.JobSummary) ([][]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.fresh) > 2*max(len(jobs), minTexts) || t.fresh == nil {
		t.aging, t.fresh = t.fresh, make(map[*pai.JobSummary][]byte, len(jobs))
	}
	out := make([][]byte, len(jobs))
	for i, j := range jobs {
		var err error
		if out[i], err = t.text(j); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// text is the JSON of one job. The caller holds the lock.
func (t *jobTexts) text(j *pai.JobSummary) ([]byte, error) {
	if text, ok := t.fresh[j]; ok {
		return text, nil
	}
	text, ok := t.aging[j]
	if !ok {
		var err error
		if text, err = json.Marshal(jobSummaryOf(j)); err != nil {
			return nil, fmt.Errorf("job %s: %w", j.ID, err)
		}
	}
	t.fresh[j] = text
	return text, nil
}

func jobSummaryOf(j *pai.JobSummary) jobSummary {
	out := jobSummary{
		ProtocolVersion: "2", Name: string(j.ID.Name), Username: string(j.ID.User), State: string(j.State), SubState: subState(j.State),
		ExecutionType: executionType(j.Stopped), Tags: list(j.Tags), Retries: j.Attempt, RetryDetails: retryDetails{User: j.Attempt},
		SubmissionTime: millis(j.Submitted), CreatedTime: millis(j.Submitted), LaunchedTime: millis(j.Started), CompletedTime: millis(j.Completed),
		AppExitCode: j.ExitCode, VirtualCluster: cmp.Or(j.VirtualCluster, "unknown"), GPUs: j.GPUs, Tasks: j.Tasks, TaskRoles: j.TaskRoles,
		DebugID: j.Object, Priority: optional(j.Priority), Storages: []string{}, Finding: findingOf(j.Finding),
	}
	for _, s := range j.Storages {
		out.Storages = append(out.Storages, string(s))
	}
	return out
}

// list makes sure that an empty list is one.
func list(items []string) []string {
	if items == nil {
		return []string{}
	}
	return items
}

func executionType(stopped bool) string {
	if stopped {
		return "STOP"
	}
	return "START"
}
