package kube

import (
	"context"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
)

// record tells the audit trail what the caller of ctx did to a thing. Before and after are what the thing was and is, as anything
// that JSON can say; nil when there was or is none. They must hold no secret: where one changed, say only that. Fields that are equal
// in both are left out. Call it after each write that changed something; it returns when the entry is kept, or cannot be.
func (c *Cluster) record(ctx context.Context, action pai.AuditAction, kind, name string, before, after any) {
	now := c.now().UTC()
	e := pai.AuditEntry{ID: auditlog.ID(now), Time: now, Action: action, Kind: kind, Name: name}
	if caller, err := pai.CallerFrom(ctx); err == nil {
		e.User = caller.User
	}
	origin := pai.OriginFrom(ctx)
	e.Address, e.Request = origin.Address, origin.Request
	var err error
	if e.Before, e.After, err = auditlog.Difference(before, after); err != nil {
		c.log.ErrorContext(ctx, "audit entry lacks what changed", "kind", kind, "name", name, "cause", err.Error())
	}
	c.log.InfoContext(ctx, "audit", "id", e.ID, "user", e.User, "action", e.Action, "kind", kind, "name", name,
		"before", string(e.Before), "after", string(e.After), "address", e.Address, "request", e.Request)
	which := auditlog.Main
	if kind == "job" {
		which = auditlog.Jobs
	}
	if err := c.trails[which].keep(ctx, e); err != nil { // the change itself stands, and the line above says what it was
		c.log.ErrorContext(ctx, "audit entry is not kept in the cluster", "id", e.ID, "cause", err.Error())
	}
}

// Audit lists changes, the newest first. The guard decides who may.
func (c *Cluster) Audit(_ context.Context, q pai.AuditQuery) (pai.AuditPage, error) {
	const most = 1000
	switch {
	case q.Limit < 0 || q.Limit > most:
		return pai.AuditPage{}, pai.Errorf(pai.InvalidParametersError, "limit: from 1 to %d", most)
	case !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until):
		return pai.AuditPage{}, pai.Errorf(pai.InvalidParametersError, "since must be before until")
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	var found []pai.AuditEntry
	for _, ch := range c.chunks.all() {
		for _, e := range ch.entries {
			if picks(q, e) {
				found = append(found, e)
			}
		}
	}
	slices.SortFunc(found, func(a, b pai.AuditEntry) int { return strings.Compare(b.ID, a.ID) })
	page := pai.AuditPage{Entries: found}
	if len(found) > q.Limit {
		page.Entries = found[:q.Limit]
		page.Next = page.Entries[q.Limit-1].ID
	}
	return page, nil
}

// picks tells whether an entry answers a query.
func picks(q pai.AuditQuery, e pai.AuditEntry) bool {
	return (q.User == "" || q.User == e.User) &&
		(q.Action == "" || q.Action == e.Action) &&
		(q.Kind == "" || q.Kind == e.Kind) &&
		(q.Name == "" || q.Name == e.Name) &&
		(q.Since.IsZero() || !e.Time.Before(q.Since)) &&
		(q.Until.IsZero() || e.Time.Before(q.Until)) &&
		(q.Before == "" || e.ID < q.Before)
}
