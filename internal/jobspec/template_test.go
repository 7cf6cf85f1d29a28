package jobspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

// templated is a document for one command, which takes the place of COMMAND.
const templated = `
protocolVersion: 2
name: train
type: job
parameters:
  text: hello world
  number: 0x1F
  float: 1.50
  yes: true
  empty:
  quoted: "<% $secrets.password %>"
  optimizer: {rate: 1e-3, kind: {name: adam}}
secrets:
  password: S3CRET&'x
prerequisites:
  - {name: image, type: dockerimage, uri: busybox}
  - {name: image, type: script, uri: https://example.org/run.sh, version: 1.0}
  - name: digits
    type: data
    uri: [a, b]
    description: handwritten
taskRoles:
  main:
    dockerImage: image
    script: image
    data: digits
    resourcePerInstance: {cpu: 1, memoryMB: 1}
    commands:
      - COMMAND
`

func parseCommand(t *testing.T, command string) (pai.TaskRole, error) {
	t.Helper()
	spec, err := jobspec.Parse([]byte(strings.Replace(templated, "COMMAND", "'"+strings.ReplaceAll(command, "'", "''")+"'", 1)))
	if err != nil {
		return pai.TaskRole{}, err
	}
	if len(spec.TaskRoles) != 1 || len(spec.TaskRoles[0].Commands) != 1 {
		t.Fatalf("got %+v", spec.TaskRoles)
	}
	return spec.TaskRoles[0], nil
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		command, want string
		secret        bool
	}{
		{command: "echo <% $parameters.text %>", want: "echo hello world"},
		{command: "<%$parameters.text%><%  $parameters.text\t%>", want: "hello worldhello world"},
		{command: "<% $parameters.number %> <% $parameters.float %> <% $parameters.yes %>", want: "0x1F 1.50 true"},
		{command: "[<% $parameters.empty %>]", want: "[]"},
		{command: "<% $parameters.optimizer.rate %> <% $parameters.optimizer.kind.name %>", want: "1e-3 adam"},
		{command: "<% $parameters.quoted %>", want: "<% $secrets.password %>"},
		{command: "x <% $secrets.password %> y", want: "x S3CRET&'x y", secret: true},
		{command: "<% $script.name %> <% $script.version %> <% $script.uri %>", want: "image 1.0 https://example.org/run.sh"},
		{command: "<% $data.uri %>, <% $data.uri[1] %>, <% $data.description %>, <% $data.type %>", want: "a b, b, handwritten, data"},
		{command: "awk '{print 50 %> 3}'", want: "awk '{print 50 %> 3}'"},
	} {
		t.Run(c.command, func(t *testing.T) {
			got, err := parseCommand(t, c.command)
			if err != nil {
				t.Fatal(err)
			}
			if got.Commands[0] != c.want || got.SecretCommands != c.secret {
				t.Errorf("got %q, secret %v; want %q, secret %v", got.Commands[0], got.SecretCommands, c.want, c.secret)
			}
		})
	}
}

func TestTemplatesRefused(t *testing.T) {
	const at = "line 29, column 9: taskRoles.main.commands[0]: "
	for _, c := range []struct{ command, want string }{
		{"<% $parameters.nothing %>", at + "<% $parameters.nothing %>: there is no such parameter (there are empty, float, "},
		{"<% $parameters.optimizer %>", at + "<% $parameters.optimizer %>: there is no such parameter"},
		{"<% $parameters %>", "there is no such parameter"},
		{"<% $secrets.nothing %> <% $secrets.password %>", at + "<% $secrets.nothing %>: there is no such secret (there are password)"},
		{"<% $script.colour %>", "there is no such field of the role's script (there are name, type, uri, uri[0], version)"},
		{"<% $data.uri[2] %>", "there is no such field of the role's data"},
		{"<% $output.uri %>", at + "<% $output.uri %>: the task role names no output"},
		{"<% script.uri %>", `expected <% $parameters.NAME %>, $secrets.NAME, $script.FIELD, $data.FIELD or $output.FIELD, found "script"`},
		{"<%# $parameters.text %>", `found "# $parameters"`},
		{"<% %>", `found ""`},
		{"echo <% $secrets.password", at + "a template begins with <% here and does not end with %>"},
	} {
		t.Run(c.command, func(t *testing.T) {
			_, err := parseCommand(t, c.command)
			if pai.CodeOf(err) != pai.InvalidParametersError || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "S3CRET") {
				t.Errorf("the fault quotes a secret: %v", err)
			}
		})
	}
}

