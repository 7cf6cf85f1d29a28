package pai_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
)

func TestErrorsCarryCodeAndCause(t *testing.T) {
	cause := errors.New("etcd is on fire")
	err := fmt.Errorf("grant: %w", pai.NoStorage("nfs").Because(cause))
	if pai.CodeOf(err) != pai.NoStorageError || !errors.Is(err, cause) {
		t.Errorf("got %q, %v", pai.CodeOf(err), err)
	}
	if pai.CodeOf(cause) != pai.UnknownError || pai.CodeOf(nil) != "" {
		t.Error("an error that is not ours must be unknown, and no error none")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	var out strings.Builder
	p, h := pai.Password("CANARY"), pai.PasswordHash("CANARY")
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "p", p, "h", h)
	fmt.Fprintf(&out, "%v %s %#v %+v", p, h, p, struct{ H pai.PasswordHash }{h})
	if strings.Contains(out.String(), "CANARY") {
		t.Error(out.String())
	}
}

func TestMountsFor(t *testing.T) {
	storages := map[pai.StorageName]pai.Storage{
		"nfs":      {Name: "nfs", Share: true},
		"personal": {Name: "personal"},
		"ro":       {Name: "ro", Share: true, ReadOnly: true},
		"secret":   {Name: "secret", Share: true},
		"misled":   {Name: "misled", Bound: true, Refused: true, Reason: "its label is wrong [STO-114]"},
		"copy-1":   {Name: "copy-1", Share: true, Handle: "driver handle"},
		"copy-2":   {Name: "copy-2", Share: true, Handle: "driver handle"},
		"original": {Name: "original", Share: true, Handle: "driver other"},
		"hidden":   {Name: "hidden", Bound: true, Refused: true, Reason: "nobody's business"},
	}
	grants := pai.Grants{Storages: []pai.StorageName{"nfs", "personal", "ro", "misled", "copy-1", "copy-2", "original"}, Defaults: [][]pai.StorageName{{"GONE", "personal"}, {"ro", "nfs"}, {"gone"}, {"personal"}}}
	want := func(list ...pai.WantedStorage) pai.StorageRequest { return pai.StorageRequest{Wanted: list} }
	for _, c := range []struct {
		name    string
		request pai.StorageRequest
		mounts  []pai.Mount
		code    pai.Code
		message string
	}{
		{"none", pai.StorageRequest{}, nil, "", ""},
		{"defaults", pai.StorageRequest{Defaults: true},
			[]pai.Mount{{Storage: "personal", Path: "/mnt/personal", SubPath: "a.b"}, {Storage: "ro", Path: "/mnt/ro", ReadOnly: true}}, "", ""},
		{"own path", want(pai.WantedStorage{Name: "nfs", MountPath: "/data"}), []pai.Mount{{Storage: "nfs", Path: "/data"}}, "", ""},
		{"not granted", want(pai.WantedStorage{Name: "secret"}), nil, pai.ForbiddenUserError, "not allowed to access secret. You may use: nfs, personal, ro, copy-1, copy-2, original;"},
		{"absent", want(pai.WantedStorage{Name: "gone"}), nil, pai.NoStorageError, "Storage gone is not found. You may use"},
		{"both", want(pai.WantedStorage{Name: "gone"}, pai.WantedStorage{Name: "secret"}), nil, pai.ForbiddenUserError, "and gone is not found"},
		{"refused", want(pai.WantedStorage{Name: "nfs"}, pai.WantedStorage{Name: "misled"}), nil, pai.NoStorageError,
			"Storage misled cannot be used: its label is wrong [STO-114]. You may use: nfs, personal, ro, copy"},
		{"refused and not granted", want(pai.WantedStorage{Name: "misled"}, pai.WantedStorage{Name: "hidden"}), nil, pai.ForbiddenUserError,
			"not allowed to access hidden. Storage misled cannot be used: its label is wrong [STO-114]. You may use"},
		{"refused and absent", want(pai.WantedStorage{Name: "misled"}, pai.WantedStorage{Name: "gone"}), nil, pai.NoStorageError,
			"Storage gone is not found. Storage misled cannot be used"},
		{"twice", want(pai.WantedStorage{Name: "nfs", MountPath: "/a"}, pai.WantedStorage{Name: "nfs", MountPath: "/b"}), nil, pai.InvalidParametersError, "mounted twice"},
		{"equal", want(pai.WantedStorage{Name: "nfs", MountPath: "/a"}, pai.WantedStorage{Name: "ro", MountPath: "/a/"}), nil, pai.InvalidParametersError, "clash"},
		{"nested", want(pai.WantedStorage{Name: "nfs", MountPath: "/a/b"}, pai.WantedStorage{Name: "ro", MountPath: "/a"}), nil, pai.InvalidParametersError, "clash"},
		{"one volume twice", want(pai.WantedStorage{Name: "copy-1"}, pai.WantedStorage{Name: "original"}, pai.WantedStorage{Name: "copy-2"}), nil, pai.InvalidParametersError,
			"storages copy-1 and copy-2 have the same volumeHandle, so"},
		{"side by side", want(pai.WantedStorage{Name: "nfs", MountPath: "/a"}, pai.WantedStorage{Name: "ro", MountPath: "/ab"}),
			[]pai.Mount{{Storage: "nfs", Path: "/a"}, {Storage: "ro", Path: "/ab", ReadOnly: true}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pai.MountsFor("a.b", c.request, grants, storages)
			if pai.CodeOf(err) != c.code || (err != nil && !strings.Contains(err.Error(), c.message)) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(c.mounts, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMountPaths(t *testing.T) {
	for _, bad := range []string{"", "data", "./data", "/", "//", "/.", "/..", "/a/../etc", "/proc", "/proc/1", "/sys/x", "/dev/shm", "/etc", "//etc/x",
		"/bin", "/usr/local", "/lib64/x", "/var", "/var/run/secrets", "/run", "/a:b", "/a\nb", "/a\x00", "/" + strings.Repeat("x", 2000)} {
		if pai.CheckMountPath(bad) == "" {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"/data", "/mnt/x", "/home/alice", "/root/data", "/a..b", "/devices", "/var/data", "/tmp/x", "/opt/データ"} {
		if fault := pai.CheckMountPath(good); fault != "" {
			t.Errorf("%q: %s", good, fault)
		}
	}
}

func TestGrantsOf(t *testing.T) {
	group := func(admin bool, storages ...any) pai.Group {
		return pai.Group{Extension: map[string]any{"acls": map[string]any{"admin": admin, "virtualClusters": []any{"default"}, "storageConfigs": storages}}}
	}
	got := pai.GrantsOf([]pai.Group{group(false, "a", "b"), group(true), group(false, "b", "c"), {}, {Extension: map[string]any{"acls": "damaged"}}})
	want := pai.Grants{Admin: true, VirtualClusters: []string{"default"}, Storages: []pai.StorageName{"a", "b", "c"}, Defaults: [][]pai.StorageName{{"a", "b"}, {"b", "c"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestApplyLeavesTheGroupAsItIs(t *testing.T) {
	before := pai.Group{Extension: map[string]any{"acls": map[string]any{"admin": true, "storageConfigs": []any{"a"}}, "deep": map[string]any{"x": map[string]any{"y": 1}}}}
	_, err := before.Apply(pai.GroupChange{Patch: true, Extension: map[string]any{"acls": map[string]any{"admin": nil}, "deep": map[string]any{"x": map[string]any{"z": 2}}}})
	if err != nil || !before.ACLs().Admin || len(before.Extension["deep"].(map[string]any)["x"].(map[string]any)) != 1 {
		t.Errorf("got %v, %v", before, err)
	}
}

// TestApplyJudgesWhatChanges: what older days left behind in a record is in nobody's way, can be taken away, and is never added.
func TestApplyJudgesWhatChanges(t *testing.T) {
	acls := func(pairs ...any) map[string]any {
		out := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i].(string)] = pairs[i+1]
		}
		return map[string]any{"acls": out}
	}
	old := pai.Group{Name: "g", Extension: acls("admin", "no", "virtualClusters", "default", "storageConfigs", []any{"TEAM_NFS", "nfs-storage", 7.0})}
	text := "new"
	for name, c := range map[string]struct {
		before pai.Group
		change pai.GroupChange
		fault  string
	}{
		"description":         {old, pai.GroupChange{Patch: true, Description: &text}, ""},
		"all of it, the same": {old, pai.GroupChange{Description: &text, Extension: acls("admin", "no", "virtualClusters", "default", "storageConfigs", []any{"TEAM_NFS", "nfs-storage", 7.0})}, ""},
		"another order":       {old, pai.GroupChange{Patch: true, Extension: acls("storageConfigs", []any{"nfs-storage", "TEAM_NFS"})}, ""},
		"one more":            {old, pai.GroupChange{Patch: true, Extension: acls("storageConfigs", []any{"TEAM_NFS", "nfs-storage", "home"})}, ""},
		"taken away":          {old, pai.GroupChange{Patch: true, Extension: acls("storageConfigs", []any{"nfs-storage"})}, ""},
		"acls of no kind":     {pai.Group{Extension: map[string]any{"acls": "damaged"}}, pai.GroupChange{Patch: true, Description: &text}, ""},
		"another dead name":   {old, pai.GroupChange{Patch: true, Extension: acls("storageConfigs", []any{"TEAM_NFS", "TEAM_SMB"})}, `extension.acls.storageConfigs[1]: "TEAM_SMB" cannot be the name of a storage`},
		"no name":             {old, pai.GroupChange{Patch: true, Extension: acls("storageConfigs", []any{8.0})}, "extension.acls.storageConfigs[0]: expected a name"},
		"admin":               {old, pai.GroupChange{Patch: true, Extension: acls("admin", "yes")}, "extension.acls.admin: expected true or false"},
		"virtual clusters":    {old, pai.GroupChange{Patch: true, Extension: acls("virtualClusters", "other")}, "extension.acls.virtualClusters: expected a list"},
		"in a new group":      {pai.Group{}, pai.GroupChange{Patch: true, Extension: acls("storageConfigs", []any{"TEAM_NFS"})}, "cannot be the name of a storage"},
	} {
		after, err := c.before.Apply(c.change)
		if c.fault != "" {
			if pai.CodeOf(err) != pai.InvalidParametersError || !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if err != nil || c.change.Description != nil && after.Description != text {
			t.Errorf("%s: got %+v, %v", name, after, err)
		}
	}
	if g, changed := old.Revoked("TEAM_NFS"); !changed || len(g.ACLs().StorageConfigs) != 1 {
		t.Errorf("a dead name stays: %v", g.ACLs().StorageConfigs)
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"alice", "a.b-c_d", "..", ".", "a/b", "a~b", "", "ä", "a\x00", "x~y~z", strings.Repeat("x", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if u, err := pai.ParseUserName(s); err == nil && (strings.ContainsAny(string(u), "/~\x00\n ") || u == ".." || u == "." || len(u) == 0 || len(u) > 126) {
			t.Errorf("user name %q is taken", u)
		}
		if n, err := pai.ParseStorageName(s); err == nil && (strings.ContainsAny(string(n), "/~_\n") || len(n) == 0) {
			t.Errorf("storage name %q is taken", n)
		}
		if g, err := pai.ParseGroupName(s); err == nil && (strings.ContainsAny(string(g), "/\x00\n") || len(g) > 126) {
			t.Errorf("group name %q is taken", g)
		}
		if id, err := pai.ParseJobID(s); err == nil {
			if again, err := pai.ParseJobID(id.String()); err != nil || again != id || id.String() != s {
				t.Errorf("job %q becomes %q", s, again)
			}
		}
		if pai.CheckMountPath(s) == "" && (!strings.HasPrefix(s, "/") || strings.Contains(s, "/../") || strings.ContainsAny(s, ":\n\x00")) {
			t.Errorf("mount path %q is taken", s)
		}
	})
}
