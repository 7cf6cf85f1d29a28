// Package localcluster runs a whole Kubernetes cluster on one machine: the control plane as processes,
// the workers as virtual machines with a Linux kernel of their own, an NFS server on the first worker,
// and the project's services.
//
// It has two halves. [Up], [Down] and [GetStatus] work for the command line: they check the machine,
// build what is missing, and start or stop the supervisor. [Supervise] is the other half: one process
// that is the first of a PID, network and mount namespace and keeps everything else running in it. So
// there is one thing to stop, and the kernel removes whatever it had made (processes, bridge, taps,
// mounts) even when it dies by kill -9.
//
// Both halves are lists of named steps, each with a time limit; the undo of the second list is the end of
// the supervisor. The halves talk over a Unix socket in the state directory, where everything else of a
// cluster lies, too.
//
// With a kubeconfig of an existing cluster there are no workers and no namespaces, and no root is needed:
// the supervisor then runs the REST server alone.
package localcluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reporter shows people how a list of steps goes on.
type Reporter interface {
	Begin(step string)
	Note(step, text string)
	Done(step, text string)
	Failed(step string, err error)
}

// step is one thing to do, in order.
type step struct {
	name  string
	limit time.Duration
	// run does it and returns when it is ready: the result is a word for people.
	run func(ctx context.Context, note func(string)) (result string, err error)
	// undo removes what run made, when a later step fails. Nil where there is nothing to undo.
	undo func()
}

// errLimit is the cause of a step's end when its time is over.
var errLimit = errors.New("time is up")

// runSteps does the steps in order. When one fails, the ones before it are undone, the last first.
func runSteps(ctx context.Context, steps []step, r Reporter) error {
	for i, s := range steps {
		r.Begin(s.name)
		result, err := s.within(ctx, func(text string) { r.Note(s.name, text) })
		if err == nil {
			r.Done(s.name, result)
			continue
		}
		r.Failed(s.name, err)
		for _, done := range reversed(steps[:i+1]) {
			if done.undo != nil {
				done.undo()
			}
		}
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (s step) within(ctx context.Context, note func(string)) (string, error) {
	limited, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("%w after %s", errLimit, s.limit))
	defer cancel()
	result, err := s.run(limited, note)
	if err != nil && ctx.Err() == nil && limited.Err() != nil && !errors.Is(err, errLimit) {
		err = fmt.Errorf("%w: %w", context.Cause(limited), err)
	}
	return result, err
}

func reversed(steps []step) []step {
	list := make([]step, 0, len(steps))
	for i := len(steps) - 1; i >= 0; i-- {
		list = append(list, steps[i])
	}
	return list
}
