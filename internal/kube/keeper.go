package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// keeper brings objects in order after changes. Several servers may do it at once: what keep does is named and said so that doing it twice
// changes nothing.
type keeper struct {
	cluster *Cluster
	what    string                              // for the log
	keep    func(context.Context, string) error // for the object of a name, if there is one still
	names   func() []string                     // of all objects

	mu   sync.Mutex
	due  map[string]bool // names of objects; "" stands for all
	wake chan struct{}
}

func newKeeper(c *Cluster, what string, keep func(context.Context, string) error, names func() []string) *keeper {
	return &keeper{cluster: c, what: what, keep: keep, names: names, due: map[string]bool{}, wake: make(chan struct{}, 1)}
}

func (k *keeper) touchAll() { k.touch("") }

func (k *keeper) touch(name string) {
	k.mu.Lock()
	k.due[name] = true
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// keepPause collects changes, of which there are several at a time; keepRetry is how long what failed waits.
const (
	keepPause = 200 * time.Millisecond
	keepRetry = 5 * time.Second
)

// run looks after the objects until ctx ends.
func (k *keeper) run(ctx context.Context) {
	if k.cluster.WaitSynced(ctx) != nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(keepPause):
		}
		k.round(ctx)
	}
}

func (k *keeper) round(ctx context.Context) {
	k.mu.Lock()
	due := k.due
	k.due = map[string]bool{}
	k.mu.Unlock()
	if due[""] {
		delete(due, "")
		for _, name := range k.names() {
			due[name] = true
		}
	}
	for name := range due {
		if err := k.keep(ctx, name); err != nil && ctx.Err() == nil {
			k.cluster.log.Warn(k.what+" is not as it should be; trying again", "name", name, "cause", err.Error())
			time.AfterFunc(keepRetry, func() { k.touch(name) })
		}
	}
}

// keepJob does for a whole job what Kubernetes does for one Indexed Job: when one task role decides how a job ends, the others end, too; when
// a job fails that may be tried again, it is; and what a server began and did not finish is finished.
func (c *Cluster) keepJob(ctx context.Context, name string) error {
	r, ok := c.records.get(name)
	if !ok {
		return nil
	}
	a, err := c.attempt(r.id, -1)
	if err != nil {
		return nil // it is gone
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if a.held {
		return c.releaseJob(ctx, a, "")
	}
	state, decided := a.decided()
	switch {
	case !decided && a.stoppedByUser():
		return c.suspend(ctx, a, specs.StoppedByUser)
	case !decided:
		return c.keepPlace(ctx, a)
	}
	if err := c.suspend(ctx, a, specs.StoppedByEnd); err != nil {
		return err
	}
	if state != pai.JobFailed || a.number >= r.retries || a.stoppedByUser() || !a.ended() {
		return nil
	}
	return c.tryAgain(ctx, a)
}

// ended tells whether no task of the attempt is left that could still run.
func (a attempt) ended() bool {
	for _, p := range a.pods {
		if !p.state.Done() {
			return false
		}
	}
	return true
}

// tryAgain makes the next attempt at a job.
func (c *Cluster) tryAgain(ctx context.Context, a attempt) error {
	jobs := c.client.BatchV1().Jobs(c.namespace)
	var errs []error
	for _, role := range a.record.roles {
		before, err := jobs.Get(ctx, specs.RoleJobName(a.id, role.Name, a.number), metav1.GetOptions{})
		if err != nil {
			errs = append(errs, fmt.Errorf("read task role %s: %w", role.Name, err))
			continue
		}
		_, err = jobs.Create(ctx, specs.Again(before, a.id, a.number+1), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, fmt.Errorf("create task role %s again: %w", role.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("attempt %d at job %s: %w", a.number+1, a.id, err)
	}
	return nil
}
