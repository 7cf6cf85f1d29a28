package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type executionInput struct {
	Job  string `path:"framework" doc:"USER~JOB"`
	Body struct {
		Value string `json:"value" enum:"START,STOP"`
	}
}

type tagInput struct {
	Job  string `path:"framework" doc:"USER~JOB"`
	Body struct {
		Value string `json:"value" doc:"The tag: 1 to 256 characters, no commas"`
	}
}

func (s *Server) jobChangeOperations() {
	const path = prefix + "/jobs/{framework}"
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "updateJobExecutionType", Method: http.MethodPut, Path: path + "/executionType", Tags: []string{"job"}, DefaultStatus: http.StatusAccepted,
		Summary: "Stop a job. Its owner and administrators only.",
	}, s.executeJob)
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "deleteJob", Method: http.MethodDelete, Path: path, Tags: []string{"job"},
		Summary: "End the tasks of a job and forget it. Its owner and administrators only.",
	}, func(ctx context.Context, in *jobInput) (*messageOutput, error) {
		return s.changeJob(ctx, in.Job, s.services.Jobs.DeleteJob, "job %s is deleted")
	})
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "addTag", Method: http.MethodPut, Path: path + "/tag", Tags: []string{"job"},
		Summary: "Add a tag to a job. Its owner and administrators only.",
	}, func(ctx context.Context, in *tagInput) (*messageOutput, error) {
		return s.changeJob(ctx, in.Job, func(ctx context.Context, id pai.JobID) error {
			return s.services.Jobs.TagJob(ctx, id, in.Body.Value)
		}, "Add tag "+literal(in.Body.Value)+" for job %s successfully.")
	})
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "deleteTag", Method: http.MethodDelete, Path: path + "/tag", Tags: []string{"job"},
		Summary: "Take a tag off a job. Its owner and administrators only.",
	}, func(ctx context.Context, in *tagInput) (*messageOutput, error) {
		return s.changeJob(ctx, in.Job, func(ctx context.Context, id pai.JobID) error {
			return s.services.Jobs.UntagJob(ctx, id, in.Body.Value)
		}, "Delete tag "+literal(in.Body.Value)+" from job %s successfully.")
	})
}

// changeJob does something to a job, and says so with the name of the job in the format.
func (s *Server) changeJob(ctx context.Context, job string, do func(context.Context, pai.JobID) error, format string) (*messageOutput, error) {
	id, err := s.jobID(ctx, job)
	if err != nil {
		return nil, err
	}
	if err := do(ctx, id); err != nil {
		return nil, err
	}
	return &messageOutput{message{fmt.Sprintf(format, id.Name)}}, nil
}

func (s *Server) executeJob(ctx context.Context, in *executionInput) (*messageOutput, error) {
	if in.Body.Value == "STOP" {
		return s.changeJob(ctx, in.Job, s.services.Jobs.StopJob, "execute job %s successfully")
	}
	return s.changeJob(ctx, in.Job, func(ctx context.Context, id pai.JobID) error {
		j, err := s.services.Jobs.Job(ctx, id)
		if err == nil && (j.State.Done() || j.Stopped) {
			err = pai.Errorf(pai.InvalidParametersError, "Job %s is %s and does not start again: submit it under another name.", id, j.State)
		}
		return err
	}, "execute job %s successfully")
}
