package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// csiNode follows which CSI drivers the kubelet of a node has registered. The kubelet's word is the CSINode object; it is asked for it when
// the sockets of the kubelet's registry changed, and every few minutes.
type csiNode struct {
	client kubernetes.Interface
	node   string
	dir    string        // the kubelet's registry
	every  time.Duration // between two questions when nothing changes

	drivers []string
	sockets string // the registry as it was
	asks    int    // questions to come, because the kubelet needs its time
	asked   time.Time
}

// asksAfterChange: the kubelet registers a driver within a second or two, or tries again later.
const asksAfterChange = 6

// registered lists the drivers. When the API server does not answer, those that were known are told with the error.
func (c *csiNode) registered(ctx context.Context) ([]string, error) {
	sockets, err := sockets(c.dir)
	if err != nil {
		return c.drivers, err
	}
	if now := strings.Join(sockets, "\n"); now != c.sockets {
		c.sockets, c.asks = now, asksAfterChange
	}
	if c.asks == 0 && time.Since(c.asked) < c.every {
		return c.drivers, nil
	}
	if err := c.ask(ctx); err != nil {
		return c.drivers, err
	}
	c.asks = max(0, c.asks-1)
	return c.drivers, nil
}

// ask reads the CSINode object.
func (c *csiNode) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	object, err := c.client.StorageV1().CSINodes().Get(ctx, c.node, metav1.GetOptions{ResourceVersion: "0"})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read CSINode %s: %w", c.node, err)
	}
	c.asked = time.Now()
	drivers := []string{}
	if err == nil {
		for _, d := range object.Spec.Drivers {
			drivers = append(drivers, d.Name)
		}
	}
	slices.Sort(drivers)
	c.drivers = drivers
	return nil
}

// await asks until drivers are registered, or ctx ends.
func (c *csiNode) await(ctx context.Context, drivers []string) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := c.ask(ctx); err == nil && !slices.ContainsFunc(drivers, func(d string) bool { return !slices.Contains(c.drivers, d) }) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sockets lists the sockets of a directory, each with what changes when it is made anew.
func sockets(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			continue
		}
		list = append(list, e.Name()+" "+info.ModTime().Format(time.RFC3339Nano))
	}
	return list, nil
}
