package rest

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

type infoBody struct {
	Name         string `json:"name" example:"PAI RESTful API"`
	Version      string `json:"version" example:"v1.0.0"`
	LauncherType string `json:"launcherType" enum:"yarn,k8s"`
	AuthnMethod  string `json:"authnMethod" enum:"basic,OIDC"`
}

type infoOutput struct{ Body infoBody }

func (s *Server) infoOperations() {
	register(s, pai.Guest, huma.Operation{
		OperationID: "getClusterInfo", Method: http.MethodGet, Path: prefix + "/info", Tags: []string{"api"},
		Summary: "What serves here.",
	}, func(context.Context, *struct{}) (*infoOutput, error) {
		method := "basic"
		if s.services.SignOn != nil {
			method = "OIDC"
		}
		return &infoOutput{infoBody{Name: "PAI RESTful API", Version: s.options.Version, LauncherType: "k8s", AuthnMethod: method}}, nil
	})
}
