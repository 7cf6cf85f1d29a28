package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// A task that cannot mount its storages holds the processors of its worker all the same. After [Options.PlacePatience] the whole job is set aside:
// its Jobs are suspended, so that its tasks give back what they hold, and resumed after a pause that grows, or as soon as workers find the storages
// well. A job of which a task has started is left alone: that would lose its work.

// longestAside is how long a job is set aside at most, unless the patience is longer.
const longestAside = time.Hour

// keepPlace sets a job aside that cannot mount its storages, and has one go on that was.
func (c *Cluster) keepPlace(ctx context.Context, a attempt) error {
	now := c.now()
	if a.aside != nil {
		if now.Before(a.aside.Until) && !c.mended(a.aside.Failing) {
			return nil
		}
		c.log.Info("a job that was set aside goes on", "job", a.id.String(), "times", a.aside.Times)
		return c.suspendRoles(ctx, a, false, nil)
	}
	if c.patience <= 0 || !a.made || !a.waitsOnWorker(now.Add(-c.patience)) {
		return nil
	}
	_, findings := c.examine(a)
	if len(findings) == 0 || findings[0].Who == pai.FixedByWaiting || !strings.HasPrefix(findings[0].Code, "STO-") {
		return nil
	}
	aside := c.setAside(a, findings[0], now)
	c.log.Info("a job that cannot mount its storages is set aside", "job", a.id.String(), "until", aside.Until, "code", aside.Finding.Code)
	return c.suspendRoles(ctx, a, true, &aside)
}

// setAside decides for how long.
func (c *Cluster) setAside(a attempt, why pai.Finding, now time.Time) specs.SetAside {
	s := specs.SetAside{Since: now.Truncate(time.Second), Times: 1, Finding: why}
	s.Finding.Tasks, s.Finding.HeldBy = nil, nil
	for _, rj := range a.roles {
		if rj.aside != nil {
			s.Times = max(s.Times, rj.aside.Times+1)
		}
	}
	pause := c.patience
	for range s.Times - 1 {
		pause = min(2*pause, max(c.patience, longestAside))
	}
	s.Until = s.Since.Add(pause)
	for _, m := range a.mounts {
		if len(c.failures(m.Storage)) > 0 {
			s.Failing = append(s.Failing, m.Storage)
		}
	}
	return s
}

// mended tells whether the workers find storages well that they had found at fault.
func (c *Cluster) mended(failing []pai.StorageName) bool {
	return len(failing) > 0 && !slices.ContainsFunc(failing, func(s pai.StorageName) bool { return len(c.failures(s)) > 0 })
}

// waitsOnWorker tells whether a task has a worker since before a moment, and none has started.
func (a attempt) waitsOnWorker(before time.Time) bool {
	waits := false
	for _, p := range a.pods {
		if p.state != pai.JobWaiting || !p.started.IsZero() {
			return false
		}
		waits = waits || p.startsSlowly() && p.facts.Bound.Before(before)
	}
	return waits
}

// suspendRoles has the Jobs of all task roles make no tasks, or make them again; aside is kept with them, unless it is nil. A Job that somebody
// else changes at the same time is left as he wants it: a job that was just stopped stays stopped.
func (c *Cluster) suspendRoles(ctx context.Context, a attempt, suspend bool, aside *specs.SetAside) error {
	var errs []error
	for _, rj := range a.roles {
		if err := c.suspendRole(ctx, rj.name, suspend, aside); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			errs = append(errs, fmt.Errorf("task role %s of job %s: %w", rj.role, a.id, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Cluster) suspendRole(ctx context.Context, name string, suspend bool, aside *specs.SetAside) error {
	jobs := c.client.BatchV1().Jobs(c.namespace)
	now, err := jobs.Get(ctx, name, metav1.GetOptions{})
	if err != nil || now.Annotations[specs.StoppedAnnotation] != "" {
		return err
	}
	meta := map[string]any{"resourceVersion": now.ResourceVersion}
	if aside != nil {
		meta["annotations"] = map[string]string{specs.AsideAnnotation: aside.Text()}
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta, "spec": map[string]any{"suspend": suspend}})
	if err != nil {
		return err
	}
	changed, err := jobs.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err == nil {
		c.jobs.await(ctx, name, changed.ResourceVersion)
	}
	return err
}
