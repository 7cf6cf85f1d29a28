package pai_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
)

func noGroups(pai.GroupName) (pai.Group, bool) { return pai.Group{}, false }

// FuzzPrivateKeys: whatever an extension looks like, no private key is shown, what is shown can be written back without loss, and what is
// kept is not touched.
func FuzzPrivateKeys(f *testing.F) {
	f.Add(`{"jobSSH":{"key":"SECRET-KEY","x":1},"a":{"b":["-----BEGIN PRIVATE KEY-----"]}}`)
	f.Add(`{"jobSSH":"-----BEGIN RSA PRIVATE KEY-----","a":null,"b":[[{"c":"PRIVATE KEY-----"}]]}`)
	f.Add(`{"jobSSH":{"key":{"deep":"PRIVATE KEY-----"}},"jobssh":{"key":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var extension map[string]any
		if json.Unmarshal([]byte(text), &extension) != nil || strings.Contains(text, "null") {
			return // null deletes, so it cannot be written back
		}
		before, err := json.Marshal(extension)
		if err != nil || extension == nil {
			return
		}
		shown := pai.User{Extension: extension}.Account(nil, pai.Grants{}).Extension
		public, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		ssh, _ := shown["jobSSH"].(map[string]any)
		if _, leaks := ssh["key"]; leaks && ssh["key"] != nil {
			t.Errorf("the key is shown: %s", public)
		}
		if mentionsKey(shown) {
			t.Errorf("a private key is shown: %s", public)
		}
		after, err := pai.User{Extension: extension}.Apply(pai.UserChange{Extension: shown}, noGroups)
		if err != nil {
			return // too large
		}
		if diff := cmp.Diff(extension, after.Extension); diff != "" {
			t.Errorf("written back: %s", diff)
		}
		if again, err := json.Marshal(extension); err != nil || string(again) != string(before) {
			t.Errorf("the extension became %s, %v", again, err)
		}
	})
}

// mentionsKey tells whether any text in a value is a private key. Names of keys are none.
func mentionsKey(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, "PRIVATE KEY-----")
	case []any:
		return slices.ContainsFunc(v, mentionsKey)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), mentionsKey)
	}
	return false
}

func TestChangesLeaveTheUserAsItWas(t *testing.T) {
	groups := map[pai.GroupName]pai.Group{}
	for name, acls := range map[pai.GroupName]map[string]any{
		"default": {"virtualClusters": []any{"default"}}, "vc": {"virtualClusters": []any{"vc"}}, "admingroup": {"admin": true},
		"both": {"virtualClusters": []any{"both"}, "admin": true}, "plain": {"virtualClusters": []any{"vc"}},
	} {
		groups[name] = pai.Group{Name: name, Extension: map[string]any{"acls": acls}}
	}
	group := func(name pai.GroupName) (pai.Group, bool) { g, ok := groups[name]; return g, ok }
	yes, no := true, false
	for _, c := range []struct {
		name   string
		groups []pai.GroupName
		change pai.UserChange
		want   []pai.GroupName
		code   pai.Code
	}{
		{"clusters", []pai.GroupName{"plain", "vc", "gone", "default"}, pai.UserChange{VirtualClusters: []string{}}, []pai.GroupName{"plain", "gone", "default"}, ""},
		{"the same", []pai.GroupName{"vc", "default"}, pai.UserChange{VirtualClusters: []string{"default", "vc"}}, []pai.GroupName{"vc", "default"}, ""},
		{"administrators' group as a cluster", nil, pai.UserChange{VirtualClusters: []string{"both"}}, nil, pai.NoVirtualClusterError},
		{"plain group as a cluster", nil, pai.UserChange{VirtualClusters: []string{"plain"}}, nil, pai.NoVirtualClusterError},
		{"admin", []pai.GroupName{"gone"}, pai.UserChange{Admin: &yes}, []pai.GroupName{"gone", "admingroup"}, ""},
		{"admin already", []pai.GroupName{"both"}, pai.UserChange{Admin: &yes}, []pai.GroupName{"both"}, ""},
		{"no admin", []pai.GroupName{"admingroup", "vc"}, pai.UserChange{Admin: &no}, []pai.GroupName{"vc"}, ""},
		{"still admin", []pai.GroupName{"admingroup", "both"}, pai.UserChange{Admin: &no}, nil, pai.InvalidParametersError},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := pai.User{Groups: append([]pai.GroupName(nil), c.groups...)}
			got, err := u.Apply(c.change, group)
			if pai.CodeOf(err) != c.code {
				t.Fatalf("got %v", err)
			}
			if err == nil && !cmp.Equal(got.Groups, c.want) {
				t.Errorf("got %v, want %v", got.Groups, c.want)
			}
			if !cmp.Equal(u.Groups, c.groups) {
				t.Errorf("the user now has %v", u.Groups)
			}
		})
	}
	if _, err := (pai.User{}).Apply(pai.UserChange{Admin: &yes}, noGroups); pai.CodeOf(err) != pai.NoGroupError {
		t.Errorf("without the group of administrators: got %v", err)
	}
}
