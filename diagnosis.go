package pai

import (
	"slices"
	"time"
)

// Finding is one reason why a job waits, failed, or does not end.
type Finding struct {
	Code    string // of the catalogue in docs/errors.md, such as STO-301
	Object  string // the thing at fault: "node worker2", "storage home", "secret smb-secret"
	Message string // one sentence that names it
	Fix     string // the command or change that mends it
	Who     Fixer  // who can do that
	Tasks   []string
	// Evidence is what Kubernetes, or whoever else knows, said, as it was said.
	Evidence string
	Since    time.Time // when it was seen first; zero when that is not known
	// HeldBy are jobs that hold what is missing and cannot go on themselves, the first of many. Whoever asks sees those that are his to see.
	HeldBy []JobID
}

// Line is the finding in one line: the code, the sentence, and what mends it.
func (f Finding) Line() string {
	line := f.Code + ": " + f.Message
	if f.Fix != "" {
		line += "; " + f.Fix
	}
	return line
}

// For is the finding as a caller may see it: administrators see the jobs of all in it, others their own.
func (f Finding) For(c Caller) Finding {
	if !c.Admin {
		f.HeldBy = slices.DeleteFunc(slices.Clone(f.HeldBy), func(id JobID) bool { return id.User != c.User })
	}
	return f
}

// The codes of the catalogue that are part of the message when a job is refused.
const (
	RefusedVirtualCluster = "JOB-101"
	RefusedStorageDenied  = "JOB-102"
	RefusedStorageUnknown = "JOB-103"
)

// Fixer is who can mend something.
type Fixer string

// Who can mend what jobs wait for.
const (
	FixedByUser          Fixer = "user"
	FixedByAdministrator Fixer = "administrator"
	FixedByWaiting       Fixer = "time" // nobody has to do anything
)

// Diagnosis is everything that can be said about why a job is as it is.
type Diagnosis struct {
	Job      JobID
	State    JobState
	Findings []Finding // the most telling first; empty when nothing is wrong
	Seen     time.Time // when the facts were looked at
}
