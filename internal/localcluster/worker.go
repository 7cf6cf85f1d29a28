package localcluster

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"github.com/pai-storage/pai-storage/internal/controlplane"
	"github.com/pai-storage/pai-storage/internal/pki"
	"github.com/pai-storage/pai-storage/internal/proc"
	"github.com/pai-storage/pai-storage/internal/qemu"
)

const (
	seedDisk = "seed.tar"
	rootDisk = "root.qcow2"
	dataDisk = "data.img"
	// monitorSocket is where QEMU takes orders.
	monitorSocket = "monitor.sock"
	// shareSize is the size of the disk with a worker's /share; it is sparse.
	shareSize = "20G"
)

// prepareWorker writes the worker's disks: a fresh root disk on top of the image, the archive that makes
// the worker this worker, and, once, the disk for what it may serve as a storage server.
func prepareWorker(ctx context.Context, cfg Config, w Worker, plane *controlplane.Plane) error {
	dir := cfg.path("workers", w.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	archive, err := workerArchive(w, plane)
	if err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, seedDisk), archive, 0o600); err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	log := filepath.Join(dir, "disks.log")
	root := filepath.Join(dir, rootDisk)
	if err := proc.Run(ctx, proc.Command{Path: "qemu-img", Log: log,
		Args: []string{"create", "-q", "-f", "qcow2", "-b", cfg.Image.Disk, "-F", "raw", root}}); err != nil {
		return fmt.Errorf("%s: %w", w.Name, err)
	}
	data := filepath.Join(dir, dataDisk)
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	partial := data + ".partial"
	for _, c := range []proc.Command{
		{Path: "truncate", Args: []string{"-s", shareSize, partial}, Log: log},
		{Path: "mkfs.ext4", Args: []string{"-q", "-F", "-L", "share", "-E", "lazy_itable_init=1,lazy_journal_init=1", partial}, Log: log},
	} {
		if err := proc.Run(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
	}
	return os.Rename(partial, data)
}

// kernelParameters of a worker.
func kernelParameters(accelerator string) string {
	text := "console=ttyS0 quiet panic=5 mitigations=off random.trust_cpu=on net.ifnames=0 tsc=reliable unknown_nmi_panic rcu_nocbs=all"
	if accelerator == hardware {
		return text
	}
	text += " clearcpuid=rep_good,erms,fsrm"
	if speed := tscKHz(); speed > 0 {
		text += fmt.Sprintf(" tsc_early_khz=%d", speed)
	}
	return text
}

// emulatedProcessor has all that the emulator can do, without what costs more than it gives. Page tables of five levels make each walk a quarter
// longer. String instructions are emulated byte by byte: programs, and with clearcpuid the kernel, shall copy and clear by ordinary ones.
const emulatedProcessor = "max,-la57,-smap,-smep,-pku,-umip,-erms,-fsrm"

// worker describes the virtual machine as a process.
func (cfg Config) worker(w Worker, accelerator string, ready func(context.Context) error) *proc.Child {
	dir := cfg.path("workers", w.Name)
	drive := func(file, rest string) []string {
		return []string{"-drive", "if=virtio,file=" + filepath.Join(dir, file) + "," + rest}
	}
	program, how, processor := qemu.QEMU{Path: qemu.Installed}, accelerator, "max"
	if accelerator != hardware {
		program, how, processor = cfg.Emulator, cfg.Emulator.Emulation(), emulatedProcessor
	}
	args := program.Args(
		"-name", w.Name, "-nodefaults", "-no-user-config", "-display", "none",
		"-accel", how, "-cpu", processor, "-smp", "2", "-m", fmt.Sprint(cfg.Memory),
		"-kernel", cfg.Image.Kernel, "-initrd", cfg.Image.Initrd,
		"-append", kernelParameters(accelerator),
		"-serial", "file:"+filepath.Join(dir, "console.log"),
		"-netdev", "tap,id=net0,script=no,downscript=no,ifname="+w.tap(),
		"-device", "virtio-net-pci,netdev=net0,romfile=,mac="+w.mac(),
		"-chardev", "socket,id=guest0,server=on,wait=off,path="+filepath.Join(dir, "guest.sock"),
		"-qmp", "unix:"+filepath.Join(dir, monitorSocket)+",server=on,wait=off",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=guest0,name=org.qemu.guest_agent.0",
	)
	// The root disk is made anew at each start of the cluster: what the machine's crash costs does not
	// matter, so nothing waits for the disk. The data disk is people's data.
	args = append(args, drive(rootDisk, "format=qcow2,cache=unsafe")...)
	args = append(args, drive(seedDisk, "format=raw,readonly=on")...)
	args = append(args, drive(dataDisk, "format=raw,cache=writeback,discard=unmap")...)
	path := program.Path
	if accelerator != hardware { // an emulated machine takes all that it gets; whoever asks the control plane need not wait for that
		path, args = "/usr/bin/nice", append([]string{"-n", "5", path}, args...)
	}
	return proc.New(proc.Spec{Name: w.Name, Path: path, Args: args, Env: program.Env(), Log: filepath.Join(dir, "qemu.log"), Ready: ready})
}

