package kube

import (
	"testing"

	"github.com/pai-storage/pai-storage/internal/await"
)

// TestStorageAccountOfNobody: an account whose user is gone already, as when a server died in between, goes; one whose user is there stays.
func TestStorageAccountOfNobody(t *testing.T) {
	account := func(user string) map[string]string {
		return map[string]string{"username": user, "nthash": "0123456789ABCDEF0123456789ABCDEF", "set": "2026-01-02T03:04:05Z", "admin": "false"}
	}
	c := started(t,
		original(UserNamespace, objectName("alice"), map[string]string{"username": "alice", "grouplist": `[]`}),
		original(StorageAccountNamespace, objectName("alice"), account("alice")),
		original(StorageAccountNamespace, objectName("ghost"), account("ghost")))
	await.Until(t, "the account of nobody is gone", func() bool { return len(c.accounts.names()) == 1 })
	if a, err := c.StorageAccount(t.Context(), "alice"); err != nil || a.Set.IsZero() {
		t.Errorf("alice's account is %+v, %v", a, err)
	}
}
