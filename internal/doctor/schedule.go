package doctor

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/plural"
)

// unplaced is about a task for which no worker is found.
func (d *diagnosis) unplaced(t Task) {
	if d.claims(t.Name) {
		return
	}
	if d.cannotMount(t) {
		return
	}
	d.fruitless(t)
	if t.Unschedulable == "" {
		return
	}
	if m := claimNotFound.FindStringSubmatch(t.Unschedulable); m != nil {
		if s, ok := d.storageNamed(m[1]); ok {
			d.add(evidence(claimMissing.finding("storage "+m[1], claimFix(s), "storage %q does not exist any more", s.Name), t), t.Name)
			return
		}
	}
	if strings.Contains(t.Unschedulable, "unbound immediate PersistentVolumeClaims") {
		f := claimSoon.finding("storages", "", "Kubernetes is about to bind the storages of the job")
		if d.Now.Sub(t.Created) > binding {
			f = claimStuck.finding("storages", "an administrator sees what Kubernetes says with: kubectl describe pvc -A, and whether kube-controller-manager runs",
				"the scheduler finds that storages of the job are not bound, for more than a minute")
		}
		d.add(evidence(f, t), t.Name)
		return
	}
	d.room(t)
}

var claimNotFound = regexp.MustCompile(`persistentvolumeclaim "([^"]+)" (?:not found|is being deleted)`)

func evidence(f pai.Finding, t Task) pai.Finding {
	f.Evidence, f.Since = t.Unschedulable, t.Created
	return f
}

// cannotMount is about workers that say by their labels what they cannot mount. It tells whether none is left.
func (d *diagnosis) cannotMount(t Task) bool {
	var why []string
	left, fix := 0, ""
	for _, n := range d.Nodes {
		if lacks := n.lacks(d.Storages); len(lacks) > 0 {
			why = append(why, n.cannot(lacks))
			if fix == "" && n.Has != nil {
				fix = "install what they lack, worker by worker: paictl node prepare " + n.Name
			}
			continue
		}
		left++
	}
	if left > 0 || len(why) == 0 {
		return false
	}
	f := noNodeMounts.finding(names(d.lackedSomewhere()), cmp.Or(fix, "see what they lack: paictl node list; docs/errors.md has the packages"), "no worker can mount all storages of the job: %s", few(why))
	d.add(evidence(f, t), t.Name)
	return true
}

// fruitless is about a task that waits for a worker, and could use its storages on none: the wait would be followed by another one.
func (d *diagnosis) fruitless(t Task) {
	for _, s := range d.Storages {
		var failed []string
		ready := 0
		for _, n := range d.Nodes {
			if !n.Ready {
				continue
			}
			ready++
			if x, bad := s.Checks[n.Name]; bad && !x.Dead {
				failed = append(failed, n.Name)
			}
		}
		if len(failed) == 0 || len(failed) < ready {
			continue
		}
		slices.Sort(failed)
		x := s.Checks[failed[0]]
		f := Cell(s, failed[0], x.Message, x.At)
		if len(failed) > 1 {
			f.Message += fmt.Sprintf("; nor can any other worker (%d of %d looked)", len(failed), ready)
		}
		d.addRanked(likely, f, t.Name)
	}
}

// cannot says which storages the worker cannot mount, and what it lacks where its agent has said so.
func (n Node) cannot(storages []Storage) string {
	text := fmt.Sprintf("%s cannot mount %s", n.Name, names(storages))
	var lacks []string
	for _, s := range storages {
		if n.Has != nil {
			lacks = append(lacks, n.Has.lacks(s.Type)...)
		}
	}
	slices.Sort(lacks)
	if lacks = slices.Compact(lacks); len(lacks) > 0 {
		text += " (" + strings.Join(lacks, ", ") + ")"
	}
	return text
}

// lacks are the storages that the worker cannot mount, by what its agent says. Where any worker has an agent, one without counts as able:
// the scheduler decides by the job's own rule.
func (n Node) lacks(storages []Storage) []Storage {
	var out []Storage
	for _, s := range storages {
		if n.CannotMount[s.Type] {
			out = append(out, s)
		}
	}
	return out
}

func (d *diagnosis) lackedSomewhere() []Storage {
	var out []Storage
	for _, s := range d.Storages {
		if slices.ContainsFunc(d.Nodes, func(n Node) bool { return n.CannotMount[s.Type] }) {
			out = append(out, s)
		}
	}
	return out
}

// few joins the first of many.
func few(parts []string) string {
	const most = 4
	if len(parts) > most {
		return strings.Join(parts[:most], "; ") + fmt.Sprintf("; and %d more", len(parts)-most)
	}
	return strings.Join(parts, "; ")
}

