package jobspec_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pai-storage/pai-storage/internal/jobspec"
)

var update = flag.Bool("update", false, "write the golden files")

// TestCheck compares everything that is said of documents that are wrong.
func TestCheck(t *testing.T) {
	storages := func(text string) string {
		head, _, _ := strings.Cut(good, "extras:")
		return head + "extras:\n  storages:" + text
	}
	for name, document := range map[string]string{
		"empty":           "",
		"comments-only":   "# nothing\n\n# here\n",
		"large":           "a: " + strings.Repeat("x", jobspec.MaxSize),
		"not-a-mapping":   "just text\n",
		"utf-16":          "\xFF\xFEn\x00a\x00",
		"not-utf-8":       "name: a # gr\xF6\xDFer\n",
		"not-yaml":        "name: train\ntaskRoles: [\n",
		"not-yaml-secret": "secrets:\n  a: \"hidden-secret\nname: [\n",
		"two-documents":   good + "---\n" + good,
		"tabs":            "protocolVersion: 2\ntaskRoles:\n\tworker:\n\t\tinstances: 1\nextras:\n\tstorages: []\n",
		"no-name":         with(t, "name: train_1\n", ""),
		"nothing":         "description: not much\n",
		"empty-values":    with(t, "name: train_1\n", "name:\n") + "    -\n",
		"empty-role":      with(t, "  ps:\n", "  idle:\n  ps:\n"),
		"keys-nearly-right": strings.NewReplacer("mountPath", "mountpath", "dockerImage", "dockerimage", "resourcePerInstance", "resourcesPerInstance",
			"taskRoles", "taskroles", "memoryMB", "memoryMb").Replace(good),
		"keys-unknown":       with(t, "contributor: alice\n", "colour: red\n"),
		"extras-nearly":      strings.Replace(good, "  storages:", "  storage:", 1),
		"storages-texts":     storages(" [nfs-storage, other]\n"),
		"storages-text":      storages(" nfs-storage\n"),
		"storages-mapping":   storages("\n    name: nfs-storage\n    mountPath: /data\n"),
		"storages-clash":     storages("\n    - {name: a, mountPath: /data}\n    - name: b\n      mountPath: /data/\n    - name: c\n      mountPath: /data/x\n    - name: mine\n    - name: d\n      mountPath: /mnt\n"),
		"storages-twice":     storages("\n    - name: a\n    - name: a\n      mountPath: /data\n"),
		"names-nearly-right": with(t, "    dockerImage: shell\n    extra", "    dockerImage: shel\n    extra") + "deployments: [{name: prod, taskRoles: {workr: {}}}]\n",
		"wrong-type":         with(t, "type: dockerimage", "type: docker"),
		"twice":              with(t, "type: job\n", "type: job\nname: other\ntype: jub\n"),
		"carriage-returns":   strings.ReplaceAll(with(t, "type: job\n", "type: jub\n"), "\n", "\r\n"),
		"secrets":            with(t, "type: job\n", "type: jub\nsecrets: {a: hidden-secret, a: hidden-secret}\n") + "colour:\n  passwd: hidden-secret\n",
		"secrets-nearly":     with(t, "type: job\n", "type: job\nsecret:\n  a: hidden-secret\n  b: [hidden-secret]\n"),
		"registry-nearly":    strings.NewReplacer("prerequisites:", "prerequisite:", "    type: dockerimage\n", "    type: dockerimage\n    auth:\n      username: a\n      pw: hidden-secret\n").Replace(good),
		"missing-twice":      with(t, "taskRoles:\n", "  - type: dockerimage\ntaskRoles:\n"),
		"registry": with(t, "    type: dockerimage\n", "    type: dockerimage\n    auth:\n      username: a:b\n      passwrod: hidden-secret\n") +
			"secrets:\n  a:\n    - |\n      hidden-secret\n",
	} {
		err := jobspec.Check("job.yaml", []byte(document))
		if err == nil {
			t.Errorf("%s: no fault", name)
			continue
		}
		if strings.Contains(err.Error(), "hidden-secret") {
			t.Errorf("%s: the secret is told:\n%v", name, err)
		}
		golden := filepath.Join("testdata", "check", name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, readErr := os.ReadFile(golden)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got), go test -update writes it:\n%s", name, diff)
		}
		if _, err := jobspec.Parse([]byte(document)); err == nil {
			t.Errorf("%s: the server takes it", name)
		}
	}
	if err := jobspec.Check("job.yaml", []byte(good)); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

// TestLocate: what only the server knows is told where the document names it.
func TestLocate(t *testing.T) {
	for message, want := range map[string]string{
		"Storage nfs-storage is not found. You may use: other": "job.yaml:33:13: Storage nfs-storage is not found. You may use: other\n        - name: nfs-storage\n                ^",
		"Virtual cluster default is not found.":                "job.yaml:29:28: Virtual cluster default is not found.\n    defaults: {virtualCluster: default}\n                               ^",
		"Storage gone is not found. You may use: other":        "",
	} {
		got := ""
		if err := jobspec.Locate("job.yaml", []byte(good), message); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", message, diff)
		}
	}
}
