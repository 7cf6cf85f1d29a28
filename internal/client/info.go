package client

import (
	"context"
	"net/http"
)

// Info is what a server says of itself.
type Info struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	AuthnMethod string `json:"authnMethod"` // "basic" or "OIDC"
}

// Info asks what serves there. It needs no token.
func (c *Client) Info(ctx context.Context) (out Info, err error) {
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/info"}, &out)
	return out, err
}
