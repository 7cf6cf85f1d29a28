package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

func newJobExplain(s *Streams) *cobra.Command {
	return &cobra.Command{
		Use:     "explain JOB",
		Aliases: []string{"diagnose"},
		Short:   "Say why a job waits, failed, or does not end",
		Long: `Say why a job waits, failed, or does not end: for each reason its code, what is at fault, what mends it and who can do
that, which tasks it holds up, since when, and the evidence. The most telling reason comes first.

Exit status: 0 also when there is something to say, 3 not signed in or not allowed, 4 no such job.`,
		Example: `  paictl job explain train-7
  paictl job explain alice~train-7 --output json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeNames(1, jobNames),
		RunE:              func(cmd *cobra.Command, args []string) error { return runJobExplain(cmd.Context(), s, cmd, args[0]) },
	}
}

func runJobExplain(ctx context.Context, s *Streams, cmd *cobra.Command, arg string) error {
	c, id, err := connectFor(cmd, arg)
	if err != nil {
		return err
	}
	diagnosis, err := c.Diagnosis(ctx, id)
	if err != nil {
		return err
	}
	return printResult(s, cmd, diagnosis, func() error {
		if len(diagnosis.Findings) > 0 {
			return printDiagnosis(s.Out, diagnosis)
		}
		job, err := c.Job(ctx, id)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Out, "job %s is %s\n%s\n", diagnosis.Job, diagnosis.State, wellText(diagnosis.State, job.JobStatus))
		return err
	})
}

func printDiagnosis(w io.Writer, d client.Diagnosis) error {
	if _, err := fmt.Fprintf(w, "job %s is %s\n", d.Job, d.State); err != nil {
		return err
	}
	for _, f := range d.Findings {
		if err := printFinding(w, f); err != nil {
			return err
		}
	}
	return nil
}

// wellText is what there is to say of a job about which nothing was found.
func wellText(state pai.JobState, s client.JobStatus) string {
	took := ""
	if s.LaunchedTime != nil && s.CompletedTime != nil {
		took = s.CompletedTime.Sub(s.LaunchedTime.Time).Round(time.Second).String()
	}
	switch {
	case state == pai.JobSucceeded && took != "":
		return "succeeded in " + took
	case state == pai.JobSucceeded:
		return "succeeded"
	case state == pai.JobStopped && took != "":
		return "stopped after " + took
	case state == pai.JobStopped:
		return "stopped before a task of it ran"
	case state == pai.JobStopping:
		return "it was told to stop, and nothing that is known keeps it from that"
	case state == pai.JobFailed:
		return "why is not known any more; see: paictl job events"
	}
	return "nothing that is known stands in its way"
}

// printFinding prints one reason: the sentence, and everything else that is known below it.
func printFinding(w io.Writer, f client.Finding) error {
	return printFindingAs(w, f.Code+": "+f.Message, f)
}

// printFindingAs is printFinding with another first line.
func printFindingAs(w io.Writer, title string, f client.Finding) error {
	if _, err := fmt.Fprintf(w, "\n%s\n", term.Plain(title)); err != nil {
		return err
	}
	rows := [][]string{{"to do", f.Fix}, {"by", fixerOf(f, time.Now())}, {"about", f.Object}, {"tasks", strings.Join(f.Tasks, ", ")},
		{"held by", strings.Join(f.HeldBy, ", ")}, {"since", moment(f.Since)}}
	name := "evidence"
	for line := range strings.Lines(strings.TrimSpace(f.Evidence)) {
		rows = append(rows, []string{name, strings.TrimRight(line, "\r\n")})
		name = " "
	}
	var known [][]string
	for _, r := range rows {
		if r[1] != "" {
			known = append(known, []string{"  " + r[0], r[1]})
		}
	}
	return term.Table(w, nil, known)
}

// fixers say who can mend what was found.
var fixers = map[pai.Fixer]string{
	pai.FixedByUser:          "you, or whoever owns the job",
	pai.FixedByAdministrator: "an administrator",
	pai.FixedByWaiting:       "nobody: it passes with time",
}

// fixerOf says who can mend what was found. What has not passed within a minute may not pass at all.
func fixerOf(f client.Finding, now time.Time) string {
	if f.Who == pai.FixedByWaiting && f.Since != nil && now.Sub(f.Since.Time) > time.Minute {
		return "nobody, as far as is known; when it lasts, ask an administrator"
	}
	return fixers[f.Who]
}
