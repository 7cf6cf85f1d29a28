package cli

import (
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

// TestDeadNames: what an older group has and no storage can be called is shown as that, and can be taken away.
func TestDeadNames(t *testing.T) {
	const want = "TEAM_NFS (dead: no storage can have this name), nfs-storage"
	if got := storageNamesText([]pai.StorageName{"TEAM_NFS", "nfs-storage"}); got != want {
		t.Errorf("got %q", got)
	}
	if _, names, err := grantArguments([]string{"default", "TEAM_NFS"}, revocable); err != nil || len(names) != 1 {
		t.Errorf("it cannot be taken away: %v, %v", names, err)
	}
	if _, _, err := grantArguments([]string{"default", "TEAM_NFS"}, pai.ParseStorageName); err == nil {
		t.Error("it can be granted")
	}
}
