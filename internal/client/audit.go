package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// AuditEntry says who changed what, as the API shows it.
type AuditEntry struct {
	ID      string          `json:"id"`
	Time    time.Time       `json:"time"`
	User    string          `json:"user,omitempty"`
	Address string          `json:"address,omitempty"`
	Request string          `json:"request,omitempty"`
	Action  string          `json:"action"`
	Kind    string          `json:"kind"`
	Name    string          `json:"name"`
	Before  json.RawMessage `json:"before,omitempty"`
	After   json.RawMessage `json:"after,omitempty"`
}

// Audit lists changes, the newest first, and says what q.Before of the next page is; "" at the end. Administrators only.
func (c *Client) Audit(ctx context.Context, q pai.AuditQuery) (entries []AuditEntry, next string, err error) {
	query := url.Values{}
	for key, value := range map[string]string{
		"user": string(q.User), "action": string(q.Action), "kind": q.Kind, "name": q.Name, "before": q.Before,
	} {
		if value != "" {
			query.Set(key, value)
		}
	}
	for key, at := range map[string]time.Time{"since": q.Since, "until": q.Until} {
		if !at.IsZero() {
			query.Set(key, at.UTC().Format(time.RFC3339Nano))
		}
	}
	if q.Limit > 0 {
		query.Set("limit", strconv.Itoa(q.Limit))
	}
	var out struct {
		Entries []AuditEntry `json:"entries"`
		Next    string       `json:"next"`
	}
	_, err = c.do(ctx, call{method: http.MethodGet, path: "/audit", query: query}, &out)
	return out.Entries, out.Next, err
}
