package cli

import (
	"testing"
	"time"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

// TestWellText: what there is to say of a job about which nothing was found depends on how far it is.
func TestWellText(t *testing.T) {
	at := func(ms int64) *client.Time { return &client.Time{Time: time.UnixMilli(ms)} }
	ran := client.JobStatus{LaunchedTime: at(1000), CompletedTime: at(10_200)}
	for _, c := range []struct {
		state pai.JobState
		s     client.JobStatus
		want  string
	}{
		{pai.JobWaiting, client.JobStatus{}, "nothing that is known stands in its way"},
		{pai.JobRunning, client.JobStatus{LaunchedTime: at(1)}, "nothing that is known stands in its way"},
		{pai.JobStopping, client.JobStatus{LaunchedTime: at(1)}, "it was told to stop, and nothing that is known keeps it from that"},
		{pai.JobSucceeded, ran, "succeeded in 9s"},
		{pai.JobSucceeded, client.JobStatus{}, "succeeded"},
		{pai.JobStopped, ran, "stopped after 9s"},
		{pai.JobStopped, client.JobStatus{CompletedTime: at(5)}, "stopped before a task of it ran"},
		{pai.JobFailed, ran, "why is not known any more; see: paictl job events"},
	} {
		if got := wellText(c.state, c.s); got != c.want {
			t.Errorf("%s %+v: %q, want %q", c.state, c.s, got, c.want)
		}
	}
}
