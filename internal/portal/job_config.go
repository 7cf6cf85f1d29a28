package portal

import (
	"net/http"
	"strings"

	pai "github.com/pai-storage/pai-storage"
)

// jobConfigData is the page of the document that a job was submitted with.
type jobConfigData struct {
	Caller   pai.Caller
	ID       pai.JobID
	Document string
}

func (p *Portal) jobConfig(w http.ResponseWriter, r *http.Request) error {
	caller, err := pai.CallerFrom(r.Context())
	if err != nil {
		return err
	}
	id, err := jobIn(r)
	if err != nil {
		return err
	}
	document, err := p.services.Jobs.JobConfig(r.Context(), id)
	if err != nil {
		return err
	}
	return p.render(w, http.StatusOK, "job_config.html", jobConfigData{Caller: caller, ID: id, Document: strings.ToValidUTF8(string(document), "\uFFFD")})
}
