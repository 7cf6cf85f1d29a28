// Package clusterconfig reads the configuration of a cluster: what its machines are for, and what its services are told.
//
// Texts go in; a configuration or every fault of them, each with its place, comes out. It knows no Kubernetes and no flags. Files of an
// OpenPAI cluster are read as they are: sections and keys of services that are not this project's are let through untouched.
//
// Example:
//
//	cfg, err := clusterconfig.Parse(map[string][]byte{"layout.yaml": layout, "services-configuration.yaml": services})
package clusterconfig

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/pai-storage/pai-storage/internal/yamltext"
)

// The files of a configuration. Others may lie beside them and are kept as they are.
const (
	ConfigFile   = "config.yaml"
	LayoutFile   = "layout.yaml"
	ServicesFile = "services-configuration.yaml"
)

// Fault is one thing that is wrong, and where; Faults are all.
type (
	Fault  = yamltext.Fault
	Faults = yamltext.Faults
)

// maxFile bounds one file, in bytes: all of them have to fit into one ConfigMap.
const maxFile = 512 << 10

// Machine is one machine of layout.yaml.
type Machine struct {
	HostName string     `json:"hostname"`
	NodeName string     `json:"nodename"` // the node's name in Kubernetes; by default the host's
	Address  netip.Addr `json:"hostip"`
	SKU      string     `json:"machine-type,omitempty"`
	Master   bool       `json:"pai-master"`
	Worker   bool       `json:"pai-worker"`
	Storage  bool       `json:"pai-storage"`

	at   place
	item value
}

// Fault is one of this machine that only the cluster knows, at the place of a key, or of the machine where the key is left out.
func (m Machine) Fault(key, format string, args ...any) Fault {
	at := m.at
	if v, ok := m.item.find(key); ok {
		at = v.place
	}
	return at.describe(LayoutFile, fmt.Sprintf(format, args...))
}

// Configuration is what the files say.
type Configuration struct {
	Machines []Machine
	// StorageManager is nil where the section is absent.
	StorageManager *StorageManager
	Images         map[string]string // by service; a missing one is the manifests' own

	settings []Setting
	section  value // storage-manager
}

// ClientFault is one of nfs-allowed-clients that only the cluster knows, at the place of the address or network.
func (c Configuration) ClientFault(client netip.Prefix, format string, args ...any) Fault {
	at := c.section.place
	if list, ok := c.section.find("nfs-allowed-clients"); ok {
		for _, item := range list.list() {
			if text := item.text(); text == client.String() || text == client.Addr().String() {
				at = item.place
			}
		}
	}
	return at.describe(ServicesFile, fmt.Sprintf(format, args...))
}

// Setting is one value in effect, for people who ask where it comes from.
type Setting struct {
	Path   string `json:"path"`   // "storage-manager.localpath"
	Value  string `json:"value"`  // "******" for a password
	Origin string `json:"origin"` // "services-configuration.yaml:12", or "default"
}

