package cli

import (
	"strings"
	"testing"

	"github.com/pai-storage/pai-storage/internal/rollout"
)

// TestRefusedAccountsAreShown: a user without an SMB account stands with the reason beside those who have one.
func TestRefusedAccountsAreShown(t *testing.T) {
	var out strings.Builder
	server := rollout.StorageServer{Node: "worker1", Status: []byte(`{"localPath": "/share", "accounts": ["alice"], "refusedAccounts": [{"name": "Alice", "reason": "alice is older"}]}`)}
	if err := printStorageServer(&out, server); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{"SMB accounts the shared one, alice", "no SMB account Alice: alice is older"} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, &out)
		}
	}
}
