package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/clusterconfig"
	"github.com/pai-storage/pai-storage/internal/rollout"
	"github.com/pai-storage/pai-storage/internal/term"
)

// configOptions are what the commands about the cluster's configuration take.
type configOptions struct {
	streams    *Streams
	kubeconfig string
	directory  string
	mode       string
	clusterID  string
	force      bool
	origin     bool
}

func newConfig(s *Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Move the cluster's configuration: its machines, and what its services are told",
		Long: `Move the cluster's configuration: layout.yaml has its machines, services-configuration.yaml what its services are told.

It is kept in the cluster, in the ConfigMap pai-configuration; passwords are in a Secret of the same name. Pull it, edit the files, push them,
and start or refresh the services (paictl service).`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newConfigPull(s), newConfigPush(s), newConfigGetID(s), newConfigValidate(s), newConfigDiff(s), newConfigShow(s))
	return cmd
}

func (o *configOptions) cluster(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", kubeconfigHelp)
}

func (o *configOptions) from(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.directory, "cluster-configuration", "p", "", "`directory` with the files")
	_ = cmd.MarkFlagRequired("cluster-configuration")
}

func newConfigPull(s *Streams) *cobra.Command {
	o := &configOptions{streams: s}
	cmd := &cobra.Command{
		Use: "pull -o DIRECTORY", Short: "Write the cluster's configuration into a directory", Args: cobra.NoArgs,
		Example: "  paictl config pull -o /cluster-configuration",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.pull(cmd.Context(), cmd) },
	}
	// -o is where to, as in the original; the format of the output has its long name only.
	cmd.Flags().StringVarP(&o.directory, "output-directory", "o", "", "`directory` to write into")
	cmd.Flags().String("output", "table", "how to print the result: table, json or yaml")
	_ = cmd.MarkFlagRequired("output-directory")
	o.cluster(cmd)
	cmd.Flags().BoolVar(&o.force, "force", false, "overwrite changes that were not pushed")
	return cmd
}

func (o *configOptions) pull(ctx context.Context, cmd *cobra.Command) error {
	services, err := connectKubernetes(o.kubeconfig)
	if err != nil {
		return err
	}
	snapshot, err := services.Pull(ctx)
	if err != nil {
		return err
	}
	id, err := services.ClusterID(ctx)
	if err != nil {
		return err
	}
	if err := rollout.WriteDirectory(o.directory, snapshot, id, o.force); err != nil {
		return err
	}
	names := rollout.Names(snapshot.Files)
	return printResult(o.streams, cmd, map[string]any{"directory": o.directory, "files": names, "clusterId": id, "revision": snapshot.Revision}, func() error {
		_, err := fmt.Fprintf(o.streams.Out, "%s: %s\n", o.directory, strings.Join(names, ", "))
		return err
	})
}

func newConfigPush(s *Streams) *cobra.Command {
	o := &configOptions{streams: s}
	cmd := &cobra.Command{
		Use: "push -p DIRECTORY", Short: "Check the files of a directory and make them the cluster's configuration", Args: cobra.NoArgs,
		Long: `Check the files of a directory and make them the cluster's configuration. What others pushed since the files were pulled is never dropped
without --force. Services use the new configuration when they are started or refreshed.`,
		Example: "  paictl config push -p /cluster-configuration -m service",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.push(cmd.Context(), cmd) },
	}
	o.from(cmd)
	o.cluster(cmd)
	cmd.Flags().StringVarP(&o.mode, "push-mode", "m", "all", "which files: all, or service for "+strings.Join(serviceFiles, ", "))
	cmd.Flags().StringVar(&o.clusterID, "cluster-id", "", "the cluster's `id`, where nobody can be asked for it")
	cmd.Flags().BoolVar(&o.force, "force", false, "drop what others changed since")
	return cmd
}

// serviceFiles are what "-m service" pushes, as in the original.
var serviceFiles = []string{clusterconfig.ConfigFile, clusterconfig.LayoutFile, clusterconfig.ServicesFile}

