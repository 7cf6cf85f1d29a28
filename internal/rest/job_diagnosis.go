package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// finding is one reason why a job waits, failed, or does not end.
type finding struct {
	Code     string   `json:"code" doc:"Of the catalogue of errors"`
	Object   string   `json:"object" doc:"The thing at fault"`
	Message  string   `json:"message"`
	Fix      string   `json:"fix" doc:"The command or change that mends it"`
	Who      string   `json:"who" enum:"user,administrator,time" doc:"Who can mend it; time: nobody has to"`
	Tasks    []string `json:"tasks"`
	Evidence string   `json:"evidence" doc:"What Kubernetes, or whoever else knows, said"`
	Since    *int64   `json:"since" doc:"Milliseconds since 1970"`
	Line     string   `json:"line" doc:"All of it in one line"`
	HeldBy   []string `json:"heldBy,omitempty" doc:"Jobs that hold what is missing and cannot go on themselves, the first of many: those that the caller may see"`
}

type diagnosisOutput struct {
	Body struct {
		Job      string    `json:"job"`
		State    string    `json:"state" enum:"WAITING,RUNNING,STOPPING,STOPPED,SUCCEEDED,FAILED"`
		Seen     int64     `json:"seen" doc:"When, in milliseconds since 1970"`
		Findings []finding `json:"findings" doc:"The most telling first; empty when nothing is wrong"`
	}
}

func (s *Server) diagnosisOperations() {
	register(s, pai.SignedIn, huma.Operation{
		OperationID: "getJobDiagnosis", Method: http.MethodGet, Path: prefix + "/jobs/{framework}/diagnosis", Tags: []string{"job"},
		Summary: "Say why a job waits, failed, or does not end, and what mends it. Its owner and administrators only.",
	}, s.getDiagnosis)
}

func (s *Server) getDiagnosis(ctx context.Context, in *jobInput) (*diagnosisOutput, error) {
	id, err := s.jobID(ctx, in.Job)
	if err != nil {
		return nil, err
	}
	d, err := s.services.Jobs.Diagnose(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &diagnosisOutput{}
	out.Body.Job, out.Body.State, out.Body.Seen, out.Body.Findings = d.Job.String(), string(d.State), d.Seen.UnixMilli(), []finding{}
	for _, f := range d.Findings {
		out.Body.Findings = append(out.Body.Findings, *findingOf(&f))
	}
	return out, nil
}

func findingOf(f *pai.Finding) *finding {
	if f == nil {
		return nil
	}
	out := &finding{Code: f.Code, Object: f.Object, Message: f.Message, Fix: f.Fix, Who: string(f.Who), Tasks: list(f.Tasks),
		Evidence: f.Evidence, Since: millis(f.Since), Line: f.Line()}
	for _, id := range f.HeldBy {
		out.HeldBy = append(out.HeldBy, id.String())
	}
	return out
}
