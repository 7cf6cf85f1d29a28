package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	pai "github.com/pai-storage/pai-storage"
)

// statuses is the one table from codes to statuses.
var statuses = map[pai.Code]int{
	pai.ConflictGroupError:     http.StatusConflict,
	pai.ConflictJobError:       http.StatusConflict,
	pai.ConflictStorageError:   http.StatusConflict,
	pai.ConflictUserError:      http.StatusConflict,
	pai.ForbiddenUserError:     http.StatusForbidden,
	pai.IncorrectPasswordError: http.StatusBadRequest,
	pai.InvalidParametersError: http.StatusBadRequest,
	pai.MethodNotAllowedError:  http.StatusMethodNotAllowed,
	pai.NoApiError:             http.StatusNotFound,
	pai.NoGroupError:           http.StatusNotFound,
	pai.NoJobConfigError:       http.StatusNotFound,
	pai.NoJobError:             http.StatusNotFound,
	pai.NoStorageError:         http.StatusNotFound,
	pai.NoTagError:             http.StatusNotFound,
	pai.NoTaskError:            http.StatusNotFound,
	pai.NoTaskLogError:         http.StatusNotFound,
	pai.NoUserError:            http.StatusNotFound,
	pai.NoVirtualClusterError:  http.StatusNotFound,
	pai.OutdatedVersionError:   http.StatusPreconditionFailed,
	pai.RemoveAdminError:       http.StatusForbidden,
	pai.StorageInUseError:      http.StatusConflict,
	pai.TooManyRequestsError:   http.StatusTooManyRequests,
	pai.UnauthorizedUserError:  http.StatusUnauthorized,
	pai.UnavailableError:       http.StatusServiceUnavailable,
	pai.UnknownError:           http.StatusInternalServerError,
}

// exceptions are the operations where what is missing is not what the path names but something in the body: 400, as the reference has it.
var exceptions = map[string]map[pai.Code]int{
	"basicLogin": {pai.NoUserError: http.StatusBadRequest},
	"createJob":  {pai.NoStorageError: http.StatusBadRequest, pai.NoVirtualClusterError: http.StatusBadRequest},
	"createUser": {pai.NoVirtualClusterError: http.StatusBadRequest},
	"updateUser": {pai.NoVirtualClusterError: http.StatusBadRequest},
}

func statusOf(operation string, code pai.Code) int {
	if status, ok := exceptions[operation][code]; ok {
		return status
	}
	if status, ok := statuses[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// errorBody is what every refusal looks like.
type errorBody struct {
	status  int
	Code    pai.Code `json:"code" doc:"The kind of failure, for programs" example:"NoStorageError"`
	Message string   `json:"message" doc:"What went wrong, for people"`
}

// Error makes errorBody an error.
func (e *errorBody) Error() string { return e.Message }

// GetStatus tells the library the status.
func (e *errorBody) GetStatus() int { return e.status }

// fault turns an error of the services into an answer. What is not for people is logged, and answered with the request's id.
func (s *Server) fault(ctx context.Context, operation string, err error) *errorBody {
	var known *pai.Error
	if errors.As(err, &known) && known.Code != pai.UnknownError {
		return &errorBody{status: statusOf(operation, known.Code), Code: known.Code, Message: known.Message}
	}
	r := requestFrom(ctx)
	if ctx.Err() != nil {
		return &errorBody{status: http.StatusServiceUnavailable, Code: pai.UnavailableError, Message: "the request was cancelled"}
	}
	if pai.OutOfReach(err) {
		s.options.Log.WarnContext(ctx, "no answer from what the server needs", "operation", operation, "request", r.id, "cause", err.Error())
		return &errorBody{status: http.StatusServiceUnavailable, Code: pai.UnavailableError,
			Message: fmt.Sprintf("What the server needs for this does not answer: try again in a moment. The server's log says more under request %s", r.id)}
	}
	s.options.Log.ErrorContext(ctx, "internal error", "operation", operation, "request", r.id, "cause", err.Error())
	return internal(r.id)
}

func internal(requestID string) *errorBody {
	return &errorBody{status: http.StatusInternalServerError, Code: pai.UnknownError,
		Message: fmt.Sprintf("internal error; the server's log says more under request %s", requestID)}
}

// write answers with the error outside of an operation.
func (e *errorBody) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(e)
}

// useOwnErrors replaces the error model of the library. It has no other place for it than this variable of its own.
var useOwnErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return libraryError(status, msg, errs)
	}
})

// libraryError is for what the library refuses by itself: bodies that do not fit the description, wrong parameters, sizes.
func libraryError(status int, msg string, errs []error) *errorBody {
	e := &errorBody{status: status, Code: pai.InvalidParametersError, Message: msg}
	switch {
	case status == http.StatusUnprocessableEntity:
		e.status = http.StatusBadRequest
	case status >= http.StatusInternalServerError:
		e.Code = pai.UnknownError
	}
	var details []string
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			at := d.ErrorDetail()
			details = append(details, strings.TrimPrefix(at.Location, "body.")+": "+at.Message) // never the value: it may be a secret
		} else if err != nil {
			details = append(details, err.Error())
		}
	}
	if len(details) > 0 {
		e.Message += ": " + strings.Join(details, "; ")
	}
	if status == http.StatusUnsupportedMediaType {
		e.Message += "; send it with the header Content-Type: application/json"
	}
	for said, hint := range bodyHints {
		if strings.Contains(e.Message, said) {
			e.Message += "; " + hint
		}
	}
	return e
}

// bodyHints say the way out where what the library says is not enough.
var bodyHints = map[string]string{
	"expected required property data to be present": `the fields go into "data", as in {"data": {...}, "patch": true}`,
	"expected boolean":         "true and false are written without quotes",
	"expected integer":         "numbers are written without quotes",
	"request body is required": "send a JSON object",
}
