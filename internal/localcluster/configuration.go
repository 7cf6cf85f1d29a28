package localcluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pai-storage/pai-storage/internal/rollout"
)

//go:embed configuration/config.yaml
var initialConfig string

//go:embed configuration/services-configuration.yaml
var initialServices string

// layout describes the workers as an administrator would.
func layout(workers []Worker) string {
	var b strings.Builder
	b.WriteString(`# The machines of this cluster and what they are for.
machine-sku:
  GENERIC-WORKER:
    mem: 2
    cpu:
      vcore: 2

machine-list:
`)
	for _, w := range workers {
		fmt.Fprintf(&b, `  - hostname: %[1]s
    nodename: %[1]s
    hostip: %[2]s
    machine-type: GENERIC-WORKER
    pai-worker: "true"
`, w.Name, w.Address)
	}
	return b.String()
}

// configuration gives a new cluster its configuration, and the workers their roles. One that is there is somebody's and stays.
func (s *supervisor) configuration(ctx context.Context, note func(string)) (string, error) {
	files := map[string][]byte{"config.yaml": []byte(initialConfig), "layout.yaml": []byte(layout(s.cfg.workers())), "services-configuration.yaml": []byte(initialServices)}
	services, err := rollout.NewServices(s.rest)
	if err != nil {
		return "", err
	}
	note("pushing the first one")
	text := "the first one is there: paictl config pull -o DIRECTORY"
	switch err := services.PushFirst(ctx, "local", files); {
	case errors.Is(err, rollout.ErrThere):
		text = "as it was: paictl config pull -o DIRECTORY"
	case err != nil:
		return "", err
	}
	return text, services.Start(ctx, []string{rollout.ClusterConfiguration})
}

// storageServers waits for those that the cluster had before it was stopped.
func (s *supervisor) storageServers(ctx context.Context, note func(string)) (string, error) {
	services, err := rollout.NewServices(s.rest)
	if err != nil {
		return "", err
	}
	services.Note = func(_, state string) { note(state) }
	ctx, cancel := context.WithTimeoutCause(ctx, storageLimit, fmt.Errorf("%w after %s", errLimit, storageLimit))
	defer cancel()
	switch servers, err := services.AwaitStorageServers(ctx); {
	case err != nil:
		return "not all of them serve: " + err.Error() + "; see: paictl service status", nil
	case servers == 0:
		return "none yet; see: paictl service --help", nil
	default:
		return fmt.Sprintf("serving: %d", servers), nil
	}
}

// storageLimit is how long a cluster waits for its storage servers; it is one without them as well.
const storageLimit = 5 * time.Minute

// nodeAgents has every worker tell what it can mount. A cluster without them mounts what workers can mount by themselves, so that is not its end.
func (s *supervisor) nodeAgents(ctx context.Context, note func(string)) (string, error) {
	services, err := rollout.NewServices(s.rest)
	if err != nil {
		return "", err
	}
	services.Note = func(_, state string) { note(state) }
	ctx, cancel := context.WithTimeoutCause(ctx, agentLimit, fmt.Errorf("%w after %s", errLimit, agentLimit))
	defer cancel()
	if err := services.Start(ctx, []string{rollout.NodeAgent}); err != nil {
		return "not on all workers: " + err.Error() + "; see: paictl service status", nil
	}
	return fmt.Sprintf("%d", s.cfg.Workers), nil
}

// agentLimit is how long a cluster waits for its node agents; it is one without them as well.
const agentLimit = 5 * time.Minute
