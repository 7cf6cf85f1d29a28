package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

type jobEventsOptions struct {
	streams *Streams
	kind    string
}

func newJobEvents(s *Streams) *cobra.Command {
	o := &jobEventsOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "events JOB",
		Short: "Print what Kubernetes said about the tasks of a job",
		Long: `Print what Kubernetes said about the tasks of a job, the latest first. Kubernetes forgets it after an hour; what matters
of it is in "paictl job explain" as evidence.`,
		Example: `  paictl job events train-7
  paictl job events train-7 --type warning`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobEvents(cmd.Context(), o, cmd, args[0]) },
	}
	cmd.Flags().StringVar(&o.kind, "type", "", "normal or warning only")
	completeWords(cmd, "type", []string{"normal", "warning"})
	return cmd
}

func runJobEvents(ctx context.Context, o *jobEventsOptions, cmd *cobra.Command, arg string) error {
	kind, ok := map[string]string{"": "", "normal": "Normal", "warning": "Warning"}[strings.ToLower(o.kind)]
	if !ok {
		return usageError{fmt.Errorf("--type %q: choose normal or warning", o.kind)}
	}
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	events, err := c.JobEvents(ctx, id, kind)
	if err != nil {
		return err
	}
	if events == nil {
		events = []client.JobEvent{}
	}
	return printResult(o.streams, cmd, map[string]any{"events": events}, func() error {
		var rows [][]string
		for _, e := range events {
			rows = append(rows, []string{localTime(e.LastTimestamp), strconv.Itoa(e.Count), aboutOf(e), e.Type, e.Reason, e.Message})
		}
		return term.Table(o.streams.Out, []string{"LAST SEEN", "TIMES", "ABOUT", "TYPE", "REASON", "MESSAGE"}, rows)
	})
}

// aboutOf names what an event is about: a task, or the job as a whole.
func aboutOf(e client.JobEvent) string {
	if e.TaskroleName == "" {
		return ""
	}
	return fmt.Sprintf("%s[%d]", e.TaskroleName, e.TaskIndex)
}

// localTime writes a time of the API as people here read it; what is none stays.
func localTime(text string) string {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	return when(t)
}
