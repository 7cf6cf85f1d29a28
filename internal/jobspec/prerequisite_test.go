package jobspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

func TestRegistries(t *testing.T) {
	const document = `
protocolVersion: 2
name: train
type: job
secrets:
  registry: CANARY-1
prerequisites:
  - name: image
    type: dockerimage
    uri: registry.example.org/image
    auth: &shared {username: alice, password: <% $secrets.registry %>, registryuri: registry.example.org}
  - {name: hub, type: dockerimage, uri: alice/image, auth: {username: alice, password: "CANARY-2"}}
  - {name: other, type: dockerimage, uri: registry.example.org/other, auth: *shared}
  - {name: literal, type: dockerimage, uri: a/b, auth: {username: bob, password: "<%x%>CANARY-3", registryuri: https://example.org/v1/}}
taskRoles:
  main:
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 1}
    commands: [date]
`
	spec, err := jobspec.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	want := []pai.Registry{
		{Server: "registry.example.org", Username: "alice", Password: "CANARY-1"},
		{Server: "https://index.docker.io/v1/", Username: "alice", Password: "CANARY-2"},
		{Server: "https://example.org/v1/", Username: "bob", Password: "<%x%>CANARY-3"},
	}
	if diff := cmp.Diff(want, spec.Registries); diff != "" {
		t.Error(diff)
	}
	masked := strings.NewReplacer("CANARY-1", `"******"`, `"CANARY-2"`, `"******"`, "<% $secrets.registry %>", `"******"`, `"<%x%>CANARY-3"`, `"******"`)
	if diff := cmp.Diff(masked.Replace(document), string(spec.Document)); diff != "" {
		t.Error(diff)
	}
	if spec.TaskRoles[0].SecretCommands {
		t.Error("a password of a registry is no secret in a command")
	}
}

func TestPrerequisitesRefused(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{"type: dockerimage, uri: a, auth: {username: u}", "line 11, column 55: prerequisites[1].auth.password: missing"},
		{"type: dockerimage, uri: a, auth: {username: u, password: }", "auth.password: missing"},
		{"type: dockerimage, uri: a, auth: {password: CANARY}", "auth.username: missing"},
		{"type: dockerimage, uri: a, auth: {username: 'a:b', password: CANARY}", "auth.username: expected a name without ':'"},
		{"type: dockerimage, uri: a, auth: {username: <% $secrets.x %>, password: CANARY}", "auth.username: expected a name without ':', and without a template"},
		{"type: dockerimage, uri: a, auth: {username: u, password: CANARY, registryuri: a b}", "auth.registryuri: expected the address of a registry"},
		{"type: dockerimage, uri: a, auth: {username: u, password: [CANARY]}", "auth.password: expected text"},
		{"type: dockerimage, uri: a, auth: {username: u, CANARY}", "auth: expected username, password and registryuri, each once"},
		{"type: dockerimage, uri: a, auth: CANARY", "auth: expected a mapping"},
		{"type: dockerimage, uri: a, auth: {username: u, password: <% $secrets.CANARY %>}", "auth.password: no such secret"},
		{"type: script, uri: a, auth: {username: u, password: CANARY}", "auth: only a dockerimage has one"},
		{"type: dockerimage, uri: a<%$parameters.x%>", "uri: templates (<% ... %>) are replaced in commands only"},
		{"type: data, uri: [[a]]", "uri[0]: expected text"},
		{"type: data, uri: [" + strings.Repeat("a,", 256) + "a]", "uri: expected at most 256 items"},
		{"type: else", "prerequisites[1].type: expected dockerimage, script, data or output"},
	} {
		_, err := jobspec.Parse([]byte(with(t, "taskRoles:", "  - {name: private, "+c.keys+"}\ntaskRoles:")))
		if pai.CodeOf(err) != pai.InvalidParametersError || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: got %v, want %q in it", c.keys, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: the fault quotes the password: %v", c.keys, err)
		}
	}
}
