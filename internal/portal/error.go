package portal

import (
	"errors"
	"net/http"

	pai "github.com/pai-storage/pai-storage"
)

// handler is a page or an action; its error becomes a page.
type handler func(http.ResponseWriter, *http.Request) error

// page is the one adapter from handlers to HTTP.
func (p *Portal) page(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			p.fail(w, r, err)
		}
	})
}

// statuses of the errors that people can do something about. Any other is ours to mend.
var statuses = map[pai.Code]int{
	pai.ForbiddenUserError:     http.StatusForbidden,
	pai.InvalidParametersError: http.StatusBadRequest,
	pai.NoApiError:             http.StatusNotFound,
	pai.NoJobConfigError:       http.StatusNotFound,
	pai.NoJobError:             http.StatusNotFound,
	pai.NoTaskError:            http.StatusNotFound,
	pai.TooManyRequestsError:   http.StatusTooManyRequests,
	pai.UnavailableError:       http.StatusServiceUnavailable,
}

// errorData is what the page of an error shows.
type errorData struct {
	Title, Message, Request string
}

// fail answers with the page of an error, or with the form for those who are not signed in.
func (p *Portal) fail(w http.ResponseWriter, r *http.Request, err error) {
	if pai.CodeOf(err) == pai.UnauthorizedUserError {
		setSession(w, r, "")
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	status, data := p.explain(r, err)
	if fault := p.render(w, status, "error.html", data); fault != nil {
		p.options.Log.Error("the page of an error cannot be rendered", "request", data.Request, "cause", fault.Error())
		http.Error(w, data.Message, status)
	}
}

// explain says what people are told of an error. What is not for them is logged.
func (p *Portal) explain(r *http.Request, err error) (int, errorData) {
	var known *pai.Error
	if errors.As(err, &known) {
		if status, ok := statuses[known.Code]; ok {
			return status, errorData{Title: http.StatusText(status), Message: known.Message}
		}
	}
	id := requestFrom(r.Context()).id
	if pai.OutOfReach(err) {
		p.options.Log.Warn("no answer from what the server needs", "operation", r.Pattern, "request", id, "cause", err.Error())
		return http.StatusServiceUnavailable, errorData{Title: http.StatusText(http.StatusServiceUnavailable),
			Message: "What the server needs for this does not answer: try again in a moment.", Request: id}
	}
	p.options.Log.Error("internal error", "operation", r.Pattern, "request", id, "cause", err.Error())
	return http.StatusInternalServerError, errorData{Title: "Internal error", Message: "Something went wrong here.", Request: id}
}
