package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// formats are what --output takes.
var formats = []string{"table", "json", "yaml"}

func checkOutput(cmd *cobra.Command) error {
	if format := outputFormat(cmd); !slices.Contains(formats, format) {
		return usageError{fmt.Errorf("--output %q: choose table, json or yaml", format)}
	}
	return nil
}

func outputFormat(cmd *cobra.Command) string {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return "table"
	}
	return format
}

// typedFormat is outputFormat also where a fault in what was typed kept the flag from being read.
func typedFormat(cmd *cobra.Command, args []string) string {
	flag := cmd.Flag("output")
	if flag == nil || flag.Changed {
		return outputFormat(cmd)
	}
	for i, arg := range args {
		if arg == "--" {
			break
		}
		value, ok := strings.CutPrefix(arg, "--output")
		if !ok && flag.Shorthand != "" {
			value, ok = strings.CutPrefix(arg, "-"+flag.Shorthand)
		}
		if ok && value == "" && i+1 < len(args) {
			value = args[i+1]
		}
		if value = strings.TrimPrefix(value, "="); ok && slices.Contains(formats, value) {
			return value
		}
	}
	return outputFormat(cmd)
}

// printResult prints a value for people with table. For programs it is kept until the run ends: with what goes wrong
// until then it is one document.
func printResult(s *Streams, cmd *cobra.Command, value any, table func() error) error {
	if outputFormat(cmd) != "table" {
		s.result = value
		return nil
	}
	return table()
}

// noTable prints nothing: people have read it already.
func noTable() error { return nil }

// printLine prints one document of JSON Lines.
func printLine(s *Streams, value any) error {
	s.lines = true
	return json.NewEncoder(s.Out).Encode(value)
}

// printDocument prints a value in a format for programs.
func printDocument(w io.Writer, format string, value any) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	text, err := yaml.Marshal(value)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// end prints the result of a command, and what went wrong. It returns the exit status.
func (s *Streams) end(cmd *cobra.Command, format string, err error) int {
	status := statusOf(err)
	var silent exitStatus
	said := err == nil || errors.As(err, &silent)
	if format != "json" && format != "yaml" {
		if !said {
			fmt.Fprintf(s.Err, "paictl: %s\n", messageOf(cmd, err))
			printHint(s, cmd, err)
		}
		return status
	}
	if !said {
		s.result = withError(s.result, cmd, err, status)
	}
	var fault error
	switch {
	case s.result == nil:
	case s.lines:
		fault = printLine(s, s.result)
	default:
		fault = printDocument(s.Out, format, s.result)
	}
	if fault != nil {
		fmt.Fprintf(s.Err, "paictl: %v\n", fault)
		return max(status, exitFailed)
	}
	if !said {
		printHint(s, cmd, err)
	}
	return status
}

// withError is a result, or nil, with what went wrong in it: each error by itself where they are several.
func withError(result any, cmd *cobra.Command, err error, status int) map[string]any {
	out := map[string]any{}
	if text, fault := json.Marshal(result); fault == nil {
		fields := map[string]json.RawMessage{}
		_ = json.Unmarshal(text, &fields) // results are objects, or null
		for key, value := range fields {
			out[key] = value
		}
	}
	maps.Copy(out, map[string]any{"code": codeOfAPI(err), "message": messageOf(cmd, err), "exitStatus": status})
	var faults *yamltext.Faults
	if errors.As(err, &faults) {
		out["faults"] = faults.List
	}
	_, one := err.(documentError) // which is a refusal and its places
	if joined, ok := err.(interface{ Unwrap() []error }); ok && !one && len(joined.Unwrap()) > 1 {
		var each []map[string]any
		for _, err := range joined.Unwrap() {
			each = append(each, map[string]any{"code": codeOfAPI(err), "message": err.Error()})
		}
		out["errors"] = each
	}
	return out
}

func printHint(s *Streams, cmd *cobra.Command, err error) {
	if hint := hintFor(cmd, err); hint != "" {
		fmt.Fprintln(s.Err, hint)
	}
}

// when is a time for people.
func when(t time.Time) string { return t.Local().Format(time.DateTime) }

// whenOr is a time for people, or what stands for none.
func whenOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return when(*t)
}
