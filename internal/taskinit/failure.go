// Package taskinit makes the personal folders of a task before it starts.
//
// Its program runs in a container of its own, as root and with the whole storage mounted, which no image of a user ever has. It makes
// the user's folder for whom the task will run as, on servers that let root do everything and on those that do not, and it refuses what
// is no folder of the user's. Its rules:
//
//   - No link is followed. What is in the folder already is never touched.
//   - A folder that can be used by the task stays as it is, whoever owns it.
//   - What goes wrong is left as a [Failure], which the doctor reads.
//
// Example:
//
//	failure := taskinit.Folder{Storage: "home", Root: "/pai/storages/0", User: "alice", UID: 1000, GID: 1000}.Make()
package taskinit

import (
	"encoding/json"
	"strings"
)

// Failure is why a personal folder cannot be used. It is what task-init leaves as its termination message.
type Failure struct {
	Storage string
	User    string
	Reason  string // one of the reasons below
	Detail  string // in words
}

// The reasons.
const (
	ReasonSymlink      = "symlink"         // a symbolic link is in the folder's place
	ReasonNotDirectory = "not-a-directory" // something else is
	ReasonAbsent       = "absent"          // the storage is read-only, and the folder does not exist
	ReasonCreate       = "create"          // the server does not let anybody create it
	ReasonDenied       = "denied"          // it belongs to somebody else
	ReasonCaseClash    = "case-clash"      // it belongs to a user whose name differs in case only
	ReasonReadOnly     = "read-only"       // the server lets only read
	ReasonNoSpace      = "no-space"
	ReasonStale        = "stale"
	ReasonIO           = "io"
)

// maxMessage keeps the message within what Kubernetes keeps of one.
const maxMessage = 2000

type failureJSON struct {
	Version int    `json:"paiTaskInit"`
	Storage string `json:"storage"`
	User    string `json:"user"`
	Reason  string `json:"reason"`
	Detail  string `json:"detail"`
}

// Message is the failure as one line of JSON.
func (f Failure) Message() string {
	for {
		text, err := json.Marshal(failureJSON{1, f.Storage, f.User, f.Reason, f.Detail})
		if err == nil && len(text) <= maxMessage {
			return string(text)
		}
		if len(f.Detail) == 0 {
			return string(text)
		}
		f.Detail = f.Detail[:len(f.Detail)/2]
	}
}

// ParseFailure reads a message. It says no to anything else that a container may leave.
func ParseFailure(text string) (Failure, bool) {
	var f failureJSON
	if json.Unmarshal([]byte(strings.TrimSpace(text)), &f) != nil || f.Version != 1 || f.Reason == "" {
		return Failure{}, false
	}
	return Failure{Storage: f.Storage, User: f.User, Reason: f.Reason, Detail: f.Detail}, true
}
