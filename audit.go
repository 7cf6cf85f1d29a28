package pai

import (
	"context"
	"encoding/json"
	"time"
)

// Origin is where a request came from.
type Origin struct {
	Address string // of the client, without its port
	Request string // the request's id, as in the log
}

type originKey struct{}

// WithOrigin returns a context that says where its request came from.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// OriginFrom returns where the request came from; the zero Origin for what the server does by itself.
func OriginFrom(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// AuditAction says what was done to a thing.
type AuditAction string

// The actions.
const (
	AuditCreate AuditAction = "create"
	AuditChange AuditAction = "change"
	AuditDelete AuditAction = "delete"
)

// AuditEntry says who changed what, from what to what, when and from where. There is never a secret in it: where one changed, the
// values say only that.
type AuditEntry struct {
	ID      string
	Time    time.Time
	User    UserName // "" for what the server did by itself
	Address string
	Request string
	Action  AuditAction
	Kind    string          // of the thing: group, user, token, storage, storage-password, job, configuration, service, node
	Name    string          // of the thing
	Before  json.RawMessage // what changed, as it was: a JSON object; nil when the thing was made
	After   json.RawMessage // what changed, as it is now; nil when the thing was deleted
}

// AuditQuery picks entries. What is empty picks all.
type AuditQuery struct {
	User   UserName
	Action AuditAction
	Kind   string
	Name   string
	Since  time.Time // not before
	Until  time.Time // before
	Before string    // entries older than the one of this id: the next page
	Limit  int       // at most so many; 0 for 100
}

// AuditPage is entries, the newest first.
type AuditPage struct {
	Entries []AuditEntry
	Next    string // Before of the next page; "" at the end
}

// AuditService tells who changed what.
type AuditService interface {
	// Audit lists changes, the newest first. Administrators only: ForbiddenUserError for others. InvalidParametersError for a query
	// that makes no sense.
	Audit(ctx context.Context, q AuditQuery) (AuditPage, error)
}
