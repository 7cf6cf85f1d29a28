package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/rollout"
	"github.com/pai-storage/pai-storage/internal/term"
)

// preparer is what is done with a cluster to prepare a worker.
type preparer interface {
	Preparation(ctx context.Context, node string) (rollout.Preparation, error)
	Prepare(ctx context.Context, p rollout.Preparation, out io.Writer) (rollout.Preparation, error)
}

type nodePrepareOptions struct {
	streams    *Streams
	kubeconfig string
	apply, yes bool
	timeout    time.Duration
	connect    func() (services preparer, done func(), err error)
}

func newNodePrepare(s *Streams) *cobra.Command {
	o := &nodePrepareOptions{streams: s}
	o.connect = func() (preparer, func(), error) {
		services := serviceOptions{streams: s, kubeconfig: o.kubeconfig}
		return services.connect()
	}
	return o.command()
}

func (o *nodePrepareOptions) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prepare NODE",
		Short: "Say what a worker lacks to mount storages, and install it with --apply",
		Long: `Say what a worker lacks to mount storages, by what its agent found: programs, parts of its kernel, FUSE. The commands that
install it follow; run them there as root, or have that done with --apply: they run in a pod on that worker, what they print goes to
standard error, and the command waits until the agent finds what was lacking.

It talks to Kubernetes with a kubeconfig: --kubeconfig, else $KUBECONFIG, else ~/.kube/config, else the local
cluster's.

Exit status: 0 well, also when something is lacking and --apply was not given, 1 failed, or --apply cannot bring everything, 2 wrong
usage, 4 no such node.`,
		Example: `  paictl node prepare worker1
  paictl node prepare worker1 --apply --yes`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, nodeNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runNodePrepare(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().BoolVar(&o.apply, "apply", false, "run the commands on the worker, as root")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 15*time.Minute, "how long the commands and the agent may take")
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", kubeconfigHelp)
	return cmd
}

func runNodePrepare(ctx context.Context, o *nodePrepareOptions, cmd *cobra.Command, node string) error {
	switch {
	case o.timeout <= 0:
		return usageError{fmt.Errorf("--timeout %s: takes what is more than nothing", o.timeout)}
	case o.yes && !o.apply:
		return usageError{errors.New("--yes: nothing is asked without --apply")}
	}
	services, done, err := o.connect()
	if err != nil {
		return err
	}
	defer done()
	p, err := services.Preparation(ctx, node)
	if errors.Is(err, rollout.ErrNoNode) {
		return notFoundError{err}
	}
	if err != nil {
		return err
	}
	if !o.apply {
		return o.print(cmd, p)
	}
	if len(p.Commands) > 0 {
		if err := o.ask(p); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("time is up after %s (--timeout)", o.timeout))
		defer cancel()
		if p, err = services.Prepare(ctx, p, o.streams.Err); err != nil {
			return err
		}
	}
	done()
	if err := o.print(cmd, p); err != nil {
		return err
	}
	if !p.Ready() {
		return errSilent // what is printed says what is left, and why no command brings it
	}
	return nil
}

// ask shows what would run before it asks.
func (o *nodePrepareOptions) ask(p rollout.Preparation) error {
	if o.yes {
		return nil
	}
	for _, c := range p.Commands {
		fmt.Fprintln(o.streams.Err, "  "+term.Plain(c))
	}
	return askToGoOn(o.streams, "Run this as root on "+p.Node+"?")
}

func (o *nodePrepareOptions) print(cmd *cobra.Command, p rollout.Preparation) error {
	p.Lacks, p.Commands = list(p.Lacks), list(p.Commands)
	return printResult(o.streams, cmd, p, func() error { return printPreparation(o.streams.Out, time.Now(), p) })
}

// printPreparation says what a worker lacks, and what brings it.
func printPreparation(w io.Writer, now time.Time, p rollout.Preparation) error {
	said := fmt.Sprintf("node %s (%s, kernel %s), by what its agent said %s ago", p.Node, p.OS, p.Kernel, ageOf(now, &p.Reported))
	if p.Ready() {
		said += ": it has all that storages are mounted with"
	}
	if _, err := fmt.Fprintln(w, term.Plain(said)); err != nil {
		return err
	}
	for _, f := range p.Faults {
		if _, err := fmt.Fprintf(w, "its agent says: %s\n", term.Plain(f)); err != nil {
			return err
		}
	}
	if p.Ready() {
		return nil
	}
	var rows [][]string
	for _, l := range p.Lacks {
		types := make([]string, len(l.Types))
		for i, t := range l.Types {
			types[i] = string(t)
		}
		rows = append(rows, []string{l.What, strings.Join(types, ","), firstOf(l.Package, l.Advice)})
	}
	if err := term.Table(w, []string{"LACKS", "NEEDED FOR", "BROUGHT BY"}, rows); err != nil || len(p.Commands) == 0 {
		return err
	}
	if _, err := fmt.Fprintf(w, "\nrun as root on %s, or: paictl node prepare %s --apply\n", p.Node, p.Node); err != nil {
		return err
	}
	for _, c := range p.Commands {
		if _, err := fmt.Fprintln(w, "  "+term.Plain(c)); err != nil {
			return err
		}
	}
	return nil
}