// Settings are the values in effect, by path.
func (c Configuration) Settings() []Setting {
	list := slices.Clone(c.settings)
	slices.SortStableFunc(list, func(a, b Setting) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// StorageServers are the machines that serve files.
func (c Configuration) StorageServers() []Machine {
	return slices.DeleteFunc(slices.Clone(c.Machines), func(m Machine) bool { return !m.Storage })
}

// Workers are the machines that run jobs.
func (c Configuration) Workers() []Machine {
	return slices.DeleteFunc(slices.Clone(c.Machines), func(m Machine) bool { return !m.Worker })
}

// Masters are the machines of the control plane.
func (c Configuration) Masters() []Machine {
	return slices.DeleteFunc(slices.Clone(c.Machines), func(m Machine) bool { return !m.Master })
}

// Parse reads the files, by their names. The error is [Faults] with everything that is wrong with them.
func Parse(files map[string][]byte) (Configuration, error) {
	var c Configuration
	faults := &Faults{}
	for _, name := range []string{LayoutFile, ServicesFile} {
		if _, ok := files[name]; !ok {
			faults.Add(Fault{File: name, Text: "the file is missing"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml") {
			continue
		}
		d := parse(name, files[name], faults)
		switch {
		case d == nil:
			continue
		case name == LayoutFile:
			c.layout(d)
		case name == ServicesFile:
			c.services(d)
		}
		// Its passwords have to come out of it again.
		var hidden *Faults
		if _, _, err := Split(name, files[name]); errors.As(err, &hidden) {
			for _, f := range hidden.List {
				if !(place{d, f.Line, f.Column}).faulty() {
					faults.Add(f)
				}
			}
		}
	}
	return c, faults.Err()
}

// layout reads the machines.
func (c *Configuration) layout(d *document) {
	skus := map[string]bool{}
	d.root.each(func(key string, v value) {
		switch key {
		case "machine-sku":
			v.each(func(name string, _ value) { skus[name] = true })
		case "machine-list":
			for i, item := range v.list() {
				if m, ok := c.machine(i, item); ok {
					c.Machines = append(c.Machines, m)
				}
			}
		}
	})
	if !d.root.has("machine-list") {
		d.root.fault("machine-list is missing: the machines of the cluster, each with hostname and hostip")
	}
	seen := map[string]string{}
	for _, m := range c.Machines {
		for what, name := range map[string]string{"hostname": m.HostName, "nodename": m.NodeName, "hostip": m.Address.String()} {
			if other := seen[what+name]; other != "" {
				m.at.fault("%s %s is also %s's: every machine has its own", what, name, other)
			}
			seen[what+name] = m.HostName
		}
		if m.SKU != "" && len(skus) > 0 && !skus[m.SKU] {
			m.at.fault("machine-type %s of %s is not in machine-sku; there is: %s", m.SKU, m.HostName, strings.Join(slices.Sorted(maps.Keys(skus)), ", "))
		}
		switch {
		case m.Storage && m.Master:
			m.at.fault("%s is a master: the storage server has to be a worker", m.HostName)
		case m.Storage && !m.Worker:
			m.at.fault(`%s has pai-storage and is no worker: add pai-worker: "true", or choose a worker`, m.HostName)
		}
	}
}

// machineKeys are ours; an original's layout has others, which are let through unless they look like one of these.
var machineKeys = []string{"hostname", "nodename", "hostip", "machine-type", "pai-master", "pai-worker", "pai-storage"}

func (c *Configuration) machine(i int, item value) (Machine, bool) {
	m := Machine{at: item.place, item: item}
	if !item.isMapping() {
		item.fault("a machine is a mapping: hostname, hostip, ...")
		return m, false
	}
	item.each(func(key string, v value) {
		if slices.Contains(machineKeys, key) && v.misread() {
			return
		}
		switch key {
		case "hostname":
			m.HostName = v.name("a host's name")
		case "nodename":
			m.NodeName = v.name("a node's name")
		case "hostip":
			m.Address = v.address()
		case "machine-type":
			m.SKU = v.text()
		case "pai-master":
			m.Master = v.truth()
		case "pai-worker":
			m.Worker = v.truth()
		case "pai-storage":
			m.Storage = v.truth()
		default:
			v.notMeant(key, machineKeys)
		}
	})
	for _, key := range []string{"hostname", "hostip"} {
		if !item.has(key) {
			item.fault("machine %d lacks %s", i+1, key)
		}
	}
	m.NodeName = cmp.Or(m.NodeName, m.HostName)
	prefix := "machine-list." + m.HostName + "."
	for key, set := range map[string]bool{"pai-master": m.Master, "pai-worker": m.Worker, "pai-storage": m.Storage} {
		c.set(prefix+key, fmt.Sprint(set), item, key)
	}
	c.set(prefix+"nodename", m.NodeName, item, "nodename")
	c.set(prefix+"hostip", m.Address.String(), item, "hostip")
	return m, m.HostName != "" && m.Address.IsValid()
}

// set notes a value in effect and where it comes from.
func (c *Configuration) set(path, shown string, section value, key string) {
	origin := "default"
	if at, ok := section.find(key); ok {
		origin = fmt.Sprintf("%s:%d", at.doc.name, at.line)
	}
	c.settings = append(c.settings, Setting{Path: path, Value: shown, Origin: origin})
}

// ourSections are the services of this project; a section that is called almost like one is a slip of the hand.
var ourSections = []string{"storage-manager", "rest-server", "node-agent", "pai-storage"}

// services reads the sections that are this project's.
func (c *Configuration) services(d *document) {
	d.root.each(func(key string, v value) {
		switch key {
		case "storage-manager":
			if v.isNull() {
				v.fault("the section is empty: give at least smbuser and smbpwd, or make the line a comment")
				return
			}
			s := readStorageManager(v, func(path, shown, key string) { c.set("storage-manager."+path, shown, v, key) })
			c.StorageManager, c.section = &s, v
		case "pai-storage":
			c.images(v)
		default:
			v.notMeant(key, ourSections)
		}
	})
}

func (c *Configuration) images(section value) {
	c.Images = map[string]string{}
	section.each(func(key string, v value) {
		if key != "images" {
			v.unknown(key, []string{"images"})
			return
		}
		v.each(func(service string, v value) {
			if !slices.Contains(ourSections, service) {
				v.unknown(service, ourSections[:3])
				return
			}
			c.Images[service] = v.text()
			c.settings = append(c.settings, Setting{"pai-storage.images." + service, v.text(), fmt.Sprintf("%s:%d", v.doc.name, v.line)})
		})
	})
}
