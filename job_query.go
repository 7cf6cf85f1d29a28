package pai

import (
	"slices"
	"strings"
	"time"
)

// How many jobs a query returns that does not say, and at most.
const (
	DefaultJobLimit = 5000
	MaxJobLimit     = 50000
)

// JobQuery selects jobs and puts them in order. Its zero value selects all, the latest first.
type JobQuery struct {
	User           UserName // "" for any
	VirtualCluster string   // "" for any
	States         []JobState
	Keyword        string   // part of the name of the job, its user, or its virtual cluster
	TagsAny        []string // at least one of these
	TagsNone       []string // none of these
	Priority       string   // "default" for jobs that have none; "" for any
	Storage        StorageName
	Order          JobOrder
	Offset         int
	Limit          int // 0 for [DefaultJobLimit]
}

// JobOrder is what jobs are sorted by. Equal ones are in the order of their names.
type JobOrder struct {
	Field     JobField // "" for the time of submission, the latest first
	Ascending bool
}

// JobField is what jobs can be sorted by.
type JobField string

// The fields that jobs can be sorted by. Jobs that are not done come last when sorted by completion in ascending order, and first otherwise.
const (
	ByJobName    JobField = "jobName"
	BySubmission JobField = "submissionTime"
	ByUser       JobField = "username"
	ByVC         JobField = "vc"
	ByRetries    JobField = "retries"
	ByTasks      JobField = "totalTaskNumber"
	ByGPUs       JobField = "totalGpuNumber"
	ByState      JobField = "state"
	ByCompletion JobField = "completionTime"
	ByPriority   JobField = "jobPriority"
)

// JobFields are all of them, in the order in which they are shown.
var JobFields = []JobField{ByJobName, BySubmission, ByUser, ByVC, ByRetries, ByTasks, ByGPUs, ByState, ByCompletion, ByPriority}

// ParseJobOrder reads field,ASC or field,DESC. InvalidParametersError for anything else.
func ParseJobOrder(text string) (JobOrder, error) {
	if text == "" {
		return JobOrder{}, nil
	}
	field, direction, _ := strings.Cut(text, ",")
	if !slices.Contains(JobFields, JobField(field)) || (direction != "ASC" && direction != "DESC") {
		var names []string
		for _, f := range JobFields {
			names = append(names, string(f))
		}
		return JobOrder{}, Errorf(InvalidParametersError, "order %q: expected FIELD,ASC or FIELD,DESC, where FIELD is one of %s", clip(text), strings.Join(names, ", "))
	}
	return JobOrder{Field: JobField(field), Ascending: direction == "ASC"}, nil
}

// JobSummary is a job as lists show it. It is never changed once it is made: whoever has the same pointer has the same job.
type JobSummary struct {
	ID             JobID
	UID            string
	Object         string // the name of its record in Kubernetes
	VirtualCluster string
	Priority       string
	State          JobState
	Stopped        bool
	Attempt        int
	Tags           []string
	Submitted      time.Time
	Started        time.Time
	Completed      time.Time
	ExitCode       *int
	GPUs           int
	Tasks          int
	TaskRoles      int
	Storages       []StorageName // that it mounts, sorted
	Finding        *Finding      // why it waits, or failed; nil when there is nothing to say
}

// JobPage is a part of a list of jobs.
type JobPage struct {
	Jobs  []*JobSummary
	Total int // how many the query selects, without its offset and limit
}

// Tag rules: long enough for words, short enough for a table.
const maxTag = 256

// CheckTag says whether s can be a tag: 1 to 256 characters, no commas, which separate tags in queries, and no control characters.
func CheckTag(s string) error {
	if s == "" || len(s) > maxTag || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ',' || r == '\uFFFD' }) {
		return Errorf(InvalidParametersError, "%q cannot be a tag: 1 to %d characters, without commas and control characters", clip(s), maxTag)
	}
	return nil
}
