package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/pai-storage/pai-storage/internal/rollout"
)

// TestRefusedAccountsAreShown: a user without an SMB account stands with the reason beside those who have one.
func TestRefusedAccountsAreShown(t *testing.T) {
	var out strings.Builder
	server := rollout.StorageServer{Node: "worker1", Status: []byte(`{"localPath": "/share", "accounts": ["alice"], "refusedAccounts": [{"name": "Alice", "reason": "alice is older"}]}`)}
	if err := printStorageServer(&out, time.Now(), server); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"SMB accounts the shared one, alice", "no SMB account Alice: alice is older"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, &out)
		}
	}
}

// TestCountsAreAsOldAsTheySay: a count of files comes with its age, and none is no count of nothing.
func TestCountsAreAsOldAsTheySay(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		`{"share": "data", "files": 12, "bytes": 4096, "counted": "2026-11-23T11:57:00Z"}`: "/data 12 files, 4.0 KiB, 3m ago; NFS:",
		`{"share": "data", "files": 1, "bytes": 0, "counted": "2026-11-23T12:00:00Z"}`:     "/data 1 file, 0 B, 0s ago; NFS:",
		`{"share": "data", "counted": "0001-01-01T00:00:00Z"}`:                             "/data files are being counted; NFS:",
	} {
		var out strings.Builder
		server := rollout.StorageServer{Node: "worker1", Status: []byte(`{"exports": [{"path": "/data"}], "folders": [` + text + `]}`)}
		if err := printStorageServer(&out, now, server); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, want) {
			t.Errorf("%s: it lacks %q:\n%s", text, want, &out)
		}
	}
}
