// Package cli is paictl: every command is an options struct, a function that describes it to cobra and a
// function that runs it.
//
// [Main] is the whole program; main and the tests call it. Results go to standard output, as a table or
// with --output as JSON or YAML; everything else goes to standard error. An error is one line that names
// the thing, then a hint with the command to type.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/localcluster"
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
	ctx, stop := untilSignal(ctx)
	defer stop()
	root := newRoot(&s)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return s.end(cmd, typedFormat(cmd, args), bySignal(ctx, err))
}

func newRoot(s *Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "paictl",
		Short: "Storages for the jobs of a shared cluster",
		Long: `paictl manages the storages of a shared cluster: who may use which, and the jobs that mount them.

With --output json or yaml, standard output has one document, also of what failed: then "message", "code" and "exitStatus" are in it,
beside what was done. Times in it are RFC 3339.

Exit status: 0 well, 1 failed, 2 wrong usage, 3 not signed in or not allowed, 4 not found, 130 interrupted.`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.PersistentFlags().StringP("output", "o", "table", "how to print the result: table, json or yaml")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := cmp.Or(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
			return usageError{fmt.Errorf("%w; see \"%s --help\"", err, cmd.CommandPath())}
		}
		return checkOutput(cmd)
	}
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

// statusOf is the exit status for an error.
func statusOf(err error) int {
	var usage usageError
	var absent notFoundError
	var silent exitStatus
	var ended signalError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return int(silent)
	case errors.As(err, &ended):
		return 128 + int(ended)
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
