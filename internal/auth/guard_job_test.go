package auth

import (
	"context"
	"slices"
	"testing"

	pai "github.com/pai-storage/pai-storage"
)

// heldJobs is a job that waits for a worker which alice's job, and another one of bob's, hold.
type heldJobs struct{ pai.JobService }

var heldBy = []pai.JobID{{User: "alice", Name: "other"}, {User: "bob", Name: "secret-project"}}

func (heldJobs) Job(context.Context, pai.JobID) (pai.Job, error) {
	return pai.Job{Finding: &pai.Finding{HeldBy: slices.Clone(heldBy)}}, nil
}

func (j heldJobs) JobAttempt(ctx context.Context, id pai.JobID, _ int) (pai.Job, error) {
	return j.Job(ctx, id)
}

func (heldJobs) Diagnose(context.Context, pai.JobID) (pai.Diagnosis, error) {
	return pai.Diagnosis{Findings: []pai.Finding{{HeldBy: slices.Clone(heldBy)}}}, nil
}

// TestHoldersAreNobodysBusiness: whichever way somebody asks about his job, he is not told the names of other users' jobs. Administrators are.
func TestHoldersAreNobodysBusiness(t *testing.T) {
	g := &guard{next: pai.Services{Jobs: heldJobs{}}}
	id := pai.JobID{User: "alice", Name: "train"}
	for who, want := range map[pai.Caller]int{{User: "alice"}: 1, {User: "root", Admin: true}: 2} {
		ctx := pai.WithCaller(t.Context(), who)
		job, err1 := g.Job(ctx, id)
		attempt, err2 := g.JobAttempt(ctx, id, 0)
		diagnosis, err3 := g.Diagnose(ctx, id)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		for name, got := range map[string][]pai.JobID{"job": job.Finding.HeldBy, "attempt": attempt.Finding.HeldBy, "diagnosis": diagnosis.Findings[0].HeldBy} {
			if len(got) != want {
				t.Errorf("%s is told by the %s that it is held by %v", who.User, name, got)
			}
		}
	}
}
