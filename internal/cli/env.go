package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/localcluster"
)

// localEnvironment is what a shell needs to work with a local cluster.
type localEnvironment struct {
	Path       []string `json:"path"` // directories that go before the others
	Kubeconfig string   `json:"kubeconfig"`
	Server     string   `json:"server"`
}

// environmentOf reads what a cluster was last started with. Whether it runs is not asked.
func environmentOf(cluster clusterFlags) (localEnvironment, string, error) {
	cfg, err := cluster.config()
	if err != nil {
		return localEnvironment{}, "", err
	}
	kept, err := localcluster.Load(cfg.StateDir)
	if err != nil {
		return localEnvironment{}, "", err
	}
	self, err := os.Executable()
	if err != nil {
		return localEnvironment{}, "", err
	}
	kubectl := kept.Kubectl()
	env := localEnvironment{Path: []string{filepath.Dir(self)}, Kubeconfig: kept.KubeconfigFile(), Server: kept.API()}
	if dir := filepath.Dir(kubectl); dir != "." && !slices.Contains(env.Path, dir) {
		env.Path = append(env.Path, dir)
	}
	return env, kubectl, nil
}

func newEnv(s *Streams) *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print what a shell needs to work with a local cluster",
		Long: `Print lines for a shell that bring paictl and kubectl into its PATH, and have both work with a local cluster. They hold
for the shell that reads them.`,
		Example: `  eval "$(bin/paictl env)"
  eval "$(bin/paictl env --name second)"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, _, err := environmentOf(cluster)
			if err != nil {
				return err
			}
			return printResult(s, cmd, env, func() error {
				_, err := fmt.Fprintf(s.Out, "export PATH=%s:\"$PATH\"\nexport KUBECONFIG=%s\nexport PAI_SERVER=%s\n",
					word(strings.Join(env.Path, ":")), word(env.Kubeconfig), word(env.Server))
				return err
			})
		},
	}
	cluster.add(cmd)
	return cmd
}

func newKubectl() *cobra.Command {
	var cluster clusterFlags
	cmd := &cobra.Command{
		Use:   "kubectl [--name NAME] ARGUMENT...",
		Short: "Run kubectl on a local cluster",
		Long: `Run the kubectl that was built with a local cluster, on that cluster. Flags before kubectl's own command are paictl's (--name,
--state-dir); everything from there on is kubectl's.`,
		Example: `  paictl kubectl get pods --all-namespaces
  paictl kubectl --name second logs -f my-pod`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			env, kubectl, err := environmentOf(cluster)
			if err != nil {
				return err
			}
			program, err := exec.LookPath(kubectl)
			if err != nil {
				return fmt.Errorf("kubectl: %w", err)
			}
			environ := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KUBECONFIG=") })
			return syscall.Exec(program, append([]string{"kubectl"}, args...), append(environ, "KUBECONFIG="+env.Kubeconfig))
		},
	}
	cmd.Flags().SetInterspersed(false)
	cluster.add(cmd)
	return cmd
}
