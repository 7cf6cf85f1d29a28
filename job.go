package pai

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// JobName is the name of a job, unique among the jobs of its user.
type JobName string

// ParseJobName checks that s can name a job: letters, digits, "_", "-", "." and "~", at most 255.
func ParseJobName(s string) (JobName, error) {
	if len(s) > 255 || !jobNamePattern.MatchString(s) {
		return "", Errorf(InvalidParametersError,
			"%q cannot be the name of a job: letters, digits, '_', '-', '.' and '~' only, at most 255", clip(s))
	}
	return JobName(s), nil
}

var jobNamePattern = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

// JobID names a job among all users' jobs. Its text form is user~job.
type JobID struct {
	User UserName
	Name JobName
}

// String returns the text form, user~job.
func (id JobID) String() string { return string(id.User) + "~" + string(id.Name) }

// ParseJobID parses the text form user~job.
func ParseJobID(s string) (JobID, error) {
	user, job, ok := strings.Cut(s, "~")
	if !ok {
		return JobID{}, Errorf(InvalidParametersError, "%q does not name a job: expected USER~JOB", clip(s))
	}
	u, err := ParseUserName(user)
	if err != nil {
		return JobID{}, err
	}
	n, err := ParseJobName(job)
	return JobID{User: u, Name: n}, err
}

// MayHave says whether the caller may know and change a job: its owner and administrators may. ForbiddenUserError for others,
// UnauthorizedUserError when nobody is signed in.
func MayHave(ctx context.Context, id JobID) error {
	caller, err := CallerFrom(ctx)
	if err != nil {
		return err
	}
	if caller.User != id.User && !caller.Admin {
		return Errorf(ForbiddenUserError, "User %s is not allowed to access job %s.", caller.User, id)
	}
	return nil
}

// JobSpec is what a job protocol document (version 2) asks for.
type JobSpec struct {
	Name           JobName
	TaskRoles      []TaskRole // in the order of the document
	VirtualCluster string     // "" when the document does not say
	Storages       StorageRequest
	Priority       string     // the job priority class; "" when the document does not say
	Retries        int        // how often the whole job is tried again after it failed
	Registries     []Registry // what private images are pulled with
	Document       []byte     // as it was submitted, with the values of secrets withheld
	Warnings       []string   // what the document asks of others than this server, and nobody will do
}

// Registry is a private registry of container images.
type Registry struct {
	Server   string // host, or URL as docker login writes it
	Username string
	Password string
}

// StorageRequest is `extras.storages` of a job.
type StorageRequest struct {
	Defaults bool // an empty list: the user's default storages
	Wanted   []WantedStorage
}

// WantedStorage is one entry of `extras.storages`.
type WantedStorage struct {
	Name      StorageName
	MountPath string // "" for the default, /mnt/<name>
}

// TaskRole is a set of equal tasks of a job.
type TaskRole struct {
	Name                  string
	Image                 string
	Instances             int
	Commands              []string
	SecretCommands        bool // Commands hold values of secrets: they must reach the task by a Secret, never in its description
	Resources             Resources
	SharedMemoryMB        int
	Retries               int // of each task
	MinFailedInstances    int // the role fails when so many tasks failed; 0: never because of failed tasks alone
	MinSucceededInstances int // the role, and with it the job, succeeds when so many tasks succeeded; 0: all of all roles
}

// Resources is what each task of a role gets.
type Resources struct {
	CPU      int
	MemoryMB int
	GPU      int
}

// Mount is one storage as a job sees it.
type Mount struct {
	Storage  StorageName
	Path     string
	SubPath  string // the user's folder of a personal storage, else ""
	ReadOnly bool
}

// Submission is a job on its way in.
type Submission struct {
	Spec   JobSpec
	Source []byte // the document, without the values of its secrets

	// What the guard decides: callers leave it empty.
	Owner          UserName
	VirtualCluster string
	Mounts         []Mount
	MountTypes     []StorageType // of the storages in Mounts, each once, sorted
}

// ID names the job.
func (s Submission) ID() JobID { return JobID{User: s.Owner, Name: s.Spec.Name} }

// JobState says how far a job or a task is.
type JobState string

// The states of jobs and tasks.
const (
	JobWaiting   JobState = "WAITING"
	JobRunning   JobState = "RUNNING"
	JobStopping  JobState = "STOPPING"
	JobStopped   JobState = "STOPPED"
	JobSucceeded JobState = "SUCCEEDED"
	JobFailed    JobState = "FAILED"
)

// Done tells whether the state is final.
func (s JobState) Done() bool { return s == JobStopped || s == JobSucceeded || s == JobFailed }

