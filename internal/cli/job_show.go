package cli

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newJobShow(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show JOB",
		Short: "Show a job and its tasks",
		Long:  `Show a job and its tasks, and the first reason why it waits or failed. JOB is USER~NAME, or the NAME alone of one of your own.`,
		Example: `  paictl job show train-7
  paictl job show alice~train-7 --output json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobShow(cmd.Context(), s, cmd, args[0]) },
	}
}

// jobShowResult is a job, and the storages that it mounts.
type jobShowResult struct {
	client.Job
	Storages []string `json:"storages"`
}

func runJobShow(ctx context.Context, s *Streams, cmd *cobra.Command, arg string) error {
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	job, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	storages, err := storagesOf(ctx, c, id)
	if err != nil {
		return err
	}
	return printResult(s, cmd, jobShowResult{job, storages}, func() error { return printJob(s, id, job, storages) })
}

// storagesOf are those that a job mounts, which lists of jobs know.
func storagesOf(ctx context.Context, c *client.Client, id pai.JobID) ([]string, error) {
	list, _, err := c.Jobs(ctx, pai.JobQuery{User: id.User, Keyword: string(id.Name), Limit: pai.MaxJobLimit})
	if err != nil {
		return nil, err
	}
	for _, j := range list {
		if j.Name == string(id.Name) && j.Storages != nil {
			return j.Storages, nil
		}
	}
	return []string{}, nil
}

func printJob(s *Streams, id pai.JobID, j client.Job, storages []string) error {
	st := j.JobStatus
	if st.Message == findingLine(j.Finding) {
		st.Message = "" // it stands below, with everything else that is known of it
	}
	rows := [][]string{
		{"job", id.String()}, {"state", string(st.State)}, {"message", st.Message}, {"virtual cluster", st.VirtualCluster}, {"priority", j.JobPriority},
		{"storages", strings.Join(storages, ", ")}, {"tags", strings.Join(j.Tags, ", ")}, {"attempt", attemptText(st.AttemptID)},
		{"submitted", moment(st.SubmissionTime)}, {"started", moment(st.LaunchedTime)}, {"completed", moment(st.CompletedTime)},
		{"exit code", number(st.AppExitCode)},
	}
	rows = slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" })
	if err := term.Table(s.Out, nil, rows); err != nil {
		return err
	}
	if j.Finding != nil {
		if err := printFinding(s.Out, *j.Finding); err != nil {
			return err
		}
	}
	var tasks [][]string
	for _, role := range slices.Sorted(maps.Keys(j.TaskRoles)) {
		for _, t := range j.TaskRoles[role].TaskStatuses {
			tasks = append(tasks, []string{role + "[" + strconv.Itoa(t.TaskIndex) + "]", string(t.TaskState), text(t.ContainerNodeName),
				number(t.ContainerExitCode), text(t.Diagnostics)})
		}
	}
	s.Out.Write([]byte("\n"))
	return term.Table(s.Out, []string{"TASK", "STATE", "NODE", "EXIT", "MESSAGE"}, tasks)
}

// attemptText says which attempt at the job this is, of those that there was more than one of.
func attemptText(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// moment is a time for people, "" when there is none.
func moment(t *client.Time) string {
	if t == nil {
		return ""
	}
	return when(t.Time)
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
