package portal

import (
	"net/http"

	pai "github.com/pai-storage/pai-storage"
)

// stopJob asks for the end of a job and leads back to its page.
func (p *Portal) stopJob(w http.ResponseWriter, r *http.Request) error {
	id, err := jobIn(r)
	if err != nil {
		return err
	}
	if err := p.services.Jobs.StopJob(r.Context(), id); err != nil {
		return err
	}
	http.Redirect(w, r, jobURL(id), http.StatusSeeOther)
	return nil
}

// deleteJob forgets a job and leads to the others.
func (p *Portal) deleteJob(w http.ResponseWriter, r *http.Request) error {
	id, err := jobIn(r)
	if err != nil {
		return err
	}
	if err := p.services.Jobs.DeleteJob(r.Context(), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/jobs", http.StatusSeeOther)
	return nil
}

// jobIn is the job that a path names. What cannot be one names no job.
func jobIn(r *http.Request) (pai.JobID, error) {
	id, err := pai.ParseJobID(r.PathValue("job"))
	if err != nil {
		return id, pai.Errorf(pai.NoJobError, "Job %.80s is not found.", r.PathValue("job")).Because(err)
	}
	return id, nil
}
