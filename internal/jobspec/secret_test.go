package jobspec_test

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/jobspec"
)

// body is a document without secrets, whose command uses the secret a. What comes behind it is at the top level.
const body = `
protocolVersion: 2   # keep this comment
name: train
type: job
prerequisites:
  - {name: image, type: dockerimage, uri: busybox}
taskRoles:
  main:
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 1}
    commands: ['<% $secrets.a %>']
`

func TestDocumentMasksSecrets(t *testing.T) {
	const m = `"******"`
	for _, c := range []struct{ name, secrets, want, value string }{
		{"plain", "secrets:\n  a: hunter2\n", "secrets:\n  a: " + m + "\n", "hunter2"},
		{"trailing comment", "secrets:\n  a:   hunter2   # for the lab\n# end", "secrets:\n  a:   " + m + "   # for the lab\n# end", "hunter2"},
		{"quotes", "secrets: {a: \"hun\\\"ter2 # x\", 'b':'it''s'}", "secrets: {a: " + m + ", 'b':" + m + "}", "hun\"ter2 # x"},
		{"number", "secrets: {a: 0123_4}", "secrets: {a: " + m + "}", "0123_4"},
		{"folded plain text", "secrets:\n  a: one\n    two\n\n    three # c\n  b: x", "secrets:\n  a: " + m + " # c\n  b: " + m, "one two\nthree"},
		{"quotes over lines", "secrets:\n  a: \"one\n    two\\\n    three\"\nparameters: {}", "secrets:\n  a: " + m + "\nparameters: {}", "one twothree"},
		{"flow over lines", "secrets: {a: 'one\n  two',\n  b: x}", "secrets: {a: " + m + ",\n  b: " + m + "}", "one two"},
		{"block", "secrets:\n  a: |\n    one\n    # two\n\n      three\n  # mine\n  b: x\n", "secrets:\n  a: " + m + "\n  # mine\n  b: " + m + "\n", "one\n# two\n\n  three\n"},
		{"block with comment", "secrets:\n  a: >- # why\n    one\n    two\n", "secrets:\n  a: " + m + " # why\n    \n", "one two"},
		{"block with indent", "secrets:\n  a: |2+\n      one\n\nparameters: {}\n", "secrets:\n  a: " + m + "\n\nparameters: {}\n", "  one\n\n"},
		{"block at the end", "secrets:\n  a: |-\n    one", "secrets:\n  a: " + m, "one"},
		{"empty", "secrets: {a: ''}", "secrets: {a: " + m + "}", ""},
		{"anchor and alias", "secrets:\n  a: &x hunter2\n  b: *x\n", "secrets:\n  a: " + m + "\n  b: " + m + "\n", "hunter2"},
		{"anchor, comment, text", "secrets:\n  a: &x # why\n    hunter2\n", "secrets:\n  a: " + m + " # why\n    \n", "hunter2"},
		{"tag", "secrets:\n  a: !!str &x 'hunter2' # c\n", "secrets:\n  a: " + m + " # c\n", "hunter2"},
		{"own tag", "secrets: {a: !hunter3 hunter2}", "secrets: {a: " + m + "}", "hunter2"},
		{"next line", "secrets:\n  a:\n    hunter2\n", "secrets:\n  a:\n    " + m + "\n", "hunter2"},
		{"JSON", `"secrets": {"a":"hunter2", "b":"x"}`, `"secrets": {"a":` + m + `, "b":` + m + `}`, "hunter2"},
		{"other alphabets", "parameters: {ключ: значение}\nsecrets: {a: 密码 пароль, b: \"ü\"} # ö", "parameters: {ключ: значение}\nsecrets: {a: " + m + ", b: " + m + "} # ö", "密码 пароль"},
		{"carriage returns", "secrets:\r\n  a: |\r\n    one\r\n    two\r\n  b: 'x\r\n    y'\r\n", "secrets:\r\n  a: " + m + "\r\n  b: " + m + "\r\n", "one\ntwo\n"},
		{"tabs", "secrets:\n  a:\thunter2\t# c\n", "secrets:\n  a:\t" + m + "\t# c\n", "hunter2"},
		{"end mark", "secrets: {a: hunter2}\n...\n", "secrets: {a: " + m + "}\n...\n", "hunter2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := jobspec.Parse([]byte(body + c.secrets))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(body+c.want, string(spec.Document)); diff != "" {
				t.Error(diff)
			}
			if role := spec.TaskRoles[0]; role.Commands[0] != c.value || !role.SecretCommands {
				t.Errorf("the command became %q, secret %v; want %q", role.Commands[0], role.SecretCommands, c.value)
			}
		})
	}
}

