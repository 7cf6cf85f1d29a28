package nodeimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The container images that every worker has without a registry.
const (
	pauseReference    = "pai.local/pause:1"
	busyboxReference  = "pai.local/busybox:1"
	userReference     = "pai.local/busybox-user:1" // busybox, run as a user who is not root
	taskInitReference = "pai.local/task-init:1"
)

// NodeAgentReference is the image of the node agent on a local cluster's workers.
const NodeAgentReference = "pai.local/node-agent:1"

// imagePrograms are the files of the images.
type imagePrograms struct {
	pause, busybox, taskInit string
	agent                    []string // the node agent, and what it installs on the machine
}

// writeImages writes all images into one archive, which containerd imports in one go.
func writeImages(target string, p imagePrograms) error {
	applets, err := exec.Command(p.busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("list of busybox's commands: %w", err)
	}
	shell := v1.Config{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin", "HOME=/root"}}
	user := shell
	user.User = "1000:1000"
	// The agent works in the machine's namespaces, with the machine's own programs; the shell is for people who look into the container.
	agent := map[string]string{"bin/busybox": p.busybox}
	for _, program := range p.agent {
		agent["bin/"+filepath.Base(program)] = program
	}
	images := map[name.Tag]v1.Image{}
	for _, x := range []struct {
		reference string
		program   map[string]string
		applets   []string
		config    v1.Config
	}{
		{pauseReference, map[string]string{"pause": p.pause}, nil, v1.Config{Entrypoint: []string{"/pause"}, User: "65535:65535"}},
		{busyboxReference, map[string]string{"bin/busybox": p.busybox}, strings.Fields(string(applets)), shell},
		{userReference, map[string]string{"bin/busybox": p.busybox}, strings.Fields(string(applets)), user},
		{taskInitReference, map[string]string{"task-init": p.taskInit}, nil, v1.Config{Entrypoint: []string{"/task-init"}}},
		{NodeAgentReference, agent, strings.Fields(string(applets)), v1.Config{Cmd: []string{"/bin/node-agent"}, Env: []string{"PATH=/bin"}}},
	} {
		layer, err := tarFiles(x.program, x.applets)
		if err != nil {
			return err
		}
		tag, err := name.NewTag(x.reference)
		if err != nil {
			return err
		}
		if images[tag], err = image(layer, x.config); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return tarball.MultiWriteToFile(target, images)
}

func image(layer []byte, config v1.Config) (v1.Image, error) {
	l, err := layerOf(layer)
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, err
	}
	return configured(img, config)
}

// tarFiles makes a layer: the files at their places, busybox's commands as links, and the few files
// and directories without which a shell complains.
func tarFiles(sources map[string]string, applets []string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	dirs := []tar.Header{{Name: "bin/", Mode: 0o755}, {Name: "etc/", Mode: 0o755}, {Name: "mnt/", Mode: 0o755}, {Name: "root/", Mode: 0o700}, {Name: "tmp/", Mode: 0o1777}}
	for _, h := range dirs {
		h.Typeflag = tar.TypeDir
		if err := w.WriteHeader(&h); err != nil {
			return nil, err
		}
	}
	texts := map[string][]byte{
		"etc/passwd": []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		"etc/group":  []byte("root:x:0:\nnogroup:x:65534:\n"),
	}
	for target, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			return nil, err
		}
		texts[target] = text
	}
	for target, text := range texts {
		mode := int64(0o644)
		if sources[target] != "" {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Name: target, Mode: mode, Size: int64(len(text))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
	for _, applet := range applets {
		if applet == "busybox" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), w.Close()
}
