package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// request is what [Serve] is to do.
type request struct {
	Op       string    `json:"op"` // mount, unmount, bind, usage, mounted, served, check
	Target   string    `json:"target,omitempty"`
	Source   string    `json:"source,omitempty"`
	Volume   Volume    `json:"volume,omitzero"`
	Secret   Secret    `json:"secret,omitempty"`
	ReadOnly bool      `json:"readOnly,omitempty"`
	Deadline time.Time `json:"deadline,omitzero"`
}

// answer is what it says.
type answer struct {
	Error   *answerError `json:"error,omitempty"`
	Usage   *Usage       `json:"usage,omitempty"`
	Mounted bool         `json:"mounted,omitempty"`
	Served  []Served     `json:"served,omitempty"`
	Checked *Checked     `json:"checked,omitempty"`
}

type answerError struct {
	Op      string `json:"op"`
	Output  string `json:"output,omitempty"`
	Cause   string `json:"cause"`
	Timeout bool   `json:"timeout,omitempty"`
	Errno   int    `json:"errno,omitempty"`
}

// toAnswer makes any error ready for the way to another process.
func toAnswer(op string, err error) *answerError {
	a := &answerError{Op: op, Cause: err.Error(), Timeout: errors.Is(err, context.DeadlineExceeded), Errno: errno(err)}
	if known := (*Error)(nil); errors.As(err, &known) {
		a.Op, a.Output = known.Op, known.Output
		if known.Err != nil {
			a.Cause = known.Err.Error()
		}
	}
	return a
}

// error is the way back. errors.Is finds the kernel's numbers and [context.DeadlineExceeded] in it.
func (a *answerError) error() error {
	if a == nil {
		return nil
	}
	err := errors.New(a.Cause)
	switch {
	case a.Timeout:
		err = told{a.Cause, context.DeadlineExceeded}
	case a.Errno != 0:
		err = told{a.Cause, unix.Errno(a.Errno)}
	}
	return &Error{Op: a.Op, Output: a.Output, Err: err}
}

// told is an error that another process had: what it said, and which of the known ones it is.
type told struct {
	text string
	is   error
}

func (t told) Error() string { return t.text }
func (t told) Unwrap() error { return t.is }

// Serve does what one line of JSON asks for, and answers with one. It is the main function of the process that [Host] starts: it may hang, and
// the whole process can be given up.
func Serve(ctx context.Context, e *Engine, in io.Reader, out io.Writer) error {
	var r request
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if !r.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, r.Deadline)
		defer cancel()
	}
	var a answer
	if err := e.perform(ctx, r, &a); err != nil {
		a.Error = toAnswer(r.Op, err)
	}
	return json.NewEncoder(out).Encode(a)
}

func (e *Engine) perform(ctx context.Context, r request, a *answer) (err error) {
	switch r.Op {
	case "mount":
		return e.Mount(ctx, r.Target, r.Volume, r.Secret)
	case "unmount":
		return e.Unmount(ctx, r.Target)
	case "bind":
		return e.Bind(ctx, r.Source, r.Target, r.ReadOnly)
	case "usage":
		u, err := e.Usage(ctx, r.Target)
		a.Usage = &u
		return err
	case "mounted":
		a.Mounted, err = e.Mounted(ctx, r.Target)
		return err
	case "served":
		a.Served, err = e.Served(ctx)
		return err
	case "check":
		// The mounts are made by this thread, and by processes that it starts: all of them are in its namespace.
		runtime.LockOSThread()
		if err := Isolate(); err != nil {
			return err
		}
		c, err := e.Check(ctx, r.Volume, r.Secret)
		a.Checked = &c
		return err
	}
	return fmt.Errorf("unknown operation %q", r.Op)
}