// workerArchive is what a worker unpacks over its root at power-on.
func workerArchive(w Worker, plane *controlplane.Plane) ([]byte, error) {
	files, err := workerFiles(w, plane)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
			return nil, err
		}
		if _, err := archive.Write(text); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	// A disk has whole sectors.
	out.Write(make([]byte, (512-out.Len()%512)%512))
	return out.Bytes(), nil
}

func workerFiles(w Worker, plane *controlplane.Plane) (map[string][]byte, error) {
	kubelet, err := plane.Authority.Issue(w.Name, pki.Request{CommonName: "system:node:" + w.Name,
		Organizations: []string{"system:nodes"}, DNSNames: []string{w.Name}, IPs: []net.IP{w.Address.AsSlice()}})
	if err != nil {
		return nil, err
	}
	proxy, err := plane.Authority.Issue("kube-proxy", pki.Request{CommonName: "system:kube-proxy"})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"etc/pai/worker.env":             workerEnv(w),
		"etc/hostname":                   []byte(w.Name + "\n"),
		"etc/hosts":                      fmt.Appendf(nil, "127.0.0.1 localhost\n%s %s\n", w.Address, w.Name),
		"etc/resolv.conf":                {},
		"etc/kubernetes/ca.crt":          plane.Authority.CertPEM(),
		"etc/kubernetes/kubelet.crt":     kubelet.Cert,
		"etc/kubernetes/kubelet.key":     kubelet.Key,
		"etc/kubernetes/kubelet.yaml":    []byte(kubeletConfig),
		"etc/kubernetes/kube-proxy.yaml": fmt.Appendf(nil, proxyConfig, podPrefix),
	}
	for name, pair := range map[string]pki.Pair{"kubelet": kubelet, "kube-proxy": proxy} {
		text, err := plane.Kubeconfig(plane.URL(), pair)
		if err != nil {
			return nil, err
		}
		files["etc/kubernetes/"+name+".kubeconfig"] = text
	}
	if files["etc/cni/net.d/10-pai.conflist"], err = cniConfig(w); err != nil {
		return nil, err
	}
	return files, nil
}

func workerEnv(w Worker) []byte {
	return fmt.Appendf(nil, "WORKER_NAME=%s\nWORKER_IP=%s\nPREFIX=%d\nGATEWAY=%s\n", w.Name, w.Address, network.Bits(), gateway)
}

// cniConfig gives pods addresses out of the worker's own part of the pods' network; the machine routes
// between the parts.
func cniConfig(w Worker) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{"cniVersion": "1.0.0", "name": "pai", "plugins": []object{
		{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": object{
			"type":   "host-local",
			"ranges": [][]object{{{"subnet": w.podCIDR()}}},
			"routes": []object{{"dst": "0.0.0.0/0"}}}},
		{"type": "portmap", "capabilities": object{"portMappings": true}},
	}}, "", "  ")
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  x509: {clientCAFile: /etc/kubernetes/ca.crt}
  webhook: {enabled: true}
authorization: {mode: Webhook}
tlsCertFile: /etc/kubernetes/kubelet.crt
tlsPrivateKeyFile: /etc/kubernetes/kubelet.key
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: /etc/resolv.conf
failSwapOn: false
# There is no registry to pull a deleted image from.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 5s
# An emulated worker that starts many containers at once may need longer than the usual two minutes for one.
runtimeRequestTimeout: 30m
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: /etc/kubernetes/kube-proxy.kubeconfig}
clusterCIDR: %s
mode: iptables
conntrack: {maxPerCore: 0}
`
