package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
)

func jobCommands(s *Streams) []*cobra.Command {
	return []*cobra.Command{
		newJobSubmit(s),
		newJobList(s),
		newJobShow(s),
		newJobExplain(s),
		newJobWait(s),
		newJobLogs(s),
		newJobEvents(s),
		newJobConfig(s),
		newJobTag(s),
		newJobUntag(s),
		newJobStop(s),
		newJobDelete(s),
	}
}

// jobArgument reads USER~NAME, or the NAME of one of the user's own jobs.
func jobArgument(arg, user string) (pai.JobID, error) {
	if !strings.Contains(arg, "~") {
		arg = user + "~" + arg
	}
	id, err := pai.ParseJobID(arg)
	if err != nil {
		return id, usageError{err}
	}
	return id, nil
}

// jobArguments reads several, each once.
func jobArguments(args []string, user string) ([]pai.JobID, error) {
	var ids []pai.JobID
	seen := map[pai.JobID]bool{}
	for _, arg := range args {
		id, err := jobArgument(arg, user)
		if err != nil {
			return nil, err
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// connectFor makes the client for a command about one job.
func connectFor(cmd *cobra.Command, arg string) (*client.Client, pai.JobID, error) {
	c, t, err := connect(cmd)
	if err != nil {
		return nil, pai.JobID{}, err
	}
	id, err := jobArgument(arg, t.user)
	return c, id, err
}

// eachJob does something to each job. What fails with one does not keep it from the others; the result is what went well, and every error.
func eachJob(ctx context.Context, ids []pai.JobID, do func(context.Context, pai.JobID) error) (done []string, faults []error) {
	done = []string{}
	for _, id := range ids {
		if err := do(ctx, id); err != nil {
			faults = append(faults, err)
			continue
		}
		done = append(done, id.String())
	}
	return done, faults
}