func (o *configOptions) push(ctx context.Context, cmd *cobra.Command) error {
	if o.mode != "all" && o.mode != "service" {
		return usageError{fmt.Errorf("-m %q: choose all or service", o.mode)}
	}
	services, err := connectKubernetes(o.kubeconfig)
	if err != nil {
		return err
	}
	services.Warn = func(text string) { fmt.Fprintln(o.streams.Err, "warning: "+text) }
	files, base, err := rollout.ReadDirectory(o.directory)
	if err != nil {
		return err
	}
	now, err := services.Pull(ctx)
	unknown, err := o.readable(cmd, err)
	if err != nil {
		return err
	}
	var behind []string // files that are not pushed, and are not as the cluster has them
	if o.mode == "service" {
		files, behind = onlyService(files, now.Files)
	} else if overtaken := overtaken(base.Behind, files, now.Files); len(overtaken) > 0 && !o.force {
		return rollout.ChangedError{Diff: overtaken}
	}
	if err := o.checkCluster(ctx, services, &base); err != nil {
		return err
	}
	revision, err := services.Push(ctx, files, base.Revision, o.force)
	if err != nil {
		return err
	}
	if err := services.SetClusterID(ctx, base.ClusterID); err != nil {
		return fmt.Errorf("pushed, but the cluster's id is not set: %w", err)
	}
	if err := rollout.NoteBase(o.directory, rollout.Base{ClusterID: base.ClusterID, Revision: revision, Behind: behind}, files); err != nil {
		return err
	}
	names, removed := rollout.Names(files), rollout.Removed(now.Files, files)
	if unknown {
		removed = nil
	}
	return printResult(o.streams, cmd, map[string]any{"files": names, "removed": removed, "revision": revision}, func() error {
		fmt.Fprintf(o.streams.Out, "pushed %s\n", strings.Join(names, ", "))
		if unknown {
			fmt.Fprintln(o.streams.Err, "warning: what the cluster had before could not be read: what was removed is not known")
		}
		if len(removed) > 0 {
			fmt.Fprintf(o.streams.Out, "removed %s\n", strings.Join(removed, ", "))
		}
		if len(behind) > 0 {
			fmt.Fprintf(o.streams.Err, "warning: %s here and in the cluster differ; that was not pushed\n", strings.Join(behind, ", "))
		}
		return nil
	})
}

// readable judges the error of reading the cluster's configuration before a push. Unknown tells that the push goes over what cannot be read, which takes
// all files and --force: those that "-m service" leaves alone would be dropped.
func (o *configOptions) readable(cmd *cobra.Command, err error) (unknown bool, fault error) {
	switch {
	case err == nil, errors.Is(err, rollout.ErrNoConfiguration):
		return false, nil
	case !o.force:
		return false, err
	case o.mode == "service":
		flags := targetFlags(cmd, "kubeconfig", "cluster-id")
		words := append([]string{"paictl config push -p", word(o.directory), "-m all --force"}, flags...)
		return false, hintedError{fmt.Errorf("the files that -m service leaves as they are in the cluster cannot be read: %w", err),
			[]string{"drop what is there for all files of the directory with: " + strings.Join(words, " ")}}
	}
	return true, nil
}

// onlyService is what a push of the services' files makes of the cluster's configuration: the rest stays as it is in the cluster. Behind are the other
// files that are not the same here.
func onlyService(here, cluster map[string][]byte) (files map[string][]byte, behind []string) {
	files = map[string][]byte{}
	for name, text := range here {
		if slices.Contains(serviceFiles, name) {
			files[name] = text
		} else if !bytes.Equal(cluster[name], text) {
			behind = append(behind, name)
		}
	}
	for name, text := range cluster {
		if slices.Contains(serviceFiles, name) {
			continue
		}
		files[name] = text
		if _, is := here[name]; !is {
			behind = append(behind, name)
		}
	}
	slices.Sort(behind)
	return files, behind
}

// overtaken shows the files that others may have changed before the last push of the services' files alone, and that are still not the same here.
func overtaken(behind []string, here, cluster map[string][]byte) string {
	was, is := map[string][]byte{}, map[string][]byte{}
	for _, name := range behind {
		if text, there := cluster[name]; there {
			was[name] = text
		}
		if text, there := here[name]; there {
			is[name] = text
		}
	}
	return rollout.Diff("cluster", was, "yours", is)
}

// checkCluster makes sure that a directory goes to the cluster that it is meant for: the one that it was pulled from, or the one whose id
// somebody gives. The id is in base then. Nothing is written.
func (o *configOptions) checkCluster(ctx context.Context, services *rollout.Services, base *rollout.Base) error {
	now, err := services.ClusterID(ctx)
	if err != nil {
		return err
	}
	id := firstOf(o.clusterID, base.ClusterID)
	if id == "" {
		if !term.Is(o.streams.In) {
			return usageError{errors.New("these files were not pulled from a cluster: say which one they are for with --cluster-id")}
		}
		fmt.Fprint(o.streams.Err, "Id of the cluster that these files are for: ")
		line, err := bufio.NewReader(o.streams.In).ReadString('\n')
		if err != nil {
			return err
		}
		id = strings.TrimSpace(line)
	}
	if now != "" && now != id {
		return fmt.Errorf("%w: its id is %s, and the files are for %s", rollout.ErrWrongCluster, now, id)
	}
	base.ClusterID = id
	return nil
}

