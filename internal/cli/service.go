package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/rollout"
	"github.com/pai-storage/pai-storage/internal/term"
)

// serviceOptions are what all commands about services take.
type serviceOptions struct {
	streams    *Streams
	kubeconfig string
	names      []string
	timeout    time.Duration
	follow     bool
	tail       int64
	yes        bool
	all        bool // none was named
}

func newService(s *Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Start, stop and look at the services of a cluster",
		Long: `Start, stop and look at the services of a cluster, with the configuration that it has (paictl config).

  cluster-configuration  the roles of nodes that layout.yaml gives them
  rest-server            the REST API and the portal
  storage-manager        an NFS and SMB server on machines with pai-storage: "true"
  node-agent             on machines with pai-worker: "true": drivers that mount storages, and checks that they do

It talks to Kubernetes with a kubeconfig: --kubeconfig, else $KUBECONFIG, else ~/.kube/config, else the local
cluster's.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newServiceStart(s), newServiceStop(s), newServiceRefresh(s), newServiceStatus(s), newServiceDelete(s), newServiceLogs(s))
	return cmd
}

// command makes one of the commands. Names come after one -n, or as arguments.
func (o *serviceOptions) command(use, short, example string, run func(context.Context, *cobra.Command) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use + " -n NAME...", Short: short, Example: example, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			names := append(o.names, args...)
			if o.all = len(names) == 0; o.all {
				names = rollout.ServiceNames
			}
			if o.names, err = rollout.CheckServices(names); err != nil {
				return usageError{err}
			}
			return run(cmd.Context(), cmd)
		},
	}
	cmd.Flags().StringArrayVarP(&o.names, "service-name", "n", nil, "`name` of a service, and those after it; all without it")
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", kubeconfigHelp)
	return cmd
}

func (o *serviceOptions) waits(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait until the services are as they shall be")
}

// connect reaches the cluster; what happens is shown on standard error, a line for each service.
func (o *serviceOptions) connect() (services *rollout.Services, done func(), err error) {
	services, err = connectKubernetes(o.kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	live, current := term.NewLive(o.streams.Err), ""
	services.Warn = func(text string) {
		live.End()
		fmt.Fprintln(o.streams.Err, "warning: "+text)
	}
	services.Note = func(service, state string) {
		if service != current {
			live.End()
			current = service
		}
		live.Set(service + ": " + state)
	}
	return services, live.End, nil
}

func (o *serviceOptions) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("time is up after %s (--timeout)", o.timeout))
}

func newServiceStart(s *Streams) *cobra.Command {
	o := &serviceOptions{streams: s}
	cmd := o.command("start", "Start services and wait until they serve", "  paictl service start -n cluster-configuration storage-manager",
		func(ctx context.Context, cmd *cobra.Command) error { return o.start(ctx, cmd) })
	o.waits(cmd)
	return cmd
}

func newServiceRefresh(s *Streams) *cobra.Command {
	o := &serviceOptions{streams: s}
	cmd := o.command("refresh", "Give running services the newest configuration", "  paictl service refresh -n storage-manager",
		func(ctx context.Context, cmd *cobra.Command) error { return o.refresh(ctx, cmd) })
	o.waits(cmd)
	return cmd
}

func (o *serviceOptions) start(ctx context.Context, cmd *cobra.Command) error {
	ctx, cancel := o.within(ctx)
	defer cancel()
	services, done, err := o.connect()
	if err != nil {
		return err
	}
	err = services.Start(ctx, o.names)
	done()
	if err != nil {
		return err
	}
	return o.print(ctx, cmd, services)
}

func (o *serviceOptions) refresh(ctx context.Context, cmd *cobra.Command) error {
	ctx, cancel := o.within(ctx)
	defer cancel()
	services, done, err := o.connect()
	if err != nil {
		return err
	}
	err = services.Refresh(ctx, o.names)
	done()
	if err != nil {
		return err
	}
	return o.print(ctx, cmd, services)
}

func newServiceStop(s *Streams) *cobra.Command {
	o := &serviceOptions{streams: s}
	cmd := o.command("stop", "Stop services; configuration and data stay", "  paictl service stop -n cluster-configuration storage-manager",
		func(ctx context.Context, cmd *cobra.Command) error {
			ctx, cancel := o.within(ctx)
			defer cancel()
			services, done, err := o.connect()
			if err != nil {
				return err
			}
			err = services.Stop(ctx, o.names)
			done()
			if err != nil {
				return err
			}
			return o.print(ctx, cmd, services)
		})
	o.waits(cmd)
	return cmd
}

func newServiceDelete(s *Streams) *cobra.Command {
	o := &serviceOptions{streams: s}
	cmd := o.command("delete", "Stop services and take away their rights, configuration and passwords; data stay", "  paictl service delete -n storage-manager --yes",
		func(ctx context.Context, cmd *cobra.Command) error {
			if o.all {
				return usageError{errors.New("name the services to delete: -n NAME")}
			}
			if !o.yes {
				if err := askToGoOn(o.streams, fmt.Sprintf("Delete %v?", o.names)); err != nil {
					return err
				}
			}
			ctx, cancel := o.within(ctx)
			defer cancel()
			services, done, err := o.connect()
			if err != nil {
				return err
			}
			err = services.Delete(ctx, o.names)
			done()
			if err != nil {
				return err
			}
			return printResult(s, cmd, map[string]any{"deleted": o.names}, noTable)
		})
	o.waits(cmd)
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func newServiceStatus(s *Streams) *cobra.Command {
	o := &serviceOptions{streams: s}
	return o.command("status", "Show how services are, and why one is not well", "  paictl service status",
		func(ctx context.Context, cmd *cobra.Command) error {
			services, _, err := o.connect()
			if err != nil {
				return err
			}
			return o.print(ctx, cmd, services)
		})
}

// print shows the services as they are now.
func (o *serviceOptions) print(ctx context.Context, cmd *cobra.Command, services *rollout.Services) error {
	list, err := services.Status(ctx, o.names)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"services": list}, func() error {
		var rows [][]string
		for _, status := range list {
			rows = append(rows, []string{status.Service, status.State, strconv.Itoa(status.Ready) + "/" + strconv.Itoa(status.Wanted), status.Where(), status.Reason})
		}
		return term.Table(o.streams.Out, []string{"SERVICE", "STATE", "READY", "ON", "REASON"}, rows)
	})
}

func newServiceLogs(s *Streams) *cobra.Command {
	o := &serviceOptions{streams: s}
	cmd := o.command("logs", "Show what services have said", "  paictl service logs -n storage-manager --follow",
		func(ctx context.Context, cmd *cobra.Command) error { return o.logs(ctx, cmd) })
	cmd.Long = `Show what services have said. With --output json the document has "lines", each with "service", "node" and "line"; with
--follow it is JSON Lines: such a document for each line as it comes.`
	cmd.Flags().BoolVarP(&o.follow, "follow", "f", false, "go on as they speak")
	cmd.Flags().Int64Var(&o.tail, "tail", -1, "only so many lines of each pod")
	return cmd
}

// serviceLine is a line that a service said on a node.
type serviceLine struct {
	Service string `json:"service"`
	Node    string `json:"node"`
	Line    string `json:"line"`
}

func (o *serviceOptions) logs(ctx context.Context, cmd *cobra.Command) error {
	format := outputFormat(cmd)
	if o.follow && format == "yaml" {
		return usageError{errors.New("--follow --output yaml: choose json, which prints a document for each line")}
	}
	services, _, err := o.connect()
	if err != nil {
		return err
	}
	o.streams.lines = o.follow
	said := []serviceLine{}
	var faults []error
	for _, name := range o.names {
		if name == rollout.ClusterConfiguration {
			continue // nothing of it runs
		}
		out := o.streams.Out
		lines := &lineWriter{emit: func(text string) error {
			node, line, _ := strings.Cut(text, " | ")
			if o.follow {
				return printLine(o.streams, serviceLine{name, node, line})
			}
			said = append(said, serviceLine{name, node, line})
			return nil
		}}
		if format != "table" {
			out = lines
		}
		faults = append(faults, services.Logs(ctx, name, o.follow, o.tail, out), lines.end())
	}
	if !o.follow {
		faults = append(faults, printResult(o.streams, cmd, map[string]any{"lines": said}, noTable))
	}
	return errors.Join(faults...)
}
