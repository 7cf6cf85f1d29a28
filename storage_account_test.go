package pai_test

import (
	"strings"
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

func TestCheckStoragePassword(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "at least 6 characters, at most 127",
		"short":                                "at least 6 characters",
		"äöü":                                  "at least 6 characters", // six bytes
		strings.Repeat("x", 128):               "at most 127",
		strings.Repeat("\U0001F512", 64):       "at most 127", // two units each
		"secret\n":                             "control characters",
		"sec\x00ret":                           "control characters",
		"tab\tsecret":                          "control characters",
		"del\x7fsecret":                        "control characters",
		"secret\u0085":                         "control characters",
		"secret\xff":                           "valid UTF-8",
		"secret\ufffd":                         "valid UTF-8",
		"secret":                               "",
		strings.Repeat("x", 127):               "",
		strings.Repeat("\U0001F512", 63) + "x": "",
		`pass word "%$:\`:                      "",
		"пароль":                               "",
	} {
		err := pai.CheckStoragePassword(pai.Password(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (pai.CodeOf(err) != pai.InvalidParametersError || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if err != nil && len(text) > 3 && strings.Contains(err.Error(), text) {
			t.Errorf("the message shows the password %q: %v", text, err)
		}
	}
}

func TestCheckStorageAccount(t *testing.T) {
	for _, name := range []pai.UserName{"root", "Root", "NOBODY", "www-data", "guest"} {
		if err := pai.CheckStorageAccount(name); pai.CodeOf(err) != pai.InvalidParametersError || !strings.Contains(err.Error(), string(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []pai.UserName{"alice", "admin", "roots", "smbuser"} {
		if err := pai.CheckStorageAccount(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range pai.ReservedStorageNames() {
		if _, err := pai.ParseUserName(name); err != nil || name != strings.ToLower(name) {
			t.Errorf("%s is no name of a user in lower case: %v", name, err)
		}
	}
}

// TestWarnOfStorageAccount: a new name that is another user's to the SMB server, or the server's own, is warned of.
func TestWarnOfStorageAccount(t *testing.T) {
	others := []pai.User{{Name: "alice"}, {Name: "Bob"}, {Name: "carol"}}
	for name, want := range map[pai.UserName]string{
		"carol": "", "dora": "", "Alice": "Users alice and Alice differ", "bob": "Users Bob and bob differ", "ROOT": "the SMB server has an account of that name",
	} {
		if got := pai.WarnOfStorageAccount(name, others); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