func TestDocumentWithoutSecretsIsTheSource(t *testing.T) {
	source := []byte(good)
	spec, err := jobspec.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	source[1] = 'X'
	if string(spec.Document) != good {
		t.Errorf("got %s", spec.Document)
	}
}

func TestSecretsRefused(t *testing.T) {
	const leads, itself = "an alias (*) must not lead to a secret", "write the secret itself"
	for _, c := range []struct{ name, rest, want string }{
		{"alias of a secret", "secrets: {a: &x CANARY}\nextras: {y: *x}", "line 13, column 13: " + leads},
		{"alias before the secret", "description: *x\nsecrets: {a: &x CANARY}", "line 12, column 14: " + leads},
		{"alias in a parameter", "secrets: {a: &x CANARY}\nparameters: {y: *x}", leads},
		{"alias in a fault", "secrets: {a: &x CANARY}\njobRetryCount: *x", "line 13, column 16: " + leads},
		{"alias in a fault that quotes", "secrets: {a: &x CANARY}\ndefaults: {deployment: *x}", "line 13, column 24: " + leads},
		{"alias of an alias", "secrets: &y {a: CANARY}\nextras: {z: &x [*y]}\nversion: *x", "line 13, column 17: " + leads},
		{"alias of all", "secrets: &x {a: CANARY}\nextras: {y: *x}", leads},
		{"alias of what is no mapping", "secrets: &x CANARY\njobRetryCount: *x", leads},
		{"merge of all", "secrets: &x {a: CANARY}\nextras: {<<: *x}", leads},
		{"anchor elsewhere", "extras: {y: &x CANARY}\nsecrets: {a: *x}", "line 13, column 14: " + itself},
		{"anchor of all elsewhere", "extras: {y: &x {a: CANARY}}\nsecrets: *x", "line 13, column 10: " + itself},
		{"anchor elsewhere inside", "extras: {y: &x CANARY}\nsecrets: {a: {b: *x}}", itself},
		{"nested", "secrets: {a: {b: CANARY}}", "secrets: expected NAME: VALUE, where the value is text"},
		{"list", "secrets: {a: [CANARY]}", "secrets: expected NAME: VALUE, where the value is text"},
		{"list of all", "secrets: [CANARY]", "secrets: expected a mapping"},
		{"no value", "secrets: {CANARY}", "secrets: expected NAME: VALUE, where the value is text"},
		{"null", "secrets: {a: , b: CANARY}", "secrets: expected NAME: VALUE, where the value is text"},
		{"name", "secrets: {CANARY x: y}", "a secret is named with letters"},
		{"merge", "extras: {y: &x {a: CANARY}}\nsecrets: {<<: *x}", "secrets: "},
		{"unknown key", "secret: {a: CANARY}", "line 12, column 1: secret: unknown key"},
		{"not closed", "secrets:\n  a: \"CANARY\n", "line 13, column 6: could not find end character of double-quoted text"},
		{"not closed, flow", "secrets: {a: CANARY", "line "},
		{"escape", "secrets: {a: \"CANARY\\q\"}", "found unknown escape character …"},
		{"reserved character", "secrets: {a: @CANARY}", "… is a reserved character"},
		{"tag", "secrets: {a: !CANARY }", "line "},
		{"same key", "secrets: {CANARY: 1, CANARY: 1}", "line 12, column 22: this key is given twice, first at line 12, column 11"},
		{"colon", "secrets:\n  a: CANARY: CANARY\n", "line 13"},
		{"indentation", "secrets:\n  a: x\n CANARY\n", "line "},
		{"tab", "secrets:\n\ta: CANARY\n", "line 13"},
		{"empty block", "secrets:\n  b: CANARY\n  a: |\n", "cannot be masked the way it is written"},
		{"anchor without a value", "secrets: {a: &CANARY}", "line "},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := jobspec.Parse([]byte(body + c.rest))
			if pai.CodeOf(err) != pai.InvalidParametersError || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
			if strings.Contains(err.Error(), "CANARY") || spec.Document != nil {
				t.Errorf("the secret is in %q or in %q", err, spec.Document)
			}
		})
	}
}

