package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type auditEntryBody struct {
	ID      string          `json:"id"`
	Time    time.Time       `json:"time"`
	User    string          `json:"user,omitempty" doc:"Who; absent for what the server did by itself"`
	Address string          `json:"address,omitempty" doc:"Where the request came from"`
	Request string          `json:"request,omitempty" doc:"The request's id, as in the server's log"`
	Action  string          `json:"action" enum:"create,change,delete"`
	Kind    string          `json:"kind" doc:"Of the thing that was changed"`
	Name    string          `json:"name" doc:"Of the thing that was changed"`
	Before  json.RawMessage `json:"before,omitempty" doc:"The fields that changed, as they were"`
	After   json.RawMessage `json:"after,omitempty" doc:"The fields that changed, as they are now"`
}

type auditInput struct {
	User   string    `query:"user" doc:"Changes by this user"`
	Action string    `query:"action" enum:"create,change,delete"`
	Kind   string    `query:"kind" doc:"Changes of this kind of thing: group, user, token, storage, storage-password, job, configuration, service, node"`
	Name   string    `query:"name" doc:"Changes of the thing of this name"`
	Since  time.Time `query:"since" doc:"Not before this time"`
	Until  time.Time `query:"until" doc:"Before this time"`
	Before string    `query:"before" doc:"Older than the entry with this id: the next page"`
	Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type auditOutput struct {
	Body struct {
		Entries []auditEntryBody `json:"entries" doc:"The newest first"`
		Next    string           `json:"next,omitempty" doc:"The value of before that the next page has; absent at the end"`
	}
}

func (s *Server) auditOperations() {
	register(s, pai.Administrator, huma.Operation{
		OperationID: "getAudit", Method: http.MethodGet, Path: prefix + "/audit", Tags: []string{"audit"},
		Summary: "Who changed what. Administrators only.",
	}, s.getAudit)
}

func (s *Server) getAudit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	page, err := s.services.Audit.Audit(ctx, pai.AuditQuery{
		User: pai.UserName(in.User), Action: pai.AuditAction(in.Action), Kind: in.Kind, Name: in.Name,
		Since: in.Since, Until: in.Until, Before: in.Before, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := &auditOutput{}
	out.Body.Entries, out.Body.Next = make([]auditEntryBody, 0, len(page.Entries)), page.Next
	for _, e := range page.Entries {
		out.Body.Entries = append(out.Body.Entries, auditEntryBody{
			ID: e.ID, Time: e.Time, User: string(e.User), Address: e.Address, Request: e.Request,
			Action: string(e.Action), Kind: e.Kind, Name: e.Name, Before: e.Before, After: e.After,
		})
	}
	return out, nil
}
