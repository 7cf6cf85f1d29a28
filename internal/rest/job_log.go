package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	pai "github.com/pai-storage/pai-storage"
)

type logInput struct {
	Job       string `path:"framework" doc:"USER~JOB"`
	TaskRole  string `query:"taskRole" doc:"The first one when left out"`
	TaskIndex int    `query:"taskIndex" minimum:"0"`
	Tail      int    `query:"tail" minimum:"0" doc:"The last so many lines only"`
	Follow    bool   `query:"follow" doc:"Wait for the task to start, and go on until it ends"`
}

type logListInput struct {
	Job         string `path:"framework" doc:"USER~JOB"`
	JobAttempt  string `path:"jobAttemptId"`
	TaskRole    string `path:"taskRoleName"`
	TaskIndex   string `path:"taskIndex"`
	TaskAttempt string `path:"taskAttemptId"`
	TailMode    bool   `query:"tailMode"`
}

type logLocation struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
}

type logListOutput struct {
	Body struct {
		Locations []logLocation `json:"locations"`
	}
}

func (s *Server) logOperations() {
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getJobLog", Method: http.MethodGet, Path: prefix + "/jobs/{framework}/logs", Tags: []string{"job"},
		Summary: "Read what a task writes, as text. Its owner and administrators only.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The log", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, s.getLog)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getTaskLogs", Method: http.MethodGet, Tags: []string{"job"},
		Path:    prefix + "/jobs/{framework}/attempts/{jobAttemptId}/taskRoles/{taskRoleName}/taskIndex/{taskIndex}/attempts/{taskAttemptId}/logs",
		Summary: "List the logs of a task.",
	}, s.getLogList)
}

// logListPath is where the logs of one try at a task are listed.
func logListPath(id pai.JobID, attempt int, role string, task, try int) string {
	return fmt.Sprintf("%s/attempts/%d/taskRoles/%s/taskIndex/%d/attempts/%d/logs", jobPath(id), attempt, role, task, try)
}

func (s *Server) getLog(ctx context.Context, in *logInput) (*huma.StreamResponse, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	// Waiting for a task and streaming its log may both take as long as they like.
	requestFrom(ctx).setWriteDeadline(time.Time{})
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.options.Stop, cancel)
	log, err := s.services.Jobs.Log(ctx, pai.LogRequest{Job: id, Role: in.TaskRole, Task: in.TaskIndex, Tail: in.Tail, Follow: in.Follow})
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer cancel()
		defer stop()
		defer log.Close()
		hctx.SetHeader("Content-Type", "text/plain; charset=utf-8")
		hctx.SetStatus(http.StatusOK)
		_, w := humago.Unwrap(hctx)
		s.copyLog(ctx, w, log)
	}}, nil
}

// copyLog passes on what comes as soon as it comes. A log that breaks off ends the connection, so that nobody takes half of it for all.
func (s *Server) copyLog(ctx context.Context, w http.ResponseWriter, log io.Reader) {
	control := http.NewResponseController(w)
	control.Flush()
	buffer := make([]byte, 32<<10)
	for {
		n, err := log.Read(buffer)
		if n > 0 {
			control.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, gone := w.Write(buffer[:n]); gone != nil {
				return
			}
			control.Flush()
		}
		switch {
		case err == io.EOF:
			return
		case err != nil && ctx.Err() == nil:
			s.options.Log.Error("log broke off", "request", requestFrom(ctx).id, "cause", err.Error())
			panic(http.ErrAbortHandler)
		case err != nil:
			return
		}
	}
}

// setWriteDeadline moves the limit on writing the answer; the zero time lifts it.
func (r *request) setWriteDeadline(t time.Time) {
	if r.writer != nil {
		http.NewResponseController(r.writer).SetWriteDeadline(t)
	}
}

// getLogList points at getJobLog. Only the latest attempts have logs; stdout and stderr are one stream.
func (s *Server) getLogList(ctx context.Context, in *logListInput) (*logListOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	job, err := s.services.Jobs.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, role := range job.Roles {
		for _, t := range role.Tasks {
			if role.Name != in.TaskRole || strconv.Itoa(t.Index) != in.TaskIndex {
				continue
			}
			if in.JobAttempt != strconv.Itoa(job.Attempt) || strconv.Itoa(t.Retries) != in.TaskAttempt {
				return nil, pai.Errorf(pai.NoTaskLogError, "Log of task is not found: only the latest attempt has one.")
			}
			query := url.Values{"taskRole": {role.Name}, "taskIndex": {in.TaskIndex}}
			if in.TailMode {
				query.Set("tail", "1000")
			}
			out := &logListOutput{}
			out.Body.Locations = []logLocation{{Name: "all", URI: jobPath(id) + "/logs?" + query.Encode()}}
			return out, nil
		}
	}
	return nil, pai.Errorf(pai.NoTaskError, "Task %.80s[%.20s] is not found.", in.TaskRole, in.TaskIndex)
}
