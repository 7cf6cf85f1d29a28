package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// Simulate is the agent of a worker that there is not, for measuring what many agents ask of Kubernetes: it follows orders, decides when to
// check what, and publishes, as an agent does. In the machine's place facts say what there is, and look says how a check goes. It works until
// ctx ends.
func Simulate(ctx context.Context, client kubernetes.Interface, node string, facts storagecheck.Facts, look func(context.Context, storagecheck.Order) storagecheck.Result) error {
	log := slog.New(slog.DiscardHandler)
	checks := newChecker(defaultPace(), look)
	reports := newPublisher(client, node, log, func() storagecheck.Report {
		return storagecheck.Report{Node: node, Time: time.Now().UTC(), Facts: facts, Results: checks.results()}
	})
	checks.changed = reports.touch
	checks.random, reports.random = rand.Float64, rand.Float64
	checks.remember(reports.earlier(ctx).Results)
	go checks.run(ctx)
	go reports.run(ctx)
	return watchOrders(ctx, client, node, log, checks.set)
}