// room is about resources and workers that take no tasks.
func (d *diagnosis) room(t Task) {
	ready := slices.DeleteFunc(slices.Clone(d.Nodes), func(n Node) bool { return !n.Ready })
	open := slices.DeleteFunc(slices.Clone(ready), func(n Node) bool { return n.Cordoned })
	wants := d.resources(t.Role)
	says := t.Unschedulable
	lacking := insufficient(says)
	var f pai.Finding
	switch {
	case len(ready) == 0:
		f = noReady.finding("nodes", "bring one back: kubectl get nodes", "none of %s is ready", plural.Of(len(d.Nodes), "worker"))
	case len(open) == 0:
		f = noTakers.finding("nodes", "kubectl uncordon "+ready[0].Name, "every worker that is ready is set to take no tasks (cordoned)")
	case strings.Contains(says, "volume node affinity") || strings.Contains(says, "PersistentVolume's node affinity"):
		f = volumeElsewhere.finding(names(d.local()), "see where: "+shows(d.local()), "%s can be used on certain workers only, and none of these can take the task", names(d.local()))
	case len(lacking) > 0 && !slices.ContainsFunc(open, func(n Node) bool { return fits(wants, n.Capacity) }):
		f = tooLarge.finding("task role "+t.Role, "ask for less in resourcePerInstance", "no worker has %s, even when it is empty: the largest has %s", amount(wants, lacking), amount(largest(open), lacking))
	case len(lacking) > 0:
		f = d.busy("task role "+t.Role, wants, fmt.Sprintf("no worker has %s free now%s", amount(wants, lacking), d.among(open)), open)
		d.addRanked(likely, evidence(f, t), t.Name) // what is wrong with the job's own storages matters more
		return
	case strings.Contains(says, "Too many pods"):
		f = noRoom.finding("nodes", "wait until other tasks end", "every worker runs as many tasks as it may")
	case strings.Contains(says, "untolerated taint"):
		f = noTakers.finding("nodes", "see which, and take them off: kubectl get nodes -o custom-columns=NODE:.metadata.name,TAINTS:.spec.taints[*].key", "the workers have taints, which keep tasks away")
	case strings.Contains(says, "node affinity/selector") && len(d.lackedSomewhere()) > 0:
		f = noNodeMounts.finding(names(d.lackedSomewhere()), "see what workers lack: paictl node list", "no worker that takes tasks can mount %s", names(d.lackedSomewhere()))
	case strings.Contains(says, "node affinity/selector") && len(d.remote()) > 0:
		f = noNodeMounts.finding(names(d.remote()), "see which workers report that they can: kubectl get nodes -L pai.storage/can-mount-nfs", "no worker says that it can mount %s", names(d.remote()))
	default:
		f = noPlace.finding("nodes", "the evidence is what the scheduler says", "the scheduler finds no worker for the task")
	}
	d.add(evidence(f, t), t.Name)
}

// busy is about workers that are large enough and have too little left. What tasks hold that run is free again with time; what tasks hold that
// cannot go on is not.
func (d *diagnosis) busy(object string, wants pai.Quantity, says string, open []Node) pai.Finding {
	var who holders
	passes := false
	for _, n := range open {
		if len(n.lacks(d.Storages)) > 0 {
			continue
		}
		hold := d.Held[n.Name]
		taken := without(hold.Quantity, who.add(hold.By, d.Job.ID))
		passes = passes || fits(wants, without(n.Capacity, taken))
	}
	if len(who.own)+len(who.others) == 0 {
		return noRoom.finding(object, "wait until other tasks end, or ask for less", "%s", says)
	}
	own, by := who.text()
	f := heldUp.finding(object, "its owner or an administrator mends what it waits for, or stops it", "%s; held by %s", says, by)
	switch {
	case passes:
		f = noRoom.finding(object, "wait until other tasks end, or ask for less", "%s; held by %s", says, by)
	case own != "":
		f.Fix, f.Who = "see what it waits for: paictl job explain "+string(own)+"; or stop it: paictl job stop "+string(own), user
	}
	f.HeldBy = who.jobs()
	return f
}

// holders are the jobs that hold something of workers and cannot go on: the owner's own ones, and those of others.
type holders struct{ own, others []Holder }

// mostHolders is how many jobs that hold something are named, and mostOthers how many are counted: each job that waits looks at all of them.
const (
	mostHolders = 20
	mostOthers  = 100
)

// add takes up who holds something of one worker, and returns what the job that asks holds of it itself.
func (h *holders) add(by []Holder, asks pai.JobID) (self pai.Quantity) {
	first, _ := slices.BinarySearchFunc(by, asks.User, func(x Holder, u pai.UserName) int { return cmp.Compare(x.Job.User, u) })
	for i := first; i < len(by) && by[i].Job.User == asks.User; i++ {
		if by[i].Job == asks {
			self = by[i].Quantity
		} else {
			h.own = append(h.own, by[i])
		}
	}
	for i := 0; i < len(by) && len(h.others) < mostOthers; i++ {
		if by[i].Job.User != asks.User {
			h.others = append(h.others, by[i])
		}
	}
	return self
}