func TestParametersRefused(t *testing.T) {
	doubled := "a0: &a0 {x: 1}\n"
	for i := range 13 {
		from, to := string(rune('a'+i)), string(rune('b'+i))
		doubled += "  " + to + "0: &" + to + "0 {x: *" + from + "0, y: *" + from + "0}\n"
	}
	for _, c := range []struct{ parameters, want string }{
		{"a: [1]", "line 37, column 6: parameters.a: expected text, a number, a boolean or a mapping of those"},
		{"a: &a {b: *a}", "nested too deeply"},
		{"{a.b: 1, a: {b: 2}}", "parameters.a.b: given twice"},
		{doubled, "expected at most 4096 parameters"},
	} {
		_, err := jobspec.Parse([]byte(good + "parameters:\n  " + c.parameters))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: got %.200v, want %q in it", c.parameters, err, c.want)
		}
	}
}

func TestCommandsAreBounded(t *testing.T) {
	doc := with(t, "commands: [sleep 1]", "commands: ['"+strings.Repeat("<% $parameters.long %>", 6000)+"']") +
		"parameters: {long: " + strings.Repeat("x", 100000) + "}\n"
	_, err := jobspec.Parse([]byte(doc))
	if err == nil || strings.Count(err.Error(), "are larger than 1024 KiB with their templates replaced") != 1 {
		t.Errorf("got %.200v", err)
	}
}

func TestCommandWithNUL(t *testing.T) {
	doc := with(t, "echo hello", "echo <% $secrets.nul %>") + `secrets: {nul: "CANARY\0"}`
	_, err := jobspec.Parse([]byte(doc))
	if err == nil || !strings.Contains(err.Error(), "must not contain NUL") || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("got %v", err)
	}
}

func TestDeployments(t *testing.T) {
	doc := with(t, "commands: [sleep 1]", "commands: [sleep <% $parameters.n %>]") + `
parameters: {n: 7}
secrets: {key: value-of-key}
deployments:
  - name: production
    taskRoles:
      ps:
        preCommands: [echo <% $secrets.key %>, date]
        postCommands: [echo <% $parameters.n %>]
  - name: trial
    taskRoles: {worker: {preCommands: [set -x]}}
`
	for _, c := range []struct {
		name, defaults string
		worker, ps     []string
		secret         bool // the commands of ps
	}{
		{name: "none", defaults: "{virtualCluster: default}", worker: []string{"echo hello"}, ps: []string{"sleep 7"}},
		{
			name: "production", defaults: "{deployment: production}",
			worker: []string{"echo hello"}, ps: []string{"echo value-of-key", "date", "sleep 7", "echo 7"}, secret: true,
		},
		{name: "trial", defaults: "{deployment: trial}", worker: []string{"set -x", "echo hello"}, ps: []string{"sleep 7"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			doc := strings.Replace(doc, "{virtualCluster: default}", c.defaults, 1)
			spec, err := jobspec.Parse([]byte(doc))
			if err != nil {
				t.Fatal(err)
			}
			worker, ps := spec.TaskRoles[0], spec.TaskRoles[1]
			if diff := cmp.Diff(append(c.worker, "if true; then\n  echo yes\nfi\n"), worker.Commands); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.ps, ps.Commands); diff != "" {
				t.Error(diff)
			}
			if worker.SecretCommands || ps.SecretCommands != c.secret {
				t.Errorf("secret: worker %v, ps %v", worker.SecretCommands, ps.SecretCommands)
			}
		})
	}
}

func TestDeploymentsRefused(t *testing.T) {
	for _, c := range []struct{ deployments, want string }{
		{"[{name: a, taskRoles: {nobody: {}}}]", "line 36, column 37: deployments[0].taskRoles.nobody: no task role has this name"},
		{"[{name: a, taskRoles: {ps: {preCommands: [<% $parameters.x %>]}}}]", "deployments[0].taskRoles.ps.preCommands[0]: <% $parameters.x %>"},
		{"[{name: a, taskRoles: {ps: {commands: []}}}]", "commands: unknown key"},
		{"[{name: a, taskRoles: {}}, {name: a, taskRoles: {}}]", "deployments[1].name: another deployment has this name"},
		{"[{name: b}]", "deployments[0].taskRoles: missing"},
		{"[{name: b, taskRoles: {}}]", `line 29, column 24: defaults.deployment: no deployment is named "a"`},
	} {
		doc := with(t, "defaults: {virtualCluster: default}", "defaults: {deployment: a}") + "deployments: " + c.deployments
		_, err := jobspec.Parse([]byte(doc))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.deployments, err, c.want)
		}
	}
}
