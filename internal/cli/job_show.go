package cli

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newJobShow(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "show JOB",
		Short: "Show a job and its tasks",
		Long:  `Show a job and its tasks. JOB is USER~NAME, or the NAME alone of one of your own.`,
		Example: `  paictl job show train-7
  paictl job show alice~train-7 --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runJobShow(cmd.Context(), s, cmd, args[0]) },
	}
}

func runJobShow(ctx context.Context, s *Streams, cmd *cobra.Command, arg string) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	id, err := jobArgument(arg, t.user)
	if err != nil {
		return err
	}
	job, err := c.Job(ctx, id)
	if err != nil {
		return err
	}
	return printResult(s, cmd, job, func() error { return printJob(s, id, job) })
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

func printJob(s *Streams, id pai.JobID, j client.Job) error {
	st := j.JobStatus
	rows := [][]string{
		{"job", id.String()}, {"state", string(st.State)}, {"message", st.Message}, {"virtual cluster", st.VirtualCluster},
		{"submitted", moment(st.SubmissionTime)}, {"started", moment(st.LaunchedTime)}, {"completed", moment(st.CompletedTime)},
		{"exit code", number(st.AppExitCode)},
	}
	rows = slices.DeleteFunc(rows, func(r []string) bool { return r[1] == "" })
	if err := term.Table(s.Out, nil, rows); err != nil {
		return err
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

func moment(ms *int64) string {
	if ms == nil {
		return ""
	}
	return time.UnixMilli(*ms).Format(time.RFC3339)
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
