package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// watched is a job that a server answers about as a list of answers says, the last one for ever.
func watched(t *testing.T, answers ...string) (*jobWatch, *strings.Builder, *[]time.Duration) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		if code, refused := strings.CutPrefix(answer, "!"); refused {
			w.WriteHeader(http.StatusServiceUnavailable)
			answer = `{"code":"` + code + `","message":"no"}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	pauses := &[]time.Duration{}
	watch := newJobWatch(&Streams{Err: &said}, c, func(id pai.JobID) string { return "paictl job wait " + id.String() })
	watch.pause = func(ctx context.Context, d time.Duration) error { *pauses = append(*pauses, d); return ctx.Err() }
	return watch, &said, pauses
}

func answerOf(state string) string { return `{"jobStatus":{"state":"` + state + `"}}` }

// TestWatchIsPolite: the pauses grow while nothing changes, and not beyond the last.
func TestWatchIsPolite(t *testing.T) {
	var answers []string
	for range 10 {
		answers = append(answers, answerOf("WAITING"))
	}
	watch, said, pauses := watched(t, append(answers, answerOf("RUNNING"), answerOf("SUCCEEDED"))...)
	job, err := watch.until(t.Context(), pai.JobID{User: "alice", Name: "x"}, pai.JobState.Done)
	if err != nil || job.JobStatus.State != pai.JobSucceeded || said.String() != "WAITING\nRUNNING\nSUCCEEDED\n" {
		t.Fatalf("%v, %v, said %q", job.JobStatus.State, err, said)
	}
	list := *pauses
	if len(list) != 11 || list[0] != firstPause || list[1] <= list[0] || list[9] != lastPause || list[10] != firstPause {
		t.Errorf("pauses %v", list)
	}
}

// TestWatchOutlivesTheServer: a server that is away for a while is asked again, and one that refuses is not.
func TestWatchOutlivesTheServer(t *testing.T) {
	id := pai.JobID{User: "alice", Name: "x"}
	watch, said, _ := watched(t, answerOf("WAITING"), "!UnavailableError", "not JSON", answerOf("SUCCEEDED"))
	if _, err := watch.until(t.Context(), id, pai.JobState.Done); err != nil || said.String() != "WAITING\nthe server does not answer; asking again\nSUCCEEDED\n" {
		t.Errorf("%v, said %q", err, said)
	}
	watch, _, pauses := watched(t, "!UnavailableError")
	if _, err := watch.until(t.Context(), id, pai.JobState.Done); pai.CodeOf(err) != pai.UnavailableError || len(*pauses) != patience {
		t.Errorf("%v after %d questions", err, len(*pauses))
	}
	watch, _, pauses = watched(t, answerOf("WAITING"), "!NoJobError")
	if _, err := watch.until(t.Context(), id, pai.JobState.Done); pai.CodeOf(err) != pai.NoJobError || len(*pauses) != 1 {
		t.Errorf("%v after %d questions", err, len(*pauses))
	}
}

// TestWatchEnds: the error says that the job goes on.
func TestWatchEnds(t *testing.T) {
	watch, _, _ := watched(t, answerOf("WAITING"))
	ctx, cancel := context.WithCancelCause(t.Context())
	watch.pause = func(context.Context, time.Duration) error { cancel(errors.New("enough")); return context.Cause(ctx) }
	_, err := watch.until(ctx, pai.JobID{User: "alice", Name: "x"}, pai.JobState.Done)
	if err == nil || err.Error() != "job alice~x is still WAITING, only waiting for it ended: enough" {
		t.Errorf("%v", err)
	}
}

// TestInterruptedIsNotTheServersFault: a request that the caller ended says why, and not that the server was not reached.
func TestInterruptedIsNotTheServersFault(t *testing.T) {
	watch, _, _ := watched(t, answerOf("WAITING"))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(signalError(syscall.SIGINT))
	if _, err := watch.client.Job(ctx, pai.JobID{User: "alice", Name: "x"}); err == nil || err.Error() != "interrupted" || statusOf(err) != 130 {
		t.Errorf("got %v", err)
	}
}