func TestPasswordAliases(t *testing.T) {
	document := func(auth, rest string) string {
		return strings.Replace(strings.Replace(body, "uri: busybox}", "uri: busybox, auth: "+auth+"}", 1), "<% $secrets.a %>", "date", 1) + rest
	}
	const masked = `{username: u, password: "******"}`
	for _, c := range []struct{ name, auth, rest, want, fault string }{
		{name: "a secret", auth: "{username: u, password: *x}", rest: "secrets: {a: &x CANARY}", want: document(masked, `secrets: {a: "******"}`)},
		{name: "for a secret", auth: "{username: u, password: &x CANARY}", rest: "secrets: {a: *x}", want: document(masked, `secrets: {a: "******"}`)},
		{name: "user name", auth: "{username: &x u, password: CANARY}", rest: "description: *x", want: document(`{username: &x u, password: "******"}`, "description: *x")},
		{name: "elsewhere", auth: "{username: u, password: *x}", rest: "extras: {y: &x CANARY}", fault: "line 6, column 82: write the secret itself"},
		{name: "user name as password", auth: "{username: &x CANARY, password: *x}", fault: "write the secret itself"},
		{name: "password as user name", auth: "{username: *x, password: &x CANARY}", fault: "must not lead to a secret"},
		{name: "password elsewhere", auth: "{username: u, password: &x CANARY}", rest: "description: *x", fault: "must not lead to a secret"},
		{name: "auth elsewhere", auth: "&x {username: u, password: CANARY}", rest: "extras: {y: *x}", fault: "must not lead to a secret"},
		{name: "auth from elsewhere", auth: "*x", rest: "extras: {y: &x {username: u, password: CANARY}}", fault: "must not lead to a secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := jobspec.Parse([]byte(document(c.auth, c.rest)))
			if c.fault != "" {
				if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "CANARY") {
					t.Errorf("got %v, want %q", err, c.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(spec.Document)); diff != "" {
				t.Error(diff)
			}
			if spec.Registries[0].Password != "CANARY" {
				t.Errorf("got %+v", spec.Registries)
			}
		})
	}
}

// writings are ways to write a secret; %[1]s is the secret, %[2]s its first half and %[3]s the second.
var writings = []string{
	"%[1]s", "'%[1]s'", `"%[1]s"`, "%[1]s # comment", "&x %[1]s", "!!str %[1]s", "!!str &x '%[1]s' # c", "&x !t \"%[1]s\"",
	"\n    %[1]s", "\n    %[2]s\n    %[3]s", "\n    '%[2]s\n\n    %[3]s'", "\"%[2]s\\\n    %[3]s\"",
	"|\n    %[1]s", "|\n    %[2]s\n    # %[1]s\n\n      %[3]s\n", ">\n    %[2]s\n    %[3]s\n", "|+ # comment\n    %[1]s\n\n", ">-\n     %[2]s\n\n     %[1]s",
	"|1\n     %[1]s", "|\r\n    %[2]s\r\n    %[1]s\r\n", "&x |\n    %[1]s", "!!str |-\n    %[1]s", "&x # comment\n    %[1]s",
	"'# %[1]s'", "\": %[1]s # %[2]s\"", "'é %[1]s ü'", "\" %[1]s \"", "%[1]s\t# \"c", "|\n    'x\n    %[1]s", "\n\n\n    \"\n    %[1]s\"\n",
}

