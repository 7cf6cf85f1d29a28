package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pai-storage/pai-storage/internal/localcluster"
	"github.com/pai-storage/pai-storage/internal/rollout"
)

// kubeconfigHelp is the help of the flag --kubeconfig.
const kubeconfigHelp = "`file` with the way to the cluster (default $KUBECONFIG, else ~/.kube/config, else the local cluster's)"

// errNoWay is that nothing says where the cluster is.
var errNoWay = errors.New("which cluster? There is no --kubeconfig FILE, no $KUBECONFIG, no ~/.kube/config, and no local cluster (paictl up)")

// connectKubernetes reaches the cluster of a kubeconfig; "" is $KUBECONFIG, else ~/.kube/config, else the local cluster's.
func connectKubernetes(kubeconfig string) (*rollout.Services, error) {
	file, err := kubeconfigFile(kubeconfig)
	if err != nil {
		return nil, err
	}
	services, err := rollout.Connect(file)
	if err != nil {
		return nil, err
	}
	return services, services.AnswerWithin(answerLimit)
}

// answerLimit is how long the API server may take for an answer.
const answerLimit = 30 * time.Second

func kubeconfigFile(given string) (string, error) {
	if given != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return given, nil
	}
	if files := os.Getenv("KUBECONFIG"); files != "" {
		for _, file := range filepath.SplitList(files) {
			if _, err := os.Stat(file); err == nil {
				return "", nil // all of them together, as kubectl reads them
			}
		}
		return "", fmt.Errorf("$KUBECONFIG is %s, and there is no such file", files)
	}
	if home, err := os.UserHomeDir(); err == nil {
		if _, err := os.Stat(filepath.Join(home, ".kube", "config")); err == nil {
			return "", nil
		}
	}
	cfg, err := (&clusterFlags{name: localcluster.DefaultName}).config()
	if err != nil {
		return "", err
	}
	kept, err := localcluster.Load(cfg.StateDir)
	if err != nil {
		return "", errors.Join(errNoWay, ignoreAbsent(err))
	}
	if _, err := os.Stat(kept.KubeconfigFile()); errors.Is(err, fs.ErrNotExist) {
		return "", errNoWay
	}
	return kept.KubeconfigFile(), nil
}

// ignoreAbsent is err, unless it only says that there is no cluster.
func ignoreAbsent(err error) error {
	if errors.Is(err, localcluster.ErrAbsent) {
		return nil
	}
	return err
}
