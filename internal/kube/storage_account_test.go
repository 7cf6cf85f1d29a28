package kube

import (
	"context"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/smbaccount"
)

const someHash = "0123456789ABCDEF0123456789ABCDEF"

// TestStorageAccountsFollowTheirUsers: they go with the user, and know whether the user is an administrator.
func TestStorageAccountsFollowTheirUsers(t *testing.T) {
	c := started(t,
		original(GroupNamespace, objectName("default"), map[string]string{"groupname": "default", "extension": `{"acls":{"admin":false}}`}),
		original(GroupNamespace, objectName("bosses"), map[string]string{"groupname": "bosses", "extension": `{"acls":{"admin":true}}`}),
		original(UserNamespace, objectName("alice"), map[string]string{"username": "alice", "grouplist": `["default"]`}),
		original(UserNamespace, objectName("bob"), map[string]string{"username": "bob", "grouplist": `["default"]`}))
	ctx := t.Context()
	if c.StorageAccount("alice") != (pai.StorageAccount{User: "alice"}) {
		t.Error("alice has an account before she set a password")
	}
	for _, user := range []pai.UserName{"alice", "bob"} {
		if err := c.SetStorageAccount(ctx, pai.StorageAccount{User: user, Set: time.Unix(1700000000, 0).UTC()}, someHash); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.StorageAccount("alice"); got.Set.Unix() != 1700000000 || got.Admin {
		t.Errorf("alice's account is %+v", got)
	}
	soon(t, "alice becomes an administrator", func() bool {
		return c.StorageAccount("alice").Admin
	}, func() error { return c.change(ctx, "alice", []pai.GroupName{"default", "bosses"}) })
	soon(t, "and is none any more", func() bool { return !c.StorageAccount("alice").Admin }, func() error { return c.change(ctx, "alice", []pai.GroupName{"default"}) })
	soon(t, "bob's account goes with bob", func() bool { return c.StorageAccount("bob").Set.IsZero() }, func() error {
		return c.DeleteUser(ctx, "bob", func(pai.User) error { return nil })
	})
	if err := c.RemoveStorageAccount(ctx, "alice"); err != nil || len(c.StorageAccounts()) != 0 {
		t.Errorf("after the removal there are %v, error %v", c.StorageAccounts(), err)
	}
	if err := c.RemoveStorageAccount(ctx, "alice"); err != nil {
		t.Errorf("removed twice: %v", err)
	}
}

// change gives a user other groups.
func (c *Cluster) change(ctx context.Context, user pai.UserName, groups []pai.GroupName) error {
	_, err := c.ChangeUser(ctx, user, "", func(u pai.User) (pai.User, error) {
		u.Groups = groups
		return u, nil
	})
	return err
}

func soon(t *testing.T, what string, done func() bool, do func() error) {
	t.Helper()
	if err := do(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// TestStorageAccountOfNobody: an account whose user is gone already, as when a server died in between.
func TestStorageAccountOfNobody(t *testing.T) {
	r := smbaccount.Record{User: "ghost", Hash: someHash, Set: time.Unix(1, 0)}
	s := original(smbaccount.Namespace, smbaccount.Name("ghost"), nil)
	s.Data = r.Data()
	c := started(t, s)
	soon(t, "the account goes", func() bool { return len(c.StorageAccounts()) == 0 }, func() error { return nil })
}
