package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

// The pauses between two questions about a job: the first while it changes, growing to the last while it does not.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 2 * time.Second
)

// patience is how often in a row the server may fail to answer before waiting ends: it may be started anew meanwhile.
const patience = 20

// jobFailedError is a job that was waited for and did not succeed.
type jobFailedError struct {
	id     pai.JobID
	state  pai.JobState
	wanted pai.JobState // when that is not success
	why    string
}

func (e jobFailedError) Error() string {
	text := fmt.Sprintf("job %s is %s", e.id, e.state)
	if e.wanted != "" {
		text += ", not " + string(e.wanted)
	}
	if e.why != "" {
		text += ": " + e.why
	}
	return text
}

// jobWatch shows on standard error how a job goes.
type jobWatch struct {
	client *client.Client
	live   *term.Live
	pause  func(context.Context, time.Duration) error
	again  func(pai.JobID) string // the command that goes on with it
}

func newJobWatch(s *Streams, c *client.Client, again func(pai.JobID) string) *jobWatch {
	return &jobWatch{client: c, live: term.NewLive(s.Err), pause: sleep, again: again}
}

// sleep waits, or ends with the context.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// until shows the job until enough says so, which it does of every job that is done.
func (w *jobWatch) until(ctx context.Context, id pai.JobID, enough func(pai.JobState) bool) (client.Job, error) {
	defer w.live.End()
	var job client.Job
	line, pause, silent := "", firstPause, 0
	for {
		next, err := w.client.Job(ctx, id)
		switch {
		case err == nil:
			job, silent = next, 0
			if now := stateLine(job); now != line {
				line, pause = now, firstPause
			}
			w.live.Set(line)
			if enough(job.JobStatus.State) {
				return job, nil
			}
		case ctx.Err() != nil:
			return job, w.ended(id, job, context.Cause(ctx))
		case !passing(err) || silent == patience:
			return job, err
		default:
			silent++
			w.live.Set("the server does not answer; asking again")
		}
		if err := w.pause(ctx, pause); err != nil {
			return job, w.ended(id, job, err)
		}
		pause = min(pause*5/4, lastPause)
	}
}

// passing tells whether asking again can help.
func passing(err error) bool {
	var refused *pai.Error
	return !errors.As(err, &refused) || refused.Code == pai.UnavailableError || refused.Code == pai.TooManyRequestsError
}

// stillGoing is the end of the waiting, and not of the job.
type stillGoing struct {
	id    pai.JobID
	state string
	what  string // has ended
	again string // the command that goes on with it
	cause error
}

func (e stillGoing) Error() string {
	return fmt.Sprintf("job %s %s, only %s ended: %v", e.id, e.state, e.what, e.cause)
}

func (e stillGoing) Unwrap() error { return e.cause }

// ended is that the waiting ended, and how the job was last.
func (w *jobWatch) ended(id pai.JobID, job client.Job, cause error) stillGoing {
	state := "goes on"
	if st := job.JobStatus.State; st != "" {
		state = "is still " + string(st)
	}
	if line := whyOf(job); line != "" {
		state += " (" + line + ")"
	}
	return stillGoing{id: id, state: state, what: "waiting for it", again: w.again(id), cause: cause}
}

// whyOf says why a job waits or failed: what was found, else what Kubernetes says.
func whyOf(j client.Job) string { return firstOf(findingLine(j.Finding), j.JobStatus.Message) }

// stateLine says in one line how a job is.
func stateLine(j client.Job) string {
	line := string(j.JobStatus.State)
	if total, counts := countTasks(j); total > 1 {
		line += fmt.Sprintf(" (%d tasks: %d waiting, %d running, %d succeeded, %d failed)",
			total, counts[pai.JobWaiting], counts[pai.JobRunning], counts[pai.JobSucceeded], counts[pai.JobFailed])
	}
	if why := whyOf(j); why != "" {
		line += ": " + why
	}
	return line
}

func countTasks(j client.Job) (int, map[pai.JobState]int) {
	total, counts := 0, map[pai.JobState]int{}
	for _, role := range j.TaskRoles {
		for _, t := range role.TaskStatuses {
			total++
			counts[t.TaskState]++
		}
	}
	return total, counts
}