// placements are documents with one place for a secret, %s, and more of them for aliases of it.
var placements = []string{
	body + "secrets:\n  a: %s\n",
	body + "secrets:\n  b: x\n  a: %s\n  c: 'y' # z\nextras:\n  z: |\n    free\n",
	"secrets:\n  a: %s\n" + body,
	"# top\nsecrets:\n  a: %s\n  # between\n  c: |\n    block\n" + body + "parameters: {é: ü}",
	strings.Replace(body, "  - {name: image, type: dockerimage, uri: busybox}",
		"- name: image\n  type: dockerimage\n  uri: busybox\n  auth:\n   username: u\n   password: %s\n", 1) +
		"secrets: {a: b}\n",
}

// FuzzMask shows that the document that is kept has no part of a secret, however it is written.
func FuzzMask(f *testing.F) {
	for w := range writings {
		for p := range placements {
			f.Add([]byte("seed of a secret"), uint(w), uint(p))
		}
	}
	f.Fuzz(func(t *testing.T, seed []byte, writing, placement uint) {
		// Letters and digits, so that every way of writing can hold it. "Zq" is in both halves, and nowhere else in a document.
		text := strings.NewReplacer("+", "p", "/", "s").Replace(base64.RawStdEncoding.EncodeToString(append(seed, "ABCDEFGH"...)))
		first, second := "Zq"+text[:len(text)/2], text[len(text)/2:]+"Zq"
		written := strings.NewReplacer("%[1]s", first+second, "%[2]s", first, "%[3]s", second).Replace(writings[writing%uint(len(writings))])
		document := strings.Replace(placements[placement%uint(len(placements))], "%s", written, 1)

		spec, err := jobspec.Parse([]byte(document))
		if len(document) > jobspec.MaxSize {
			return
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		held := spec.TaskRoles[0].Commands[0]
		for _, r := range spec.Registries {
			held += r.Password
		}
		if !strings.Contains(held, "Zq") {
			t.Errorf("the secret got lost: %q in\n%s", held, document)
		}
		if bytes.Contains(spec.Document, []byte("Zq")) {
			t.Errorf("the secret survives:\n%s\nfrom:\n%s", spec.Document, document)
		}
		again, err := jobspec.Parse(spec.Document)
		if err != nil || !bytes.Equal(again.Document, spec.Document) {
			t.Errorf("masked twice it is another document: %v\n%s", err, again.Document)
		}
	})
}

// FuzzMaskAnyText shows the same for text that may be anything, as far as it makes a document: no word of a secret that is written once in
// it is kept.
func FuzzMaskAnyText(f *testing.F) {
	for _, w := range writings {
		f.Add(strings.NewReplacer("%[1]s", "correct-horse", "%[2]s", "battery--", "%[3]s", "staple---").Replace(w))
	}
	f.Fuzz(func(t *testing.T, written string) {
		if strings.Contains(written, "#") {
			t.Skip("comments are kept")
		}
		document := body + "secrets:\n  a: " + written + "\n"
		spec, err := jobspec.Parse([]byte(document))
		if err != nil {
			if pai.CodeOf(err) != pai.InvalidParametersError {
				t.Errorf("got %v", err)
			}
			return
		}
		for word := range strings.FieldsSeq(spec.TaskRoles[0].Commands[0]) {
			if len(word) >= 4 && strings.Count(document, word) == 1 && bytes.Contains(spec.Document, []byte(word)) {
				t.Errorf("%q survives in\n%s\nfrom\n%s", word, spec.Document, document)
			}
		}
	})
}
