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

// eventRows is how many events a page shows, the latest.
const eventRows = 100

// refreshSeconds is the pause between two loads of a page that reloads by itself, as nothing here does unless it is asked to.
const refreshSeconds = 5

// refresh lets the browser load the page again after the pause.
func refresh(w http.ResponseWriter) { w.Header().Set("Refresh", strconv.Itoa(refreshSeconds)) }

// jobData is the page of a job.
type jobData struct {
	Caller     pai.Caller
	Job        pai.Job
	Storages   []pai.StorageName
	NoStorages string // why none are shown, when they cannot be read
	Findings   []pai.Finding
	NoFindings string
	Events     []pai.JobEvent
	NoEvents   string
	Role       string // whose log is shown
	Task       int
	Lines      int
	Log        string
	NoLog      string
	Reload     bool // the page reloads by itself
	Refresh    int  // seconds; how often it would
}

// Shown tells whether a task is the one whose log is shown.
func (d jobData) Shown(role string, task int) bool { return role == d.Role && task == d.Task }

// About names what an event is about: a task, or some other object.
func (d jobData) About(e pai.JobEvent) string {
	if e.Role == "" || e.Task < 0 {
		return e.Object
	}
	return fmt.Sprintf("%s[%d]", e.Role, e.Task)
}

func (p *Portal) job(w http.ResponseWriter, r *http.Request) error {
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	id, err := jobIn(r)
	if err != nil {
		return err
	}
	job, err := p.services.Jobs.Job(r.Context(), id)
	if err != nil {
		return err
	}
	data := jobData{Caller: caller, Job: job, Lines: logLines, Refresh: refreshSeconds}
	if data.Role, data.Task, err = chosenTask(r, job); err != nil {
		return err
	}
	data.Storages, data.NoStorages = p.storagesOf(r, id)
	data.Findings, data.NoFindings = p.findings(r, job)
	data.Events, data.NoEvents = p.events(r, id)
	data.Log, data.NoLog = p.log(r, pai.LogRequest{Job: id, Role: data.Role, Task: data.Task, Tail: logLines})
	if data.Reload = !job.State.Done() && r.URL.Query().Get("reload") != ""; data.Reload {
		refresh(w)
	}
	return p.render(w, http.StatusOK, "job.html", data)
}

// storagesOf are those that a job mounts, which its summary knows.
func (p *Portal) storagesOf(r *http.Request, id pai.JobID) (storages []pai.StorageName, reason string) {
	page, err := p.services.Jobs.Jobs(r.Context(), pai.JobQuery{User: id.User, Keyword: string(id.Name), Limit: pai.MaxJobLimit})
	if err != nil {
		return nil, p.unread(r, "The list of storages", fmt.Errorf("storages of job %s: %w", id, err))
	}
	for _, j := range page.Jobs {
		if j.ID == id {
			return j.Storages, ""
		}
	}
	return nil, "" // it was deleted since
}

// findings says why a job is as it is. A diagnosis that cannot be made is no reason to hide the job.
func (p *Portal) findings(r *http.Request, job pai.Job) (found []pai.Finding, reason string) {
	diagnosis, err := p.services.Jobs.Diagnose(r.Context(), job.ID)
	if err != nil {
		return nil, p.unread(r, "The diagnosis", fmt.Errorf("diagnosis of job %s: %w", job.ID, err))
	}
	return diagnosis.Findings, ""
}

// events are what Kubernetes said. Without them the page still has everything else.
func (p *Portal) events(r *http.Request, id pai.JobID) (events []pai.JobEvent, reason string) {
	events, err := p.services.Jobs.JobEvents(r.Context(), id)
	if err != nil {
		return nil, p.unread(r, "The list of events", fmt.Errorf("events of job %s: %w", id, err))
	}
	return events[:min(len(events), eventRows)], ""
}

// unread says in place of a part of the page why it is not there.
func (p *Portal) unread(r *http.Request, part string, err error) string {
	_, data := p.explain(r, err)
	if data.Request == "" {
		return data.Message
	}
	return part + " cannot be read now; the server's log says more under request " + data.Request + "."
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
		return "", p.unread(r, "The log", fmt.Errorf("log of job %s: %w", wanted.Job, err))
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

// fixer says who can mend what was found.
func fixer(f pai.Finding) string {
	switch f.Who {
	case pai.FixedByUser:
		return "The owner of the job can mend this."
	case pai.FixedByAdministrator:
		return "An administrator can mend this."
	case pai.FixedByWaiting:
		if !f.Since.IsZero() && time.Since(f.Since) > time.Minute { // it may not pass at all
			return "Nobody has to do anything, as far as is known. When it lasts, ask an administrator."
		}
		return "Nobody has to do anything: it passes with time."
	}
	return ""
}
