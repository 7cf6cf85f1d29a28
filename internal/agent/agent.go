// Package agent is the node agent: on each worker it installs the drivers that mount storages, finds out what the worker can mount, and mounts
// each storage that a group holds to see whether it does.
//
// Use it from cmd/node-agent alone. Its rules:
//
//   - It tells what it found in two ways: labels of its node, by which jobs find workers, and one report with the details (package
//     storagecheck). It writes when something changed, else every few minutes.
//   - Nothing that hangs holds up anything else: whatever reaches a file server is done by processes of package mount, with a deadline, and
//     directories of the machine are looked at by children of the agent.
//   - What is mounted belongs to the machine: the agent's end changes nothing about it.
//   - Secrets of orders stay in memory, and are in no message.
package agent

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/pai-storage/pai-storage/internal/storagecheck"
)

// agent is one worker's.
type agent struct {
	node    string
	client  kubernetes.Interface
	machine *machine
	lookout *lookout
	csi     *csiNode
	drivers *drivers
	served  *servedMounts
	log     *slog.Logger
	every   time.Duration // between two looks at the machine
	install func() map[string]error

	board     board
	checker   *checker
	publisher *publisher
	vitals    *vitals
}

// report is what is known now.
func (a *agent) report() storagecheck.Report {
	return storagecheck.Report{Node: a.node, Time: time.Now().UTC(), Facts: a.board.getFacts(), Results: a.checker.results(), Mounts: a.board.getMounts(), Faults: a.board.getFaults()}
}

// registration is how long the first report waits for the drivers of the agent itself: without them the worker would seem to lack them.
const registration = 15 * time.Second

// run works until ctx ends.
func (a *agent) run(ctx context.Context) error {
	for what, err := range a.install() {
		a.note(what, err)
	}
	if facts, err := a.lookout.facts(ctx); err == nil && !facts.FUSE && facts.Modules["fuse"] != moduleAbsent {
		a.note("fuse", a.machine.loadFUSE(ctx))
	}
	defer a.drivers.stop()
	a.drivers.decide(ctx, a.note)
	first, cancel := context.WithTimeout(ctx, registration)
	a.csi.await(first, a.drivers.names())
	cancel()
	earlier := a.publisher.earlier(ctx)
	a.checker.remember(earlier.Results)
	a.board.setFacts(earlier.Facts) // until the machine was looked at
	a.observe(ctx)

	done := make(chan error, 1)
	go func() { done <- watchOrders(ctx, a.client, a.node, a.log, a.checker.set) }()
	go a.checker.run(ctx)
	go a.publisher.run(ctx)
	tick := time.NewTicker(a.every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			a.drivers.decide(ctx, a.note)
			a.observe(ctx)
		}
	}
}

// observe looks at the machine, and has checked again what may have changed by that.
func (a *agent) observe(ctx context.Context) {
	before := a.board.getFacts()
	facts, err := a.lookout.facts(ctx)
	a.note("facts", err)
	if err != nil {
		facts = before // it counts on
	}
	facts.CSI, err = a.csi.registered(ctx)
	a.note("csi", err)
	facts.Own = a.drivers.names()
	if facts.CSI == nil {
		facts.CSI = []string{}
	}
	a.board.setFacts(facts)
	a.checker.recheck(func(o storagecheck.Order) bool { return affected(o, before, facts) })
	mounts, err := a.served.list(ctx)
	a.note("mounts", err)
	if err == nil {
		a.board.setMounts(mounts)
	}
	a.vitals.beat(time.Now())
	a.publisher.touch()
}

// note keeps what went wrong, and says it once.
func (a *agent) note(what string, err error) {
	switch news := a.board.fault(what, err); {
	case err != nil && news:
		a.log.Warn(what, "error", err.Error())
	case news:
		a.log.Info(what + ": well again")
	}
}
