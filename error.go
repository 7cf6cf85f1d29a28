package pai

import (
	"errors"
	"fmt"
	"net"
)

// Code names a kind of failure. Clients of the REST API switch on it.
type Code string

// The codes of the REST API.
const (
	ConflictGroupError     Code = "ConflictGroupError"     // someone else changed the group at the same time
	ConflictJobError       Code = "ConflictJobError"       // the user has a job of that name
	ConflictStorageError   Code = "ConflictStorageError"   // there is an object of that name
	ConflictUserError      Code = "ConflictUserError"      // there is a user of that name
	ForbiddenUserError     Code = "ForbiddenUserError"     // signed in, but not allowed
	IncorrectPasswordError Code = "IncorrectPasswordError" // login
	InvalidParametersError Code = "InvalidParametersError" // the message names every fault
	MethodNotAllowedError  Code = "MethodNotAllowedError"  // the path exists, the method does not
	NoApiError             Code = "NoApiError"             // no such path
	NoGroupError           Code = "NoGroupError"
	NoJobError             Code = "NoJobError"
	NoJobConfigError       Code = "NoJobConfigError" // the job's document is not kept
	NoStorageError         Code = "NoStorageError"
	NoTagError             Code = "NoTagError"
	NoTaskError            Code = "NoTaskError"
	NoTaskLogError         Code = "NoTaskLogError" // the task has not started, so it has no log yet
	NoUserError            Code = "NoUserError"
	NoVirtualClusterError  Code = "NoVirtualClusterError"
	RemoveAdminError       Code = "RemoveAdminError"     // administrators are not deleted
	OutdatedVersionError   Code = "OutdatedVersionError" // the version that the caller insisted on is not the current one
	StorageInUseError      Code = "StorageInUseError"    // jobs mount it
	TooManyRequestsError   Code = "TooManyRequestsError"
	UnauthorizedUserError  Code = "UnauthorizedUserError" // not signed in
	UnavailableError       Code = "UnavailableError"      // the server has no current picture of the cluster yet, or Kubernetes does not answer
	UnknownError           Code = "UnknownError"          // ours to mend; the message says nothing about the cause
)

// Error is a failure that people may read: a code for programs, a message for people, and a cause for the log.
type Error struct {
	Code    Code
	Message string
	cause   error
}

// Errorf makes an [*Error] without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e that wraps cause. The cause goes into the log, not to the caller.
func (e *Error) Because(cause error) *Error {
	return &Error{Code: e.Code, Message: e.Message, cause: cause}
}

// Error returns the message, followed by the cause when there is one.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.cause.Error()
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of the first [*Error] in err's chain, [UnknownError] for any other error, and "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return UnknownError
}

// OutOfReach tells errors of the network, and answers that did not come in time, from others: trying again can help.
func OutOfReach(err error) bool {
	var network net.Error
	return errors.As(err, &network)
}
