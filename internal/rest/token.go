package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// tokenDetail is what there is to say of a token without the token itself.
type tokenDetail struct {
	ID          string     `json:"id" doc:"Revokes the token, as the token itself does"`
	Application bool       `json:"application" doc:"Good for jobs only, until it is revoked"`
	Issued      *time.Time `json:"issued,omitempty"`
	Expires     *time.Time `json:"expires,omitempty" doc:"Left out for tokens that do not"`
	Current     bool       `json:"current" doc:"The request carries this token"`
}

type tokensOutput struct {
	Body struct {
		Tokens  []string      `json:"tokens" doc:"The tokens, the newest first"`
		Details []tokenDetail `json:"details" doc:"Of each token, in the same order"`
	}
}

type deleteTokenInput struct {
	Token string `path:"token" doc:"A token, or the id of one of the caller's own"`
}

type applicationTokenOutput struct {
	Body struct {
		Token       string `json:"token" doc:"The access token"`
		Application bool   `json:"application" doc:"true"`
	}
}

func (s *Server) tokenOperations() {
	tags := []string{"token"}
	register(s, pai.Person, huma.Operation{OperationID: "getTokens", Method: http.MethodGet, Path: prefix + "/tokens", Tags: tags,
		Summary: "List the caller's valid tokens."}, s.getTokens)
	register(s, pai.Person, huma.Operation{OperationID: "deleteToken", Method: http.MethodDelete, Path: prefix + "/tokens/{token}", Tags: tags,
		Summary: "Revoke a token; one that is not listed is as good as revoked. Others' tokens: administrators only."}, s.deleteToken)
	register(s, pai.Person, huma.Operation{OperationID: "createApplicationToken", Method: http.MethodPost, Path: prefix + "/tokens/application", Tags: tags,
		Summary: "Make a token for programs: good for jobs only, until it is revoked."}, s.createApplicationToken)
}

func (s *Server) getTokens(ctx context.Context, _ *struct{}) (*tokensOutput, error) {
	list, err := s.services.Tokens.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := &tokensOutput{}
	out.Body.Tokens, out.Body.Details = make([]string, len(list)), make([]tokenDetail, len(list))
	for i, t := range list {
		out.Body.Tokens[i] = t.Text
		out.Body.Details[i] = tokenDetail{ID: t.ID, Application: t.Application, Issued: moment(t.Issued), Expires: moment(t.Expires), Current: t.Current}
	}
	return out, nil
}

// moment is a time as JSON shows it; nil for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) deleteToken(ctx context.Context, in *deleteTokenInput) (*messageOutput, error) {
	revoked, err := s.services.Tokens.Revoke(ctx, in.Token)
	if !revoked {
		return &messageOutput{message{"the token is not listed, so it is not valid: nothing to revoke"}}, err
	}
	return &messageOutput{message{"revoke successfully"}}, err
}

func (s *Server) createApplicationToken(ctx context.Context, _ *struct{}) (*applicationTokenOutput, error) {
	token, err := s.services.Tokens.IssueApplication(ctx)
	out := &applicationTokenOutput{}
	out.Body.Token, out.Body.Application = token, true
	return out, err
}
