package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/session"
)

// keepTime is how long the browser keeps what it needs on its way back. The server has a shorter opinion.
const keepTime = 15 * time.Minute

// Where browsers go afterwards. Never to a place that a request names.
const (
	homePage  = "/"
	loginPage = "/login"
)

type redirectOutput struct {
	Status    int
	Location  string   `header:"Location"`
	SetCookie []string `header:"Set-Cookie"`
}

func redirectTo(page string, cookies ...*http.Cookie) *redirectOutput {
	out := &redirectOutput{Status: http.StatusFound, Location: page}
	for _, c := range cookies {
		out.SetCookie = append(out.SetCookie, c.String())
	}
	return out
}

type signOnReturnInput struct {
	Accept string `header:"Accept"`
	Keep   string `cookie:"pai-sign-on"`
	State  string `query:"state"`
	Code   string `query:"code"`
	Fault  string `query:"error"`
}

type signOutInput struct {
	Token string `cookie:"pai-session"`
}

// signOnOperations are there where users come from an identity provider.
func (s *Server) signOnOperations() {
	operation := func(id, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: prefix + "/authn/oidc" + path, Tags: []string{"authn"}, Summary: summary,
			DefaultStatus: http.StatusFound}
	}
	register(s, pai.Guest, operation("oidcLogin", "/login", "Send the browser to the identity provider."), s.startSignOn)
	register(s, pai.Guest, operation("oidcReturn", "/return", "Where the identity provider sends the browser back to."), s.finishSignOn)
	register(s, pai.Guest, operation("oidcLogout", "/logout", "Revoke the browser's token, and send the browser to the identity provider to sign out there."), s.signOut)
}

func (s *Server) startSignOn(ctx context.Context, _ *struct{}) (*redirectOutput, error) {
	way, err := s.services.SignOn.StartSignOn(ctx)
	if err != nil {
		return nil, err
	}
	return redirectTo(way.Page, session.Cookie(session.SignOn, way.Keep, keepTime, requestFrom(ctx).secure)), nil
}

func (s *Server) finishSignOn(ctx context.Context, in *signOnReturnInput) (*redirectOutput, error) {
	secure := requestFrom(ctx).secure
	done := session.Cookie(session.SignOn, "", 0, secure)
	opened, err := s.services.SignOn.FinishSignOn(ctx, pai.SignOnAnswer{Keep: in.Keep, State: in.State, Code: in.Code, Fault: in.Fault})
	if err != nil {
		if !strings.Contains(in.Accept, "text/html") {
			return nil, err
		}
		fault := s.fault(ctx, "oidcReturn", err)
		return redirectTo(loginPage, done, session.FaultCookie(fault.Message, secure)), nil
	}
	requestFrom(ctx).user = opened.User
	return redirectTo(homePage, done, session.Cookie(session.Token, opened.Token, 0, secure)), nil
}

// signOut takes the token from the header or from the browser's cookie; one that is not valid any more is as good as revoked.
func (s *Server) signOut(ctx context.Context, in *signOutInput) (*redirectOutput, error) {
	if _, err := pai.CallerFrom(ctx); err != nil {
		if caller, err := s.services.Tokens.Authenticate(ctx, in.Token); err == nil {
			ctx = pai.WithCaller(ctx, caller)
		}
	}
	if err := s.services.Tokens.Logout(ctx); err != nil && pai.CodeOf(err) != pai.UnauthorizedUserError {
		return nil, err
	}
	page := s.services.SignOn.SignOutPage(ctx)
	if page == "" {
		page = loginPage
	}
	return redirectTo(page, session.Cookie(session.Token, "", 0, requestFrom(ctx).secure)), nil
}
