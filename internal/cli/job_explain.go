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
	return printResult(s, cmd, diagnosis, func() error { return printDiagnosis(s.Out, diagnosis) })
}

func printDiagnosis(w io.Writer, d client.Diagnosis) error {
	if _, err := fmt.Fprintf(w, "job %s is %s\n", d.Job, d.State); err != nil {
		return err
	}
	if len(d.Findings) == 0 {
		_, err := fmt.Fprintln(w, "nothing that is known stands in its way")
		return err
	}
	for _, f := range d.Findings {
		if err := printFinding(w, f); err != nil {
			return err
		}
	}
	return nil
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
