package cli

import (
	"encoding/json"
	"testing"

	"github.com/pai-storage/pai-storage/internal/client"
)

// TestChangeText: a change is told as people would say it, and as it is kept where there are no words for it.
func TestChangeText(t *testing.T) {
	for _, c := range []struct{ kind, name, before, after, want string }{
		{"group", "default", `{"extension":{"acls":{"storageConfigs":["a"]}}}`, `{"extension":{"acls":{"storageConfigs":["a","b"]}}}`, "granted b to default"},
		{"group", "default", `{"extension":{"acls":{"storageConfigs":["a","b"]}}}`, `{"extension":{"acls":{"storageConfigs":["c"]}}}`,
			"took a from default, took b from default, granted c to default"},
		{"group", "default", `{"extension":{"acls":{"storageConfigs":["a","b"]}}}`, `{"extension":{"acls":{"storageConfigs":["b","a"]}}}`,
			"extension.acls.storageConfigs in another order"},
		{"group", "The team", ``, `{"description":"d","externalName":"","extension":{"acls":{"admin":true,"storageConfigs":[],"virtualClusters":["vc"]}}}`,
			"description = d, made the members of The team administrators, gave The team the virtual cluster vc"},
		{"group", "team", `{"extension":{"acls":{"admin":true}}}`, `{"extension":{"acls":{"admin":false}}}`, "made the members of team administrators no more"},
		{"group", "team", `{"description":"d"}`, ``, "description was d"},
		{"group", "ITEM", `{}`, `{"extension":{"acls":{"storageConfigs":["NAME"]}}}`, "granted NAME to ITEM"},
		{"user", "alice", `{"grouplist":["default","x"],"password":"old"}`, `{"grouplist":["default","y"],"password":"new"}`,
			"removed alice from x, added alice to y, gave alice another password"},
		{"user", "alice", `{"extension":{"key":"set"}}`, `{"extension":{"key":"changed"}}`, "extension.key = set -> changed"},
		{"token", "alice/1", ``, `{"user":"alice","application":true}`, "for programs, of alice"},
		{"token", "alice/1", `{"user":"alice"}`, ``, "of alice"},
		{"storage", "a", `{"volume":"a-pv","deleted":["claim a","volume a-pv"],"kept":null}`, ``, "deleted claim a, deleted volume a-pv"},
		{"storage", "a", `{"declared":"half-way"}`, ``, "undid a declaration that was half-way done"},
		{"storage", "a", ``, `{"type":"nfs","readOnly":true,"personal":false}`, "readOnly = true, type = nfs"},
		{"storage-password", "alice", `{"set":"2026-11-23T12:00:00Z"}`, `{"set":"2026-11-24T12:00:00Z"}`, "had been set at 2026-11-23T12:00:00Z, set at 2026-11-24T12:00:00Z"},
		{"job", "alice~a", ``, `{"virtualCluster":"default","storages":["home"]}`, "mounts home, in virtual cluster default"},
		{"job", "alice~a", `{"executionType":"STOP"}`, ``, "told it to STOP"},
		{"job", "alice~a", `{"record":"f00"}`, ``, ""},
		{"configuration", "layout.yaml", `{"lines":["a: 1"]}`, `{"lines":["a: 2"],"revision":"r","unified":"@@"}`, "-a: 1, +a: 2"},
		{"service", "storage-manager", ``, `{"command":"start","failed":"late"}`, "start, failed: late"},
		{"service", "storage-manager", `{"command":"delete"}`, ``, "delete"},
		{"node", "worker1", ``, `{"command":"prepare","ran":["apt-get update"]}`, "ran apt-get update"},
	} {
		e := client.AuditEntry{Kind: c.kind, Name: c.name, Before: json.RawMessage(c.before), After: json.RawMessage(c.after)}
		if got := changeText(e); got != c.want {
			t.Errorf("%s %s -> %s:\n got %s\nwant %s", c.kind, c.before, c.after, got, c.want)
		}
	}
}
