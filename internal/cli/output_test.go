package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// milliseconds are how the API writes times.
var milliseconds = regexp.MustCompile(`: 1[0-9]{12}\b`)

// isOneDocument says what keeps a text from being exactly one JSON document with times in RFC 3339.
func isOneDocument(text string) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("no JSON: %w: %q", err, text)
	}
	if err := decoder.Decode(&value); err != io.EOF {
		return fmt.Errorf("more than one document: %v: %q", err, text)
	}
	if found := milliseconds.FindString(text); found != "" {
		return fmt.Errorf("a time is not RFC 3339: %s", found)
	}
	return nil
}

// TestEveryCommandPrintsOneDocument: what fails says so in one JSON document, whatever kept it from being done.
func TestEveryCommandPrintsOneDocument(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{"HOME": dir, "XDG_CONFIG_HOME": dir, "PAI_STATE_DIR": dir, "KUBECONFIG": "", "PAI_SERVER": "http://127.0.0.1:1"} {
		t.Setenv(name, value)
	}
	own := map[string]bool{"kubectl": true, "supervise": true, "completion": true, "help": true, "up": true, "down": true} // another program's output, or none
	var walk func(cmd *cobra.Command, path []string)
	walk = func(cmd *cobra.Command, path []string) {
		for _, sub := range cmd.Commands() {
			if !own[sub.Name()] {
				walk(sub, append(path[:len(path):len(path)], sub.Name()))
			}
		}
		if cmd.HasSubCommands() {
			return
		}
		for name, args := range map[string][]string{
			"nobody is signed in":   {"a", "b"},
			"an unknown flag first": {"--absent"},
			"too many arguments":    {"a", "b", "c", "d"},
		} {
			args = append(path[:len(path):len(path)], args...)
			var out, said strings.Builder
			status := Main(t.Context(), append(args, "--output", "json"), Streams{In: strings.NewReader(""), Out: &out, Err: &said})
			if err := isOneDocument(out.String()); err != nil || status == exitOK || !strings.Contains(out.String(), fmt.Sprintf(`"exitStatus": %d`, status)) {
				t.Errorf("%s: %v: status %d, %v: %s", name, args, status, err, said.String())
			}
		}
	}
	walk(newRoot(&Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard}), nil)
}

func TestEnd(t *testing.T) {
	done := map[string]any{"stopping": []string{"alice~x"}}
	refused := documentError{&yamltext.Faults{List: []yamltext.Fault{{File: "job.yaml", Line: 1, Column: 2, Text: "no"}}}, pai.Errorf(pai.InvalidParametersError, "bad")}
	both := errors.Join(errors.New("one"), errors.New("two"))
	for name, c := range map[string]struct {
		format string
		result any
		lines  bool
		err    error
		status int
		out    string
	}{
		"well":               {"json", done, false, nil, 0, "{\n  \"stopping\": [\n    \"alice~x\"\n  ]\n}\n"},
		"nothing":            {"json", nil, false, nil, 0, ""},
		"said by the result": {"yaml", done, false, errSilent, 1, "stopping:\n- alice~x\n"},
		"failed":             {"yaml", nil, false, usageError{errors.New("no")}, 2, "code: \"\"\nexitStatus: 2\nmessage: \"no\"\n"},
		"partly":             {"yaml", done, false, errors.New("no"), 1, "code: \"\"\nexitStatus: 1\nmessage: \"no\"\nstopping:\n- alice~x\n"},
		"several":            {"yaml", nil, false, both, 1, "code: \"\"\nerrors:\n- code: \"\"\n  message: one\n- code: \"\"\n  message: two\nexitStatus: 1\nmessage: |-\n  one\n  two\n"},
		"a refused document": {"yaml", nil, false, refused, 1, "code: InvalidParametersError\nexitStatus: 1\nfaults:\n- column: 2\n  file: job.yaml\n  line: 1\n  message: \"no\"\n" +
			"message: 'job.yaml:1:2: no'\n"},
		"the last of the lines": {"json", nil, true, errors.New("no"), 1, "{\"code\":\"\",\"exitStatus\":1,\"message\":\"no\"}\n"},
		"lines":                 {"json", nil, true, nil, 0, ""},
		"for people":            {"table", nil, false, errors.New("no"), 1, ""},
	} {
		var out strings.Builder
		s := Streams{Out: &out, Err: io.Discard, result: c.result, lines: c.lines}
		if status := s.end(&cobra.Command{}, c.format, c.err); status != c.status || out.String() != c.out {
			t.Errorf("%s: %d, %q; want %d, %q", name, status, out.String(), c.status, c.out)
		}
	}
}

// TestTypedFormat: the format is found also where a fault kept the flags from being read; -o of "config pull" is something else.
func TestTypedFormat(t *testing.T) {
	for args, want := range map[string]string{
		"job list --absent -o json": "json", "job list --absent -ojson": "json", "job list --absent --output=yaml": "yaml", "absent --output json": "json",
		"job list --absent -o xml": "table", "job list --absent -o": "table", "job list --absent -- -o json": "table",
		"config pull --absent -o json": "table", "config pull --absent --output json": "json", "job list -o yaml --absent -o json": "yaml",
	} {
		root := newRoot(&Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
		root.SetArgs(strings.Fields(args))
		cmd, err := root.ExecuteContextC(t.Context())
		if got := typedFormat(cmd, strings.Fields(args)); err == nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", args, got, want, err)
		}
	}
}

func TestWhen(t *testing.T) {
	at := time.Date(2026, 11, 26, 23, 24, 37, 5e8, time.Local)
	if got := when(at.UTC()) + ", " + whenOr(nil, "never") + ", " + whenOr(&at, ""); got != "2026-11-26 23:24:37, never, 2026-11-26 23:24:37" {
		t.Errorf("got %s", got)
	}
}

// TestBySignal: a run that a signal ended says which, and blames nobody.
func TestBySignal(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(signalError(syscall.SIGTERM))
	for name, c := range map[string]struct {
		ctx    context.Context
		err    error
		text   string
		status int
	}{
		"what was interrupted": {ctx, fmt.Errorf("storage x is declared, but not granted: %w", context.Canceled), "storage x is declared, but not granted: ended by signal: terminated", 143},
		"nothing else":         {ctx, context.Canceled, "ended by signal: terminated", 143},
		"told already":         {ctx, fmt.Errorf("waiting ended: %w", signalError(syscall.SIGINT)), "waiting ended: interrupted", 130},
		"another error":        {ctx, errors.New("no space"), "no space", 1},
		"no signal":            {t.Context(), context.Canceled, "context canceled", 1},
	} {
		if err := bySignal(c.ctx, c.err); err.Error() != c.text || statusOf(err) != c.status {
			t.Errorf("%s: %v, %d", name, err, statusOf(err))
		}
	}
}