// Job is a job as it is now.
type Job struct {
	ID             JobID
	UID            string
	Object         string // the name of its record in Kubernetes, to look further with kubectl
	VirtualCluster string
	State          JobState
	Message        string // why it failed or waits, as far as Kubernetes says
	Submitted      time.Time
	Started        time.Time // zero before the first task runs
	Completed      time.Time // zero until it is done
	ExitCode       *int      // of the task that decided the job's end
	ExitRole       string
	ExitTask       int
	Stopped        bool // somebody stopped it, or wants it to
	Attempt        int  // which one this is, from 0; a job that failed is tried again as often as its document says
	Priority       string
	Tags           []string      // sorted
	Storages       []StorageName // that it mounts, in the order of the document
	Finding        *Finding      // why it waits, or failed: the first of its diagnosis; nil when there is nothing to say
	Roles          []RoleStatus
}

// RoleStatus is a task role of a job as it is now.
type RoleStatus struct {
	Name  string
	Tasks []TaskStatus
}

// TaskStatus is a task of a job as it is now.
type TaskStatus struct {
	Index     int
	UID       string // of its latest pod; "" before there is one
	State     JobState
	Message   string
	IP        string
	Node      string
	Retries   int
	ExitCode  *int
	Created   time.Time
	Started   time.Time
	Completed time.Time
}

// TaskHistory is every attempt at a task.
type TaskHistory struct {
	Job      JobID
	Attempt  int // of the job
	Role     string
	Attempts []TaskStatus // in their order; the last is the task as it is now
}

// JobEvent is what Kubernetes said about a task of a job.
type JobEvent struct {
	UID       string
	Object    string // the name of what it is about, usually the task's pod
	PodUID    string
	Role      string
	Task      int    // -1 when it is about no task in particular
	Type      string // Normal or Warning
	Reason    string
	Message   string
	First     time.Time
	Last      time.Time
	Count     int
	Component string // who said it
	Host      string // where; "" when that does not matter
}

// LogRequest asks for the log of one task.
type LogRequest struct {
	Job    JobID
	Role   string // "" for the first role
	Task   int
	Tail   int  // the last so many lines; 0 for all
	Follow bool // wait for the task to start, and go on until it ends
}

// JobService runs jobs.
type JobService interface {
	// Submit starts a job of the caller's. ConflictJobError when the caller has a job of that name, NoStorageError and
	// ForbiddenUserError, with the list of those the caller may use, for storages that do not exist or were not granted,
	// NoVirtualClusterError and ForbiddenUserError for the virtual cluster, InvalidParametersError for mount paths that clash.
	Submit(ctx context.Context, s Submission) (JobID, error)

	// Job finds one. NoJobError when there is none, ForbiddenUserError for everyone but its owner and administrators.
	Job(ctx context.Context, id JobID) (Job, error)

	// Jobs lists the jobs that the query selects, of the caller alone unless the caller is an administrator.
	Jobs(ctx context.Context, q JobQuery) (JobPage, error)

	// JobAttempt is a job as one of its attempts left it. NoJobError, also for an attempt that never was. Who may: as for Job.
	JobAttempt(ctx context.Context, id JobID, attempt int) (Job, error)

	// JobConfig is the document of a job as it was submitted, with the values of secrets withheld. NoJobError, NoJobConfigError. Who may:
	// as for Job.
	JobConfig(ctx context.Context, id JobID) ([]byte, error)

	// TaskHistory is every attempt at a task, within one attempt of the job. NoJobError, NoTaskError. Who may: as for Job.
	TaskHistory(ctx context.Context, id JobID, attempt int, role string, task int) (TaskHistory, error)

	// JobEvents is what Kubernetes said about the tasks of a job, the latest first. Kubernetes forgets after an hour. Who may: as for Job.
	JobEvents(ctx context.Context, id JobID) ([]JobEvent, error)

	// Diagnose says why a job waits, failed, or does not end. Who may: as for Job.
	Diagnose(ctx context.Context, id JobID) (Diagnosis, error)

	// StopJob ends the tasks of a job. It returns when that is asked for, not when it is done; a job that is done stays as it is. Who may:
	// as for Job.
	StopJob(ctx context.Context, id JobID) error

	// DeleteJob ends the tasks of a job and forgets it. NoJobError. Who may: as for Job.
	DeleteJob(ctx context.Context, id JobID) error

	// TagJob adds a tag to a job; one that it has already stays. Who may: as for Job. InvalidParametersError for what cannot be a tag.
	TagJob(ctx context.Context, id JobID, tag string) error

	// UntagJob takes a tag off a job. NoTagError when it does not have it. Who may: as for Job.
	UntagJob(ctx context.Context, id JobID, tag string) error

	// Log opens the log of a task; the caller closes it. Who may: as for Job. NoJobError, NoTaskError, and NoTaskLogError when the
	// task has not started and the request does not follow.
	Log(ctx context.Context, r LogRequest) (io.ReadCloser, error)
}

// NoJob is the error for a job that does not exist.
func NoJob(id JobID) *Error { return Errorf(NoJobError, "Job %s is not found.", id) }

// NoStorage is the error for a storage that does not exist.
func NoStorage(name StorageName) *Error {
	return Errorf(NoStorageError, "Storage %s is not found.", name)
}

// NoTask is the error for a task that does not exist.
func NoTask(role string, index int) *Error {
	return Errorf(NoTaskError, "Task %s is not found.", fmt.Sprintf("%s[%d]", role, index))
}
