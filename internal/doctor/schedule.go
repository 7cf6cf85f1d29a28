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
	var held []Holder
	passes := false
	for _, n := range open {
		if len(n.lacks(d.Storages)) > 0 {
			continue
		}
		hold := d.Held[n.Name]
		held = append(held, hold.By...)
		passes = passes || fits(wants, without(n.Capacity, hold.Quantity))
	}
	if len(held) == 0 {
		return noRoom.finding(object, "wait until other tasks end, or ask for less", "%s", says)
	}
	own, by := d.holders(held)
	f := heldUp.finding(object, "its owner or an administrator mends what it waits for, or stops it", "%s; held by %s", says, by)
	switch {
	case passes:
		f = noRoom.finding(object, "wait until other tasks end, or ask for less", "%s; held by %s", says, by)
	case own != "":
		f.Fix, f.Who = "see what it waits for: paictl job explain "+string(own)+"; or stop it: paictl job stop "+string(own), user
	}
	for _, h := range held {
		f.HeldBy = append(f.HeldBy, h.Job)
	}
	slices.SortFunc(f.HeldBy, func(a, b pai.JobID) int { return cmp.Compare(a.String(), b.String()) })
	f.HeldBy = slices.Compact(f.HeldBy)
	f.HeldBy = f.HeldBy[:min(len(f.HeldBy), mostHolders)]
	return f
}

// mostHolders is how many jobs that hold something are named.
const mostHolders = 20

// holders says who holds what, one's own jobs by name: who else has jobs is nobody's business. The first one's name is own.
func (d *diagnosis) holders(held []Holder) (own pai.JobName, text string) {
	slices.SortFunc(held, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.Job.String(), b.Job.String()), cmp.Compare(a.Code, b.Code))
	})
	var parts, codes []string
	others := 0
	for _, h := range slices.Compact(held) {
		if h.Job.User != d.Job.ID.User {
			others++
			codes = append(codes, h.Code)
			continue
		}
		own = cmp.Or(own, h.Job.Name)
		parts = append(parts, fmt.Sprintf("%s, itself waiting: %s", h.Job, h.Code))
	}
	if others > 0 {
		slices.Sort(codes)
		jobs, wait := "jobs", "themselves"
		if others == 1 {
			jobs, wait = "job", "itself"
		}
		parts = append(parts, fmt.Sprintf("%d %s of others, %s waiting: %s", others, jobs, wait, strings.Join(slices.Compact(codes), ", ")))
	}
	return own, few(parts)
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
