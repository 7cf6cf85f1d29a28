package localcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"

	"github.com/google/renameio/v2"

	"github.com/pai-storage/pai-storage/internal/buildcache"
	"github.com/pai-storage/pai-storage/internal/plural"
	"github.com/pai-storage/pai-storage/internal/qemu"
)

// Defaults that people meet.
const (
	DefaultName   = "default"
	DefaultPort   = 9186
	DefaultMemory = 2048
	AdminUser     = "admin"

	maxWorkers = 20
	minMemory  = 1024
)

// Config is what a cluster is asked to be. It is kept in its state directory, so that a later "up"
// without flags brings back the same cluster.
type Config struct {
	Name     string `json:"name"`
	StateDir string `json:"stateDir"`
	Workers  int    `json:"workers"`
	Memory   int    `json:"memory"`   // MiB for each worker
	Port     int    `json:"port"`     // REST API and portal on 127.0.0.1; 0 = any free one
	KubePort int    `json:"kubePort"` // Kubernetes API on 127.0.0.1; 0 = any free one
	// Kubeconfig of an existing cluster to use instead of one of our own.
	Kubeconfig string `json:"kubeconfig,omitempty"`

	BinDir     string    `json:"binDir,omitempty"`     // Kubernetes binaries
	Image      Image     `json:"image,omitzero"`       // what workers boot from
	Emulator   qemu.QEMU `json:"emulator,omitzero"`    // what runs workers when there is no hardware virtualization
	RESTServer string    `json:"restServer,omitempty"` // the rest-server program
}

// use keeps what the cluster runs from in the cache until release is called.
func (c Config) use() (release func(), err error) {
	var releases []func()
	release = func() {
		for _, r := range releases {
			r()
		}
	}
	for _, part := range []string{c.BinDir, filepath.Dir(c.Image.Disk), filepath.Dir(c.Emulator.Root)} {
		r, err := buildcache.Use(part)
		if err != nil {
			release()
			return nil, err
		}
		releases = append(releases, r)
	}
	return release, nil
}

// Image is what workers boot from.
type Image struct {
	Kernel string `json:"kernel"`
	Initrd string `json:"initrd"`
	Disk   string `json:"disk"`
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

// Validate says everything that is wrong with the configuration.
func (c Config) Validate() error {
	var faults []error
	if !validName.MatchString(c.Name) {
		faults = append(faults, fmt.Errorf("cluster name %q: use 1 to 30 lower-case letters, digits and dashes", c.Name))
	}
	if c.Workers < 1 || c.Workers > maxWorkers {
		faults = append(faults, fmt.Errorf("%s: choose 1 to %d", plural.Of(c.Workers, "worker"), maxWorkers))
	}
	if c.Memory < minMemory {
		faults = append(faults, fmt.Errorf("%d MiB of memory for a worker: it needs %d or more", c.Memory, minMemory))
	}
	for _, p := range []struct {
		flag string
		port int
	}{{"--port", c.Port}, {"--kube-port", c.KubePort}} {
		if p.port < 0 || p.port > 65535 {
			faults = append(faults, fmt.Errorf("%s %d: a port is a number from 1 to 65535", p.flag, p.port))
		}
	}
	// A socket's path has 108 bytes at most; the longest of ours is workers/workerNN/monitor.sock.
	if len(c.StateDir) > 75 {
		faults = append(faults, fmt.Errorf("state directory %s: its path is too long for the sockets in it (75 characters at most); choose another with --state-dir", c.StateDir))
	}
	return errors.Join(faults...)
}

// StateRoot is where the clusters of this user have their directories: $PAI_STATE_DIR, else the
// place that the XDG base directory specification has for state.
func StateRoot() (string, error) {
	if dir := os.Getenv("PAI_STATE_DIR"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pai-storage"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("state directory: %w; set PAI_STATE_DIR", err)
	}
	return filepath.Join(home, ".local", "state", "pai-storage"), nil
}

// ErrAbsent is the cause when there is no cluster of the name.
var ErrAbsent = errors.New("no such cluster")

// Load reads the configuration that a cluster was last started with.
func Load(stateDir string) (Config, error) {
	text, err := os.ReadFile(filepath.Join(stateDir, "cluster.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("%w: nothing was ever started in %s", ErrAbsent, stateDir)
	}
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := json.Unmarshal(text, &c); err != nil {
		return Config{}, fmt.Errorf("%s is damaged (%w): remove the directory with \"paictl down --purge\"", filepath.Join(stateDir, "cluster.json"), err)
	}
	return c, nil
}

func (c Config) save() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(c.path("cluster.json"), append(text, '\n'), 0o600)
}

func (c Config) path(elements ...string) string {
	return filepath.Join(append([]string{c.StateDir}, elements...)...)
}

// Kubectl is the kubectl that was built with the cluster; one in PATH for a cluster that was there before.
func (c Config) Kubectl() string {
	if c.BinDir == "" {
		return "kubectl"
	}
	return filepath.Join(c.BinDir, "kubectl")
}

// KubeconfigFile is the kubeconfig that people use.
func (c Config) KubeconfigFile() string {
	if c.Kubeconfig != "" {
		return c.Kubeconfig
	}
	return c.path("kubeconfig")
}

// AdminPasswordFile holds the administrator's generated password.
func (c Config) AdminPasswordFile() string { return c.path("admin-password") }

// API is the address of the REST API and the portal.
func (c Config) API() string { return fmt.Sprintf("http://127.0.0.1:%d", c.Port) }

// The cluster's network, as the documentation of the original has it: workers from 10.0.0.1 on. The last
// address is the machine itself, with the control plane.
var (
	network   = netip.MustParsePrefix("10.0.0.0/24")
	gateway   = netip.MustParseAddr("10.0.0.254")
	podPrefix = "10.244.0.0/16"
)

// Worker is one of the cluster's workers.
type Worker struct {
	Number  int        `json:"-"`
	Name    string     `json:"name"`
	Address netip.Addr `json:"address"`
	Storage bool       `json:"storageServer"` // as its node's label says
}

// workers lists them.
func (c Config) workers() []Worker {
	if c.Kubeconfig != "" {
		return nil
	}
	var list []Worker
	for n := 1; n <= c.Workers; n++ {
		list = append(list, Worker{Number: n, Name: fmt.Sprintf("worker%d", n),
			Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})})
	}
	return list
}

func (w Worker) podCIDR() string { return fmt.Sprintf("10.244.%d.0/24", w.Number) }
func (w Worker) tap() string     { return fmt.Sprintf("tap%d", w.Number) }
func (w Worker) mac() string     { return fmt.Sprintf("52:54:00:0a:00:%02x", w.Number) }
