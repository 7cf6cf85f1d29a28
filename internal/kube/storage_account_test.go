package kube

import (
	"testing"
	"time"
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
	for end := time.Now().Add(10 * time.Second); len(c.accounts.names()) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("accounts of %v are left", c.accounts.names())
		}
	}
	if a, err := c.StorageAccount(t.Context(), "alice"); err != nil || a.Set.IsZero() {
		t.Errorf("alice's account is %+v, %v", a, err)
	}
}
