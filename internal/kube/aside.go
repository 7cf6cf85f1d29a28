package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
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

// keepPlace sets a job aside that cannot mount its storages, and has one go on that was. What another server, or a fault, left half done it does to
// the end.
func (c *Cluster) keepPlace(ctx context.Context, a attempt) error {
	now := c.now()
	if a.aside != nil {
		if a.goesOn(*a.aside) || !now.Before(a.aside.Until) || c.mended(a.aside.Failing) {
			c.log.Info("a job that was set aside goes on", "job", a.id.String(), "times", a.aside.Times)
			return c.takeUp(ctx, a)
		}
		return c.putAside(ctx, a, *a.aside)
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
	return c.putAside(ctx, a, aside)
}

// goesOn tells whether a part of a job that is set aside goes on already, or has started before it could be set aside.
func (a attempt) goesOn(aside specs.SetAside) bool {
	for _, rj := range a.roles {
		if !rj.suspended && rj.aside != nil && rj.aside.Since.Equal(aside.Since) {
			return true
		}
	}
	return slices.ContainsFunc(a.pods, func(p taskPod) bool { return !p.started.IsZero() })
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

// mended tells whether workers find storages well that they had found at fault, each of them at least one, and none finds one at fault.
func (c *Cluster) mended(failing []pai.StorageName) bool {
	return len(failing) > 0 && !slices.ContainsFunc(failing, func(s pai.StorageName) bool { return len(c.failures(s)) > 0 || !c.foundWell(s) })
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

// putAside has the Jobs of all task roles make no tasks, and says why on them. It looks at the tasks anew, not at what is remembered of them: one
// that has just started is not ended.
func (c *Cluster) putAside(ctx context.Context, a attempt, aside specs.SetAside) error {
	jobs := map[string]*batchv1.Job{}
	for _, rj := range a.roles {
		if rj.suspended {
			continue
		}
		j, err := c.client.BatchV1().Jobs(c.namespace).Get(ctx, rj.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && (string(j.UID) != rj.uid || j.Annotations[specs.StoppedAnnotation] != "") {
			return nil // the job is another one now, or ends
		}
		if err != nil {
			return fmt.Errorf("task role %s of job %s: %w", rj.role, a.id, err)
		}
		jobs[rj.name] = j
	}
	if len(jobs) == 0 {
		return nil
	}
	if started, err := c.startedNow(ctx, a); err != nil || started {
		return err
	}
	note := map[string]string{specs.AsideAnnotation: aside.Text()}
	var errs []error
	for _, j := range jobs {
		errs = append(errs, c.setSuspend(ctx, a, j, true, note))
	}
	return errors.Join(errs...)
}

// startedNow tells whether a task of the attempt has started, by what Kubernetes says now.
func (c *Cluster) startedNow(ctx context.Context, a attempt) (bool, error) {
	list, err := c.client.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: specs.JobLabel + "=" + specs.Key(a.id)})
	if err != nil {
		return false, fmt.Errorf("tasks of job %s: %w", a.id, err)
	}
	return slices.ContainsFunc(list.Items, func(p corev1.Pod) bool {
		t, err := parsePod(&p)
		return err == nil && t.attempt == a.number && (t.state != pai.JobWaiting || !t.started.IsZero())
	}), nil
}

// takeUp has the Jobs of all task roles make tasks again.
func (c *Cluster) takeUp(ctx context.Context, a attempt) error {
	var errs []error
	for _, rj := range a.roles {
		if !rj.suspended {
			continue
		}
		j, err := c.client.BatchV1().Jobs(c.namespace).Get(ctx, rj.name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("task role %s of job %s: %w", rj.role, a.id, err))
		}
		if err != nil || string(j.UID) != rj.uid || j.Annotations[specs.StoppedAnnotation] != "" {
			continue
		}
		errs = append(errs, c.setSuspend(ctx, a, j, false, nil))
	}
	return errors.Join(errs...)
}

// setSuspend changes a Job as it was read. One that somebody else changes at the same time is left as he wants it: a job that was just stopped stays
// stopped, and whatever else he did, the keeper looks at it again.
func (c *Cluster) setSuspend(ctx context.Context, a attempt, j *batchv1.Job, suspend bool, notes map[string]string) error {
	meta := map[string]any{"resourceVersion": j.ResourceVersion}
	if notes != nil {
		meta["annotations"] = notes
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta, "spec": map[string]any{"suspend": suspend}})
	if err != nil {
		return err
	}
	changed, err := c.client.BatchV1().Jobs(c.namespace).Patch(ctx, j.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	switch {
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		return nil
	case err != nil:
		return fmt.Errorf("task role %s of job %s: %w", j.Annotations[specs.RoleAnnotation], a.id, err)
	}
	c.jobs.await(ctx, j.Name, changed.ResourceVersion)
	return nil
}
