package portal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	pai "github.com/pai-storage/pai-storage"
)

// How much of a log a page shows, and how long it waits for it.
const (
	logLines   = 200
	logBytes   = 1 << 20
	logTimeout = 10 * time.Second
)

// jobData is the page of a job.
type jobData struct {
	Caller pai.Caller
	Job    pai.Job
	Role   string // whose log is shown
	Task   int
	Lines  int
	Log    string
	NoLog  string // why none is shown
}

// Shown tells whether a task is the one whose log is shown.
func (d jobData) Shown(role string, task int) bool { return role == d.Role && task == d.Task }

// findJob leads from the form for jobs to a job's page. A name alone is one of the caller's own jobs.
func (p *Portal) findJob(w http.ResponseWriter, r *http.Request) error {
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	typed := strings.TrimSpace(r.FormValue("job"))
	text := typed
	if !strings.Contains(typed, "~") {
		text = string(caller.User) + "~" + typed
	}
	id, err := pai.ParseJobID(text)
	if err != nil {
		return p.storagesPage(w, r, http.StatusBadRequest, storagesData{Job: typed, Fault: "That cannot be a job: type NAME, or USER~NAME."})
	}
	http.Redirect(w, r, "/jobs/"+id.String(), http.StatusSeeOther)
	return nil
}

func (p *Portal) job(w http.ResponseWriter, r *http.Request) error {
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	id, err := pai.ParseJobID(r.PathValue("job"))
	if err != nil {
		return pai.Errorf(pai.NoJobError, "Job %.80s is not found.", r.PathValue("job")).Because(err)
	}
	job, err := p.services.Jobs.Job(r.Context(), id)
	if err != nil {
		return err
	}
	data := jobData{Caller: caller, Job: job, Lines: logLines}
	if data.Role, data.Task, err = chosenTask(r, job); err != nil {
		return err
	}
	data.Log, data.NoLog = p.log(r, pai.LogRequest{Job: id, Role: data.Role, Task: data.Task, Tail: logLines})
	return p.render(w, http.StatusOK, "job.html", data)
}

// chosenTask is the task that the query names, the first one when it names none.
func chosenTask(r *http.Request, job pai.Job) (role string, task int, err error) {
	query := r.URL.Query()
	if role = query.Get("role"); role == "" && len(job.Roles) > 0 {
		role = job.Roles[0].Name
	}
	if text := query.Get("task"); text != "" {
		if task, err = strconv.Atoi(text); err != nil {
			return "", 0, pai.Errorf(pai.NoTaskError, "Task %.80s[%.20s] is not found.", role, text)
		}
	}
	for _, known := range job.Roles {
		if known.Name == role && task >= 0 && task < len(known.Tasks) {
			return role, task, nil
		}
	}
	if len(job.Roles) == 0 {
		return "", 0, nil
	}
	return "", 0, pai.Errorf(pai.NoTaskError, "Task %.80s[%d] is not found.", role, task)
}

// log reads the end of a task's log. A log that cannot be read is no reason to hide the job.
func (p *Portal) log(r *http.Request, wanted pai.LogRequest) (text, reason string) {
	ctx, cancel := context.WithTimeout(r.Context(), logTimeout)
	defer cancel()
	text, err := p.readLog(ctx, wanted)
	var known *pai.Error
	switch {
	case errors.As(err, &known) && known.Code == pai.NoTaskLogError:
		return "", "There is no log yet."
	case err != nil:
		_, data := p.explain(r, fmt.Errorf("log of job %s: %w", wanted.Job, err))
		if data.Request == "" {
			return "", data.Message
		}
		return "", "The log cannot be read now; the server's log says more under request " + data.Request + "."
	case text == "":
		return "", "The task has written nothing yet."
	}
	return text, ""
}

func (p *Portal) readLog(ctx context.Context, wanted pai.LogRequest) (text string, err error) {
	log, err := p.services.Jobs.Log(ctx, wanted)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	raw, err := io.ReadAll(io.LimitReader(log, logBytes+1))
	if len(raw) > logBytes {
		raw = append(raw[:logBytes], "\n... the rest is too long for a page ..."...)
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD"), err
}
