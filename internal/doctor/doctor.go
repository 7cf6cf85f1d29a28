// Package doctor says why a job waits, failed, or does not end: facts in, findings out.
//
// It is pure: it asks nobody and remembers nothing. Package kube collects the facts and calls it. Its rules:
//
//   - Every finding is an entry of the catalogue, names the thing at fault, and says what mends it.
//   - What is sure comes before what is likely, and both before "wait a moment".
//   - What others said is quoted as evidence, without what may be a secret.
//
// Example:
//
//	findings := doctor.Diagnose(facts)
//	fmt.Println(findings[0].Line())
//	// STO-201: node worker2 cannot mount nfs storage "home": mount.nfs is missing; run on worker2: apt-get install nfs-common
package doctor

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Diagnose finds every reason that the facts give, the most telling first. It is empty when nothing is wrong.
func Diagnose(f Facts) []pai.Finding {
	d := &diagnosis{Facts: f}
	switch {
	case f.Job.HalfMade:
		d.add(halfMade.finding("job "+f.Job.ID.String(), "submit it again under another name", "the REST server ended while it made job %s", f.Job.ID))
	case f.Job.State == pai.JobSucceeded || f.Job.State == pai.JobStopped:
	case f.Job.State == pai.JobFailed:
		d.failure()
	case f.Job.State == pai.JobStopping:
		d.leaving()
	default:
		d.life()
	}
	return d.sorted()
}

// diagnosis is the work on one set of facts.
type diagnosis struct {
	Facts
	found []ranked
}

// ranked is a finding and how telling it is: lower is more.
type ranked struct {
	pai.Finding
	rank int
}

// How telling findings are.
const (
	sure   = iota // somebody said so
	likely        // it follows from what somebody did not do
	soon          // it passes by itself
)

// add keeps a finding about tasks, once: the same one about another task names that task, too.
func (d *diagnosis) add(f pai.Finding, tasks ...string) { d.addRanked(sure, f, tasks...) }

func (d *diagnosis) addRanked(rank int, f pai.Finding, tasks ...string) {
	if f.Who == pai.FixedByWaiting {
		rank = soon
	}
	for i := range d.found {
		if known := &d.found[i]; known.Code == f.Code && known.Object == f.Object && known.Message == f.Message {
			known.Tasks = append(known.Tasks, tasks...)
			if known.Since.IsZero() || (!f.Since.IsZero() && f.Since.Before(known.Since)) {
				known.Since = f.Since
			}
			return
		}
	}
	f.Tasks = slices.Clone(tasks)
	f.Evidence = Quote(f.Evidence)
	d.found = append(d.found, ranked{f, rank})
}

