package rollout

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
)

// copyLogs copies the logs of pods side by side, each line with its node.
func copyLogs(ctx context.Context, pods []corev1.Pod, out io.Writer, open func(context.Context, string) (io.ReadCloser, error)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range pods {
		group.Go(func() error {
			stream, err := open(ctx, p.Name)
			if err != nil {
				return fmt.Errorf("log of %s: %w", p.Name, err)
			}
			defer stream.Close()
			lines := bufio.NewReader(stream)
			for {
				line, err := lines.ReadString('\n')
				if line != "" {
					mu.Lock()
					fmt.Fprintf(out, "%s | %s", p.Spec.NodeName, line)
					mu.Unlock()
				}
				switch {
				case err == io.EOF:
					return nil
				case err != nil:
					return fmt.Errorf("log of %s: %w", p.Name, err)
				}
			}
		})
	}
	return group.Wait()
}
