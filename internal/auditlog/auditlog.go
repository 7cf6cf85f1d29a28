// Package auditlog is how the audit trail is kept: as JSON lines in ConfigMaps of the system namespace.
//
// The REST server writes and reads most of it (internal/kube). What administrators do with a kubeconfig does not pass the REST server; it goes into
// the same trail by [Append].
//
// Example:
//
//	was, is, err := auditlog.Difference(before, after)
//	err = auditlog.Append(ctx, client, "pai-system", pai.AuditEntry{ID: auditlog.ID(now), Time: now, Kind: "service", Before: was, After: is})
package auditlog

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Label is on the trail's ConfigMaps. Its value says which trail: what users do with their jobs has a trail of its own, so that nobody who submits
// many jobs makes the other one forget.
const (
	Label = "pai.storage/audit"
	Main  = "true"
	Jobs  = "jobs"
)

// Field is the key of a ConfigMap under which its lines are.
const Field = "entries"

// ChunkBytes is how long the lines of one ConfigMap may be together. A single longer line has one for itself.
const ChunkBytes = 64 << 10

// Name is what the ConfigMap is called whose first entry is made at a time. Names are unique and sort by time.
func Name(at time.Time) string { return "audit-" + ID(at) }

// ID is an id for an entry. IDs are unique and sort by time.
func ID(at time.Time) string {
	var b [4]byte
	rand.Read(b[:])
	return fmt.Sprintf("%016x-%s", at.UnixNano(), hex.EncodeToString(b[:]))
}

// line is an entry as it is kept.
type line struct {
	ID      string          `json:"id"`
	Time    time.Time       `json:"time"`
	User    pai.UserName    `json:"user,omitempty"`
	Address string          `json:"address,omitempty"`
	Request string          `json:"request,omitempty"`
	Action  pai.AuditAction `json:"action"`
	Kind    string          `json:"kind"`
	Name    string          `json:"name"`
	Before  json.RawMessage `json:"before,omitempty"`
	After   json.RawMessage `json:"after,omitempty"`
}

// Line is an entry as one line, with its end.
func Line(e pai.AuditEntry) ([]byte, error) {
	text, err := encode(line(e))
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// Entries reads lines. One that somebody spoiled does not hide the others.
func Entries(text string) []pai.AuditEntry {
	var list []pai.AuditEntry
	for each := range strings.Lines(text) {
		var l line
		if json.Unmarshal([]byte(each), &l) == nil {
			list = append(list, pai.AuditEntry(l))
		}
	}
	return list
}

// maxValue bounds one value of an entry, in bytes of JSON. What is longer is cut.
const maxValue = 8 << 10

// Difference is what differs between two values, as JSON: of two objects the fields that are not equal, at any depth. nil stays nil.
func Difference(before, after any) (was, is json.RawMessage, err error) {
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
		return nil, err
	}
	var out map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
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
			return nil, err
		}
		if len(text) > maxValue {
			fields[key] = fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(string(text[:maxValue/8]), ""), len(text))
		}
	}
	return encode(fields)
}

// encode leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
