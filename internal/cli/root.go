// Package cli is paictl: every command is an options struct, a function that describes it to cobra and a
// function that runs it.
//
// [Main] is the whole program; main and the tests call it. Results go to standard output, as a table or
// with --output as JSON or YAML; everything else goes to standard error. An error is one line that names
// the thing, then a hint with the command to type.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/pai-storage/pai-storage/internal/localcluster"
	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// Exit statuses of paictl.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitForbidden = 3
	exitNotFound  = 4
)

// exitStatus ends the program with a status and without a word: all is said.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// errSilent is a failure that the result itself tells.
const errSilent = exitStatus(exitFailed)

// usageError is a fault in what was typed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// notFoundError is about something that was typed and is not there.
type notFoundError struct{ error }

func (e notFoundError) Unwrap() error { return e.error }

// Main runs paictl with the arguments after its name and returns its exit status.
func Main(ctx context.Context, args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot(&s)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	status := statusOf(err)
	var silent exitStatus
	if errors.As(err, &silent) {
		return int(silent)
	}
	printError(&s, cmd, err, status)
	return status
}

func newRoot(s *Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "paictl",
		Short: "Storages for the jobs of a shared cluster",
		Long: `paictl manages the storages of a shared cluster: who may use which, and the jobs that mount them.

Exit status: 0 well, 1 failed, 2 wrong usage, 3 not signed in or not allowed, 4 not found.`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.PersistentFlags().StringP("output", "o", "table", "how to print the result: table, json or yaml")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return checkOutput(cmd) }
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see \"%s --help\"", err, cmd.CommandPath())}
	})
	root.AddCommand(newUp(s), newDown(s), newStatus(s), newEnv(s), newKubectl(), newNode(s), newService(s), newConfig(s), newStorageServer(s), newSupervise())
	addAPICommands(root, s)
	markUsage(root)
	return root
}

// markUsage makes wrong numbers of arguments and unknown commands usage errors, too.
func markUsage(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		markUsage(sub)
	}
	check := cmd.Args
	if check == nil {
		check = cobra.ArbitraryArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if cmd.HasSubCommands() && len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q; see \"%s --help\"", args[0], cmd.CommandPath())}
		}
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; see \"%s --help\"", err, cmd.CommandPath())}
		}
		return nil
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

func checkOutput(cmd *cobra.Command) error {
	switch format := outputFormat(cmd); format {
	case "table", "json", "yaml":
		return nil
	default:
		return usageError{fmt.Errorf("--output %q: choose table, json or yaml", format)}
	}
}

func outputFormat(cmd *cobra.Command) string {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return "table"
	}
	return format
}

// printResult prints a value in the wished format; table prints it for people.
func printResult(s *Streams, cmd *cobra.Command, value any, table func() error) error {
	switch outputFormat(cmd) {
	case "json":
		encoder := json.NewEncoder(s.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	case "yaml":
		text, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		_, err = s.Out.Write(text)
		return err
	default:
		return table()
	}
}

// statusOf is the exit status for an error.
func statusOf(err error) int {
	var usage usageError
	var absent notFoundError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &absent):
		return exitNotFound
	case errors.Is(err, localcluster.ErrAbsent):
		return exitNotFound
	default:
		return statusOfAPI(err)
	}
}

// printError says what went wrong, in the wished format.
func printError(s *Streams, cmd *cobra.Command, err error, status int) {
	if format := outputFormat(cmd); format == "json" || format == "yaml" {
		value := map[string]any{"code": codeOfAPI(err), "message": messageOf(cmd, err), "exitStatus": status}
		var faults *yamltext.Faults
		if errors.As(err, &faults) {
			value["faults"] = faults.List
		}
		if printResult(s, cmd, value, nil) == nil {
			return
		}
	}
	fmt.Fprintf(s.Err, "paictl: %s\n", messageOf(cmd, err))
	if hint := hintFor(cmd, err); hint != "" {
		fmt.Fprintln(s.Err, hint)
	}
}
