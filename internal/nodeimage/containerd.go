package nodeimage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pai-storage/pai-storage/internal/proc"
)

// importImages unpacks archives of container images into the root's containerd, with a containerd of our own that works on that directory:
// an emulated worker would need a minute for it at each start.
func (o Options) importImages(ctx context.Context, binDir, root string, archives ...string) error {
	run, err := os.MkdirTemp("", "pai-import-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	socket := filepath.Join(run, "containerd.sock")
	config := filepath.Join(run, "config.toml")
	const text = "version = 3\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	server := exec.Command(filepath.Join(binDir, "containerd"), "--config", config, "--root", filepath.Join(root, "var/lib/containerd"),
		"--state", filepath.Join(run, "state"), "--address", socket)
	server.Stdout, server.Stderr = log, log
	// Its mounts are its own.
	server.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case err := <-ended:
			return fmt.Errorf("containerd ended (%v)%s", err, proc.Tail(o.Log, 5))
		case <-ctx.Done():
			_ = server.Process.Kill()
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	var failed error
	for _, archive := range archives {
		if failed == nil {
			failed = o.run(ctx, filepath.Join(binDir, "ctr"), "--address", socket, "--namespace", "k8s.io", "images", "import", archive)
		}
		if err := os.Remove(archive); failed == nil {
			failed = err
		}
	}
	// It writes its database out when it is asked to end.
	_ = server.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(5 * time.Minute): // it hangs
		_ = server.Process.Kill()
		<-ended
	}
	return failed
}
