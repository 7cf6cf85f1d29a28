package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	pai "github.com/pai-storage/pai-storage"
)

// record tells the audit trail what the caller of ctx did to a thing. Before and after are what the thing was and is, as anything
// that JSON can say; nil when there was or is none. They must hold no secret: where one changed, say only that. Fields that are equal
// in both are left out. Call it after each write that changed something.
func (c *Cluster) record(ctx context.Context, action pai.AuditAction, kind, name string, before, after any) {
	e := pai.AuditEntry{ID: newID(), Time: c.now().UTC(), Action: action, Kind: kind, Name: name}
	if caller, err := pai.CallerFrom(ctx); err == nil {
		e.User = caller.User
	}
	origin := pai.OriginFrom(ctx)
	e.Address, e.Request = origin.Address, origin.Request
	var err error
	if e.Before, e.After, err = difference(before, after); err != nil {
		c.log.ErrorContext(ctx, "audit entry lacks what changed", "kind", kind, "name", name, "cause", err.Error())
	}
	c.log.InfoContext(ctx, "audit", "user", e.User, "action", e.Action, "kind", kind, "name", name, "before", string(e.Before), "after", string(e.After),
		"address", e.Address, "request", e.Request)
}

// difference is what differs between two values: of two objects the fields that are not equal, else all.
func difference(before, after any) (was, is json.RawMessage, err error) {
	if was, err = raw(before); err != nil {
		return nil, nil, err
	}
	if is, err = raw(after); err != nil {
		return nil, nil, err
	}
	var w, i map[string]json.RawMessage
	if json.Unmarshal(was, &w) != nil || json.Unmarshal(is, &i) != nil {
		return was, is, nil
	}
	for key := range w {
		if bytes.Equal(w[key], i[key]) {
			delete(w, key)
			delete(i, key)
		}
	}
	if was, err = raw(w); err != nil {
		return nil, nil, err
	}
	is, err = raw(i)
	return was, is, err
}

func raw(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	text, err := encode(v)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return text, nil
}