func newConfigGetID(s *Streams) *cobra.Command {
	o := &configOptions{streams: s}
	cmd := &cobra.Command{
		Use: "get-id", Short: "Show the cluster's id", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			services, err := connectKubernetes(o.kubeconfig)
			if err != nil {
				return err
			}
			id, err := services.ClusterID(cmd.Context())
			if err != nil {
				return err
			}
			if id == "" {
				return notFoundError{errors.New("the cluster has no id yet: the first push gives it one")}
			}
			return printResult(s, cmd, map[string]any{"clusterId": id}, func() error {
				_, err := fmt.Fprintln(s.Out, id)
				return err
			})
		},
	}
	o.cluster(cmd)
	return cmd
}

func newConfigValidate(s *Streams) *cobra.Command {
	o := &configOptions{streams: s}
	cmd := &cobra.Command{
		Use: "validate -p DIRECTORY", Short: "Check the files of a directory, without a cluster", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, _, err := rollout.ReadDirectory(o.directory)
			if err != nil {
				return err
			}
			cfg, err := clusterconfig.Parse(files)
			var faults *clusterconfig.Faults
			if errors.As(err, &faults) && outputFormat(cmd) != "table" {
				if err := printResult(s, cmd, map[string]any{"faults": faults.List}, nil); err != nil {
					return err
				}
				return exitStatus(exitFailed)
			}
			if err != nil {
				return err
			}
			return printResult(s, cmd, map[string]any{"faults": []string{}, "machines": len(cfg.Machines)}, func() error {
				_, err := fmt.Fprintf(s.Out, "%s: no faults; machines: %d, of them storage servers: %d\n", o.directory, len(cfg.Machines), len(cfg.StorageServers()))
				return err
			})
		},
	}
	o.from(cmd)
	return cmd
}

func newConfigDiff(s *Streams) *cobra.Command {
	o := &configOptions{streams: s}
	cmd := &cobra.Command{
		Use: "diff -p DIRECTORY", Short: "Show how the files of a directory differ from the cluster's", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			services, err := connectKubernetes(o.kubeconfig)
			if err != nil {
				return err
			}
			files, _, err := rollout.ReadDirectory(o.directory)
			if err != nil {
				return err
			}
			now, err := services.Pull(cmd.Context())
			if err != nil && !errors.Is(err, rollout.ErrNoConfiguration) {
				return err
			}
			difference := rollout.Diff("cluster", now.Files, o.directory, files)
			return printResult(s, cmd, map[string]any{"diff": difference}, func() error {
				_, err := fmt.Fprint(s.Out, difference)
				return err
			})
		},
	}
	o.from(cmd)
	o.cluster(cmd)
	return cmd
}

func newConfigShow(s *Streams) *cobra.Command {
	o := &configOptions{streams: s}
	cmd := &cobra.Command{
		Use: "show", Short: "Show the values in effect, with the defaults and without passwords", Args: cobra.NoArgs,
		Example: "  paictl config show --origin",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.show(cmd.Context(), cmd) },
	}
	o.cluster(cmd)
	cmd.Flags().StringVarP(&o.directory, "cluster-configuration", "p", "", "`directory` with the files (default: those of the cluster)")
	cmd.Flags().BoolVar(&o.origin, "origin", false, "say where each value comes from")
	return cmd
}

func (o *configOptions) show(ctx context.Context, cmd *cobra.Command) error {
	var files map[string][]byte
	if o.directory != "" {
		var err error
		if files, _, err = rollout.ReadDirectory(o.directory); err != nil {
			return err
		}
	} else {
		services, err := connectKubernetes(o.kubeconfig)
		if err != nil {
			return err
		}
		snapshot, err := services.Pull(ctx)
		if err != nil {
			return err
		}
		files = snapshot.Files
	}
	cfg, err := clusterconfig.Parse(files)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"settings": cfg.Settings()}, func() error {
		head := []string{"SETTING", "VALUE"}
		if o.origin {
			head = append(head, "FROM")
		}
		var rows [][]string
		for _, setting := range cfg.Settings() {
			row := []string{setting.Path, setting.Value}
			if o.origin {
				row = append(row, setting.Origin)
			}
			rows = append(rows, row)
		}
		return term.Table(o.streams.Out, head, rows)
	})
}
