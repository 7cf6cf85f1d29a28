package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pai-storage/pai-storage/internal/volume"
)

// drivers are the CSI drivers that the agent itself is: its own one always, and Azure File's where nobody else is that.
type drivers struct {
	start  func(name string) (stop func(), err error)
	others func(ctx context.Context) ([]string, error) // names of drivers that are registered by others on this machine

	announce func(ctx context.Context, name string) error // has the kubelet register another's driver anew
	settle   time.Duration                                // how long another's driver has to be away before it is replaced: it may only be restarted

	running map[string]func()
	seen    map[string]time.Time // others' drivers
}

// decide starts and stops drivers as the machine is now.
func (d *drivers) decide(ctx context.Context, note func(what string, err error)) {
	others, err := d.others(ctx)
	note("csi registry", err)
	if err != nil {
		return // who is there is not known: everything stays as it is
	}
	if d.running == nil {
		d.running, d.seen = map[string]func(){}, map[string]time.Time{}
	}
	for _, name := range others {
		d.seen[name] = time.Now()
	}
	for _, name := range []string{volume.CSIDriver, volume.AzureFileDriver} {
		stop, runs := d.running[name]
		switch taken := slices.Contains(others, name); {
		case taken && name == volume.CSIDriver:
			note("csi driver "+name, fmt.Errorf("another program is registered as CSI driver %s on this node: remove it", name))
		case taken && runs:
			stop()
			delete(d.running, name)
			note("csi driver "+name, d.announce(ctx, name))
		case !taken && !runs && time.Since(d.seen[name]) > d.settle:
			stop, err := d.start(name)
			if err != nil {
				err = fmt.Errorf("start CSI driver %s: %w", name, err)
			} else {
				d.running[name] = stop
			}
			note("csi driver "+name, err)
		}
	}
}

// names of the drivers that run.
func (d *drivers) names() []string {
	var list []string
	for name := range d.running {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// stop ends them. What they have mounted stays.
func (d *drivers) stop() {
	for _, stop := range d.running {
		stop()
	}
	d.running = nil
}
