package auth

import (
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

// TestStoragePasswordIsCompared: the password for signing in is told from others, and nobody finds it by asking.
func TestStoragePasswordIsCompared(t *testing.T) {
	for _, signOn := range []bool{false, true} {
		a, _ := accounts(t, Options{KeepOldHashes: true, SignOn: signOn})
		ctx := pai.WithCaller(t.Context(), pai.Caller{User: "admin", Admin: true})
		set := func(p pai.Password) string {
			t.Helper()
			account, err := a.SetStoragePassword(ctx, "admin", p)
			if err != nil || account.Set.IsZero() {
				t.Fatal(account, err)
			}
			return account.Warning
		}
		if got := set("another-password"); got != "" {
			t.Errorf("another password: %q", got)
		}
		want := map[bool]string{false: pai.SamePassword("admin")}[signOn]
		if got := set("admin-password"); got != want {
			t.Errorf("sign-on %t: the same password: %q, want %q", signOn, got, want)
		}
		for range 10 {
			set("another-password")
		}
		if got := set("admin-password"); got != "" {
			t.Errorf("after many tries: %q", got)
		}
		if err := a.takeTry(pai.Credentials{User: "admin"}); err != nil {
			t.Errorf("setting passwords keeps nobody from signing in: %v", err)
		}
	}
}
