package doctor

import (
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// Facts is what is known about one job. Empty fields are unknown, not false.
type Facts struct {
	Now      time.Time
	Job      Job
	Roles    []Role
	Tasks    []Task // that are not done, and those that failed; the latest attempt of each
	Storages []Storage
	Nodes    []Node // all of the cluster; shared between jobs, so never changed
	// Held is what tasks hold of workers that cannot go on until somebody mends something, by worker; shared between jobs, so never changed.
	Held map[string]Hold
}

// Hold is what tasks that cannot go on hold of one worker.
type Hold struct {
	Quantity pai.Quantity // together
	By       []Holder     // in the order of users
}

// Holder is a job whose tasks hold something and cannot go on.
type Holder struct {
	Job      pai.JobID
	Code     string // why, in the catalogue
	Quantity pai.Quantity
}

// Job is the job as a whole.
type Job struct {
	ID        pai.JobID
	State     pai.JobState
	Submitted time.Time
	HalfMade  bool   // the server died while it made the job
	Held      bool   // its tasks are made when its storages are bound
	Stopped   bool   // somebody stopped it
	Aside     *Aside // its tasks gave back their workers; nil when they did not
}

// Aside is why a job has no tasks for a while: they could not mount its storages for too long.
type Aside struct {
	Since, Until time.Time
	Finding      pai.Finding // as it was then
}

// Role is a task role, which Kubernetes makes the tasks of.
type Role struct {
	Name      string
	Resources pai.Quantity // of each task
	Events    []Event      // about the role itself: tasks that could not be made
	Missing   int          // tasks that have no pod yet
}

// Task is the latest attempt at a task.
type Task struct {
	Name    string // role[index]
	Role    string
	State   pai.JobState
	Image   string
	Node    string // "" while no worker is found
	Created time.Time
	Bound   time.Time // when a worker was found

	Unschedulable string // what the scheduler says
	Sandbox       *bool  // the worker has mounted everything and made the task's network; nil: it has not said
	Waiting       Waiting
	Init          []Container // what runs before the task, in order
	Main          Container
	PodReason     string // Evicted, NodeLost, ...
	PodMessage    string
	Deleting      time.Time // when it was told to end; zero when it was not
	Events        []Event
}

// Container is what a worker says about one container.
type Container struct {
	Name    string
	Running bool
	Waiting Waiting
	Ended   *Ended
}

// Waiting is why a container waits.
type Waiting struct{ Reason, Message string }

// Ended is how a container ended.
type Ended struct {
	Reason  string
	Message string // what it said itself
	Code    int
	At      time.Time
}

// Event is something that Kubernetes said.
type Event struct {
	Reason, Message, Component string
	Warning                    bool
	Last                       time.Time
}

// Storage is a storage that the job mounts.
type Storage struct {
	Name      pai.StorageName
	Path      string // in the task
	Personal  bool
	ReadOnly  bool
	Type      pai.StorageType
	Volume    string // "" while none is bound
	Server    string // host name or address; "" where there is none
	Export    string // what of the server: a path, or a share
	Address   string // host:port to ask; "" where asking is not possible
	Driver    string // of FlexVolume or CSI; "" for what the worker does itself
	CSI       bool   // the driver is one of CSI
	Secret    string // NAMESPACE/NAME of what it is mounted with; "" without
	Claim     ClaimFault
	Events    []Event // about the claim
	Probe     *Probe  // what the server said when it was asked; nil when it was not
	HostLocal bool    // it is a directory of the worker itself
	// Checks are why workers cannot use it, by worker, as their agents found out; those that can are not in it.
	Checks map[string]Check
}

// ClaimFault is why a claim cannot be used.
type ClaimFault struct {
	Kind ClaimKind // "" when it can
	Text string    // in words that name the things at fault
	// Object is the volume at fault, if one is.
	Object string
	Fix    string // "" for the catalogue's own
	Since  time.Time
}

// ClaimKind is a kind of fault of a claim.
type ClaimKind string

// The faults of claims.
const (
	ClaimMissing       ClaimKind = "missing"
	ClaimTerminating   ClaimKind = "terminating"
	ClaimLost          ClaimKind = "lost"
	ClaimNoVolume      ClaimKind = "no volume"
	ClaimSelector      ClaimKind = "selector"
	ClaimSize          ClaimKind = "size"
	ClaimModes         ClaimKind = "modes"
	ClaimClass         ClaimKind = "class"
	ClaimReleased      ClaimKind = "released"
	ClaimTaken         ClaimKind = "taken"
	ClaimVolumeMissing ClaimKind = "volume missing"
	ClaimShare         ClaimKind = "share"
	ClaimDevice        ClaimKind = "device"
	ClaimVolumeMode    ClaimKind = "volume mode"
	ClaimStuck         ClaimKind = "stuck" // nothing is in the way that could be seen, and it is not bound
	ClaimDefaultClass  ClaimKind = "default class"
	ClaimVolumeFailed  ClaimKind = "volume failed"
	ClaimVolumeLeaves  ClaimKind = "volume leaves"
	ClaimFirstJob      ClaimKind = "first job" // no fault: it binds with the first job
	ClaimSoon          ClaimKind = "soon"      // Kubernetes is about to bind it
)

// Probe is what a storage's server said when the REST server asked it.
type Probe struct {
	Result ProbeResult
	Detail string
	At     time.Time
}

// ProbeResult is how a server answered.
type ProbeResult string

// The answers.
const (
	ProbeOK          ProbeResult = "ok"
	ProbeTimeout     ProbeResult = "timeout"
	ProbeRefused     ProbeResult = "refused"
	ProbeUnreachable ProbeResult = "unreachable"
	ProbeNoName      ProbeResult = "no name"
	ProbeVersion     ProbeResult = "version" // it speaks other versions of the protocol
	ProbeSilent      ProbeResult = "silent"  // it takes connections and does not answer
)

// Node is a worker.
type Node struct {
	Name        string
	Ready       bool
	Reason      string // why it is not ready
	Since       time.Time
	Cordoned    bool
	CannotMount map[pai.StorageType]bool // what its agent says it cannot mount
	CanMount    map[pai.StorageType]bool // what its agent says it can
	Capacity    pai.Quantity             // what tasks can have of it: what it has less what pods ask for that are no tasks
	Drivers     []string                 // CSI drivers that have registered
	DriversSaid bool                     // the worker has said which
	Has         *Equipment               // what its agent found there; nil when it has not said
}