// text says who holds what, one's own jobs by name: who else has jobs is nobody's business. The first one's name is own.
func (h *holders) text() (own pai.JobName, text string) {
	h.own, h.others = byJob(h.own), byJob(h.others)
	var parts, codes []string
	for _, x := range h.own {
		own = cmp.Or(own, x.Job.Name)
		parts = append(parts, fmt.Sprintf("%s, itself waiting: %s", x.Job, x.Code))
	}
	for _, x := range h.others {
		codes = append(codes, x.Code)
	}
	slices.Sort(codes)
	switch n := len(h.others); {
	case n == 1:
		parts = append(parts, "1 job of others, itself waiting: "+codes[0])
	case n > 1:
		count := fmt.Sprint(n)
		if n >= mostOthers {
			count = "many"
		}
		parts = append(parts, fmt.Sprintf("%s jobs of others, themselves waiting: %s", count, strings.Join(slices.Compact(codes), ", ")))
	}
	return own, few(parts)
}

// jobs are the first ones of all, the owner's own before the others.
func (h *holders) jobs() []pai.JobID {
	var ids []pai.JobID
	for _, x := range slices.Concat(h.own, h.others)[:min(len(h.own)+len(h.others), mostHolders)] {
		ids = append(ids, x.Job)
	}
	return ids
}

// byJob has each job once, in their order.
func byJob(list []Holder) []Holder {
	slices.SortFunc(list, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.Job.User, b.Job.User), cmp.Compare(a.Job.Name, b.Job.Name), cmp.Compare(a.Code, b.Code))
	})
	return slices.CompactFunc(list, func(a, b Holder) bool { return a.Job == b.Job })
}

func without(q, taken pai.Quantity) pai.Quantity {
	return pai.Quantity{CPU: q.CPU - taken.CPU, MemoryMB: q.MemoryMB - taken.MemoryMB, GPU: q.GPU - taken.GPU}
}

// shows are the commands that show storages.
func shows(storages []Storage) string {
	var commands []string
	for _, s := range storages {
		commands = append(commands, "paictl storage show "+string(s.Name))
	}
	return strings.Join(commands, "; ")
}

// among says when only some of the workers count.
func (d *diagnosis) among(open []Node) string {
	able := 0
	for _, n := range open {
		if len(n.lacks(d.Storages)) == 0 {
			able++
		}
	}
	if able == len(open) {
		return ""
	}
	return fmt.Sprintf(" among the %d of %d that can mount the job's storages", able, len(open))
}

func (d *diagnosis) resources(role string) pai.Quantity {
	for _, r := range d.Roles {
		if r.Name == role {
			return r.Resources
		}
	}
	return pai.Quantity{}
}

// local are the storages that are on certain workers only.
func (d *diagnosis) local() []Storage {
	return slices.DeleteFunc(slices.Clone(d.Storages), func(s Storage) bool { return !s.HostLocal })
}

// remote are the storages that need something on a worker to be mounted.
func (d *diagnosis) remote() []Storage {
	return slices.DeleteFunc(slices.Clone(d.Storages), func(s Storage) bool { return s.HostLocal })
}

var insufficientPattern = regexp.MustCompile(`Insufficient ([a-zA-Z0-9./-]+)`)

// insufficient are the resources that the scheduler misses.
func insufficient(says string) []string {
	var out []string
	for _, m := range insufficientPattern.FindAllStringSubmatch(says, -1) {
		if name := strings.TrimRight(m[1], "."); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func fits(wants, has pai.Quantity) bool {
	return wants.CPU <= has.CPU && wants.MemoryMB <= has.MemoryMB && wants.GPU <= has.GPU
}

func largest(nodes []Node) pai.Quantity {
	var most pai.Quantity
	for _, n := range nodes {
		most.CPU, most.MemoryMB, most.GPU = max(most.CPU, n.Capacity.CPU), max(most.MemoryMB, n.Capacity.MemoryMB), max(most.GPU, n.Capacity.GPU)
	}
	return most
}

// amount is as much of a quantity as the names of resources ask for.
func amount(q pai.Quantity, resources []string) string {
	var parts []string
	for _, name := range resources {
		switch {
		case name == "cpu":
			parts = append(parts, count(q.CPU, "CPU"))
		case name == "memory":
			parts = append(parts, fmt.Sprintf("%d MB of memory", q.MemoryMB))
		case strings.HasSuffix(name, "/gpu"):
			parts = append(parts, count(q.GPU, "GPU"))
		default:
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, " and ")
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
