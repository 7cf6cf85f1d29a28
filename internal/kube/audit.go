package kube

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// record tells the audit trail what the caller of ctx did to a thing. Before and after are what the thing was and is, as anything
// that JSON can say; nil when there was or is none. They must hold no secret: where one changed, say only that. Fields that are equal
// in both are left out. Call it after each write that changed something; it returns when the entry is kept, or cannot be.
func (c *Cluster) record(ctx context.Context, action pai.AuditAction, kind, name string, before, after any) {
	now := c.now().UTC()
	e := pai.AuditEntry{ID: entryID(now), Time: now, Action: action, Kind: kind, Name: name}
	if caller, err := pai.CallerFrom(ctx); err == nil {
		e.User = caller.User
	}
	origin := pai.OriginFrom(ctx)
	e.Address, e.Request = origin.Address, origin.Request
	var err error
	if e.Before, e.After, err = difference(before, after); err != nil {
		c.log.ErrorContext(ctx, "audit entry lacks what changed", "kind", kind, "name", name, "cause", err.Error())
	}
	c.log.InfoContext(ctx, "audit", "id", e.ID, "user", e.User, "action", e.Action, "kind", kind, "name", name,
		"before", string(e.Before), "after", string(e.After), "address", e.Address, "request", e.Request)
	which := mainTrail
	if kind == "job" {
		which = jobsTrail
	}
	if err := c.trails[which].keep(ctx, e); err != nil { // the change itself stands, and the line above says what it was
		c.log.ErrorContext(ctx, "audit entry is not kept in the cluster", "id", e.ID, "cause", err.Error())
	}
}

// entryID is unique, and sorts by time.
func entryID(at time.Time) string {
	var b [4]byte
	rand.Read(b[:])
	return fmt.Sprintf("%016x-%s", at.UnixNano(), hex.EncodeToString(b[:]))
}

// maxValue bounds one value of an entry, in bytes of JSON. What is longer is cut.
const maxValue = 8 << 10

// difference is what differs between two values, as JSON: of two objects the fields that are not equal, at any depth.
func difference(before, after any) (was, is json.RawMessage, err error) {
	w, err := tree(before)
	if err != nil {
		return nil, nil, err
	}
	i, err := tree(after)
	if err != nil {
		return nil, nil, err
	}
	dropEqual(w, i)
	if was, err = entryValue(w); err != nil {
		return nil, nil, err
	}
	is, err = entryValue(i)
	return was, is, err
}

// tree is a value as JSON has it: objects are maps, which the caller may change.
func tree(v any) (map[string]any, error) {
	if v == nil {
		return nil, nil
	}
	text, err := encode(v)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	var out map[string]any
	if err := decode(text, &out); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return out, nil
}

// dropEqual takes what is equal out of both.
func dropEqual(a, b map[string]any) {
	for key, x := range a {
		y, both := b[key]
		if !both {
			continue
		}
		if reflect.DeepEqual(x, y) {
			delete(a, key)
			delete(b, key)
			continue
		}
		inX, okX := x.(map[string]any)
		inY, okY := y.(map[string]any)
		if okX && okY {
			dropEqual(inX, inY)
		}
	}
}

// entryValue encodes an object, each of its fields within bounds. nil stays nil.
func entryValue(fields map[string]any) (json.RawMessage, error) {
	if fields == nil {
		return nil, nil
	}
	for key, value := range fields {
		text, err := encode(value)
		if err != nil {
			return nil, fmt.Errorf("audit: %w", err)
		}
		if len(text) > maxValue {
			fields[key] = fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(string(text[:maxValue/8]), ""), len(text))
		}
	}
	return encode(fields)
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
