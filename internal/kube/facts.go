package kube

import (
	"cmp"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/doctor"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// facts collects what the doctor wants to know about an attempt at a job. The nodes are shared between jobs.
func (c *Cluster) facts(a attempt, j pai.Job, now time.Time) doctor.Facts {
	f := doctor.Facts{
		Now:   now,
		Job:   doctor.Job{ID: j.ID, State: j.State, Submitted: j.Submitted, HalfMade: a.halfMade(now), Held: a.held, Stopped: j.Stopped, Aside: asideFact(a.aside)},
		Nodes: c.nodeFacts(),
		Held:  c.board.held(),
	}
	for _, m := range a.mounts {
		f.Storages = append(f.Storages, c.storageFacts(m))
	}
	for _, role := range j.Roles {
		rj := a.roles[role.Name]
		fact := doctor.Role{Name: role.Name, Resources: rj.requests, Events: c.eventsAbout(rj.uid)}
		for _, t := range role.Tasks {
			if t.UID == "" {
				fact.Missing++
				continue
			}
			if p, ok := c.latestPod(a, role.Name, t.Index); ok && (t.State != pai.JobSucceeded && t.State != pai.JobStopped) {
				p.facts.Events = c.eventsAbout(p.uid)
				f.Tasks = append(f.Tasks, p.facts)
			}
		}
		f.Roles = append(f.Roles, fact)
	}
	return f
}

func asideFact(s *specs.SetAside) *doctor.Aside {
	if s == nil {
		return nil
	}
	return &doctor.Aside{Since: s.Since, Until: s.Until, Finding: s.Finding}
}

func (c *Cluster) latestPod(a attempt, role string, index int) (taskPod, bool) {
	tried := a.tries(role, index)
	if len(tried) == 0 {
		return taskPod{}, false
	}
	return tried[len(tried)-1], true
}

// storageFacts is what is known about a storage that a job mounts.
func (c *Cluster) storageFacts(m specs.KeptMount) doctor.Storage {
	s := doctor.Storage{Name: m.Storage, Path: m.Path, Personal: m.Personal, ReadOnly: m.ReadOnly}
	cl, ok := c.claims.get(string(m.Storage))
	if !ok {
		s.Claim = doctor.ClaimFault{Kind: doctor.ClaimMissing, Text: "it does not exist any more"}
		return s
	}
	s.Claim = c.claimFault(cl)
	if device := c.deviceFault(cl); device.Kind != "" && cl.state != terminating { // the label share does not matter to jobs that there are
		s.Claim = device
	}
	s.Events = c.eventsAbout(string(cl.uid))
	v, ok := c.volumes.get(cl.volume)
	if cl.volume == "" || !ok {
		return s
	}
	s.Type, s.Volume, s.Driver, s.CSI = v.kind, v.name, v.driver, v.csi
	if v.secretName != "" {
		s.Secret = v.secretNamespace + "/" + v.secretName
		if v.secretNamespace == "" {
			s.Secret = c.namespace + "/" + v.secretName
		}
	}
	s.Checks = c.failures(m.Storage)
	s.Server, s.Export, _ = serverOf(v)
	s.HostLocal = v.kind == pai.StorageHostPath || v.kind == pai.StorageLocal
	if s.HostLocal {
		s.Export = v.data["path"]
	}
	if at, ok := c.serverFor(m.Storage); ok && c.probes != nil {
		s.Address, s.Probe = at.Address, c.probes.known(at)
	}
	return s
}

// serverFor is the file server of a storage, if it has one that can be asked.
func (c *Cluster) serverFor(name pai.StorageName) (Server, bool) {
	cl, ok := c.claims.get(string(name))
	if !ok || cl.volume == "" {
		return Server{}, false
	}
	v, ok := c.volumes.get(cl.volume)
	if !ok {
		return Server{}, false
	}
	_, _, address := serverOf(v)
	return Server{Kind: v.kind, Address: address, Version: versionIn(v.openOptions)}, address != ""
}

// Ports of file services.
const (
	nfsPort = "2049"
	smbPort = "445"
)

// serverOf says which server a volume is on, what of it, and whom to ask whether it is there.
func serverOf(v volume) (server, export, address string) {
	switch v.kind {
	case pai.StorageNFS:
		server, export = v.data["server"], v.data["path"]
		return server, export, net.JoinHostPort(server, portIn(v.openOptions, nfsPort))
	case pai.StorageSamba:
		host, share, _ := strings.Cut(strings.TrimLeft(strings.ReplaceAll(v.data["address"], `\`, "/"), "/"), "/")
		return host, share, net.JoinHostPort(host, portIn(v.openOptions, smbPort))
	case pai.StorageAzureFile:
		return cmp.Or(v.data["server"], v.data["accountName"]), v.data["shareName"], ""
	case pai.StorageAzureBlob:
		return cmp.Or(hostIn(v.data["endpoint"]), v.data["accountName"]), v.data["containerName"], ""
	case pai.StorageS3:
		return cmp.Or(hostIn(v.data["endpoint"]), "s3.amazonaws.com"), v.data["bucket"], ""
	}
	return "", "", ""
}

// hostIn is the host of a URL; "" without one.
func hostIn(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// versionIn is the major version of NFS that mount options ask for; 0 when they do not.
func versionIn(options []string) int {
	for _, name := range []string{"nfsvers=", "vers="} {
		if text := optionIn(options, name); text != "" {
			major, _, _ := strings.Cut(text, ".")
			version, _ := strconv.Atoi(major)
			return version
		}
	}
	return 0
}

// portIn is the port that mount options ask for.
func portIn(options []string, otherwise string) string {
	return cmp.Or(optionIn(options, "port="), otherwise)
}

// optionIn is the value of a mount option.
func optionIn(options []string, name string) string {
	for _, option := range options {
		for part := range strings.SplitSeq(option, ",") {
			if value, ok := strings.CutPrefix(strings.TrimSpace(part), name); ok {
				return value
			}
		}
	}
	return ""
}

// nodeFacts is what is known about the workers. It is made anew only when one of them has changed.
func (c *Cluster) nodeFacts() []doctor.Node {
	generation := c.nodes.generation.Load() + c.drivers.generation.Load() + c.heard.generation.Load() + c.others.generation.Load()
	if known := c.nodeList.Load(); known != nil && known.generation == generation {
		return known.list
	}
	list := make([]doctor.Node, 0, c.nodes.count())
	for _, n := range c.nodes.all() {
		if d, ok := c.drivers.get(n.name); ok {
			n.fact.Drivers, n.fact.DriversSaid = d.names, true
		}
		if r := c.reported(n.name); !r.at.IsZero() && !r.facts.Unknown {
			has := facts(r)
			n.fact.Has = &has
		}
		n.fact.Capacity = c.room(n)
		list = append(list, n.fact)
	}
	c.nodeList.Store(&nodeList{generation, list})
	return list
}

type nodeList struct {
	generation uint64
	list       []doctor.Node
}

// agentTypes are the types of storages about which some worker's agent says something.
func (c *Cluster) agentTypes() map[pai.StorageType]bool {
	out := map[pai.StorageType]bool{}
	for _, n := range c.nodeFacts() {
		for t := range n.CanMount {
			out[t] = true
		}
		for t := range n.CannotMount {
			out[t] = true
		}
	}
	return out
}