func (d *diagnosis) sorted() []pai.Finding {
	slices.SortStableFunc(d.found, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	var out []pai.Finding
	for _, r := range d.found {
		out = append(out, r.Finding)
	}
	return out
}

// life is for jobs that are not done: each task on its way from the claim to its end.
func (d *diagnosis) life() {
	if a := d.Job.Aside; a != nil {
		f := a.Finding
		gave := "gave its workers back at"
		if slices.ContainsFunc(d.Tasks, func(t Task) bool { return t.Node != "" && !t.State.Done() }) {
			gave = "has not given all of its workers back, as it should since"
		}
		f.Message += fmt.Sprintf("; the job %s %s and is tried again by %s", gave, clock(a.Since), clock(a.Until))
		d.add(f)
		d.leaving()
		return
	}
	d.roles()
	for _, t := range d.Tasks {
		before := len(d.found)
		d.task(t)
		if len(d.found) == before && t.State == pai.JobWaiting && t.Deleting.IsZero() {
			d.pending(t)
		}
	}
	if len(d.Tasks) == 0 && len(d.found) == 0 && d.Job.State == pai.JobWaiting {
		d.unmade()
	}
}

// clock is a time in a message, which people in several places read.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 MST") }

// leaving is for jobs that were told to stop: what keeps tasks from their end. What kept them from starting is of no account any more.
func (d *diagnosis) leaving() {
	for _, t := range d.Tasks {
		if !t.Deleting.IsZero() {
			d.ending(t)
		}
	}
}

func (d *diagnosis) task(t Task) {
	switch {
	case !t.Deleting.IsZero():
		d.ending(t)
	case t.State == pai.JobFailed:
		d.failed(t)
	case t.Node == "":
		d.unplaced(t)
	case t.State == pai.JobWaiting:
		d.node(t)
		d.worker(t)
	case t.State == pai.JobRunning:
		d.node(t)
		d.checked(t)
		d.servers(t)
	}
}

// roles is about tasks that could not even be made.
func (d *diagnosis) roles() {
	for _, r := range d.Roles {
		if r.Missing == 0 {
			continue
		}
		for _, e := range r.Events {
			if e.Reason == "FailedCreate" {
				d.refused(r, e)
				break
			}
		}
	}
}

var quotaName = regexp.MustCompile(`exceeded quota: ([^,\s]+)`)

func (d *diagnosis) refused(r Role, e Event) {
	var f pai.Finding
	if m := quotaName.FindStringSubmatch(e.Message); m != nil {
		f = quota.finding("quota "+m[1], "wait until others end, or ask an administrator: kubectl describe quota "+m[1], "quota %s does not allow the tasks of role %s", m[1], r.Name)
	} else {
		f = refusedPod.finding("task role "+r.Name, "the evidence names the rule", "the cluster refuses the tasks of role %s", r.Name)
	}
	f.Evidence, f.Since = e.Message, e.Last
	d.add(f, r.Name)
}

// Reaction times of Kubernetes, after which silence tells something.
const (
	binding   = time.Minute      // of the controller that binds claims to volumes
	reaction  = 20 * time.Second // of the controllers and the scheduler
	mounting  = 10 * time.Second // of a worker that mounts what answers
	endingMax = 45 * time.Second // the 30 seconds of a task, and some more
)

// unmade is for a job without any task: the job controller has not reacted.
func (d *diagnosis) unmade() {
	name := "job " + d.Job.ID.String()
	if d.claims(); d.Job.Held && len(d.found) > 0 {
		return
	}
	if d.Now.Sub(d.Job.Submitted) > reaction {
		f := noScheduler.finding(name, "see whether kube-controller-manager runs", "Kubernetes makes no task of job %s", d.Job.ID)
		f.Since = d.Job.Submitted
		d.addRanked(likely, f)
		return
	}
	f := newTask.finding(name, "", "job %s was just submitted", d.Job.ID)
	f.Since = d.Job.Submitted
	d.add(f)
}

// pending is for a task about which nothing else can be said.
func (d *diagnosis) pending(t Task) {
	if t.Node == "" {
		if d.Now.Sub(t.Created) > reaction {
			f := noScheduler.finding("task "+t.Name, "see whether kube-scheduler runs", "no scheduler looks for a worker for task %s", t.Name)
			f.Since = t.Created
			d.addRanked(likely, f, t.Name)
			return
		}
		f := newTask.finding("task "+t.Name, "", "task %s was just made, and no worker is chosen yet", t.Name)
		f.Since = t.Created
		d.add(f, t.Name)
		return
	}
	f := starting.finding("node "+t.Node, "", "node %s prepares the task", t.Node)
	f.Since = t.Bound
	d.add(f, t.Name)
}

// secretOption is an option that carries a credential, in what drivers say.
var secretOption = regexp.MustCompile(`(?i)\b(pass(word|wd)?|user(name)?|cred(ential)?s?|key|accountkey|sig|token|secret)=[^,\s"']+`)

// Quote is what may be shown of what others said.
func Quote(text string) string {
	const most = 800
	text = secretOption.ReplaceAllString(pai.WithoutCredentials(text), "$1=(withheld)")
	if len(text) > most {
		text = text[:most] + "..."
	}
	return text
}
