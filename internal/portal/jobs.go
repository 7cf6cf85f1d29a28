package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// jobRows is how many jobs a page lists.
const jobRows = 200

// jobStates are those that the list can be cut down to, in the order in which jobs come to them.
var jobStates = []pai.JobState{pai.JobWaiting, pai.JobRunning, pai.JobStopping, pai.JobStopped, pai.JobSucceeded, pai.JobFailed}

// jobsData is the page of jobs.
type jobsData struct {
	Caller  pai.Caller
	Filter  jobFilter
	States  []pai.JobState
	Jobs    []*pai.JobSummary
	Total   int
	Typed   string // what was typed into the form that opens a job
	Fault   string // why that names no job
	Refresh int    // seconds; how often the page would reload by itself
}

// jobFilter is what the query string says of the list.
type jobFilter struct {
	All     bool // the jobs of all users, for administrators
	State   string
	Keyword string
	Offset  int
	Reload  bool // by itself
}

// filterFrom reads a query string.
func filterFrom(query url.Values) (jobFilter, error) {
	f := jobFilter{All: query.Get("all") != "", State: query.Get("state"), Keyword: strings.TrimSpace(query.Get("keyword")), Reload: query.Get("reload") != ""}
	if f.State != "" && !slices.Contains(jobStates, pai.JobState(f.State)) {
		return f, pai.Errorf(pai.InvalidParametersError, "%.20q is not a state of jobs.", f.State)
	}
	if text := query.Get("offset"); text != "" {
		var err error
		if f.Offset, err = strconv.Atoi(text); err != nil || f.Offset < 0 {
			return f, pai.Errorf(pai.InvalidParametersError, "%.20q is not a place in the list.", text)
		}
	}
	return f, nil
}

// query is what the filter asks the service for. What others may see is decided there.
func (f jobFilter) query(caller pai.Caller) pai.JobQuery {
	q := pai.JobQuery{Keyword: f.Keyword, Offset: f.Offset, Limit: jobRows}
	if !f.All {
		q.User = caller.User
	}
	if f.State != "" {
		q.States = []pai.JobState{pai.JobState(f.State)}
	}
	return q
}

// URL is the page of what the filter lets through.
func (f jobFilter) URL() string {
	query := url.Values{}
	for key, set := range map[string]bool{"all": f.All, "reload": f.Reload} {
		if set {
			query.Set(key, "yes")
		}
	}
	for key, value := range map[string]string{"state": f.State, "keyword": f.Keyword} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if f.Offset > 0 {
		query.Set("offset", strconv.Itoa(f.Offset))
	}
	return strings.TrimSuffix("/jobs?"+query.Encode(), "?")
}

// Everybody is the same list of the jobs of all users, or of one's own alone, from its beginning.
func (f jobFilter) Everybody(all bool) jobFilter { f.All, f.Offset = all, 0; return f }

// At is the same list from another place.
func (f jobFilter) At(offset int) jobFilter { f.Offset = max(offset, 0); return f }

// Reloading is the same page, which reloads by itself or does not.
func (f jobFilter) Reloading(on bool) jobFilter { f.Reload = on; return f }

// Unfiltered tells whether nothing was filtered out.
func (f jobFilter) Unfiltered() bool { return f.State == "" && f.Keyword == "" && f.Offset == 0 }

// First and Last are the places in the list of the first and the last job that are shown, counted from 1.
func (d jobsData) First() int { return d.Filter.Offset + 1 }
func (d jobsData) Last() int  { return d.Filter.Offset + len(d.Jobs) }

// Later is the list from where the newer jobs begin, Earlier from where this page ends.
func (d jobsData) Later() jobFilter   { return d.Filter.At(d.Filter.Offset - jobRows) }
func (d jobsData) Earlier() jobFilter { return d.Filter.At(d.Last()) }

// jobs is the list, or with "job" in the query the way to one.
func (p *Portal) jobs(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Has("job") {
		return p.findJob(w, r)
	}
	return p.jobsPage(w, r, http.StatusOK, jobsData{})
}

// jobsPage completes the page and sends it.
func (p *Portal) jobsPage(w http.ResponseWriter, r *http.Request, status int, data jobsData) error {
	var err error
	if data.Caller, err = pai.CallerFrom(r.Context()); err != nil {
		return err
	}
	if data.Filter, err = filterFrom(r.URL.Query()); err != nil {
		return err
	}
	page, err := p.services.Jobs.Jobs(r.Context(), data.Filter.query(data.Caller))
	if err != nil {
		return err
	}
	data.Jobs, data.Total, data.States, data.Refresh = page.Jobs, page.Total, jobStates, refreshSeconds
	if data.Filter.Reload {
		refresh(w)
	}
	return p.render(w, status, "jobs.html", data)
}

// findJob leads from the form that opens a job to the job's page. A name alone is one of the caller's own jobs.
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
		return p.jobsPage(w, r, http.StatusBadRequest, jobsData{Typed: typed, Fault: "That cannot be a job: type NAME, or USER~NAME."})
	}
	http.Redirect(w, r, jobURL(id), http.StatusSeeOther)
	return nil
}

// jobURL is the page of a job.
func jobURL(id pai.JobID) string { return "/jobs/" + id.String() }
