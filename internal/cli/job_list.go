package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

type jobListOptions struct {
	streams  *Streams
	states   []string
	owner    string
	vc       string
	keyword  string
	tags     []string
	without  []string
	storage  string
	order    string
	limit    int
	allUsers bool
}

func newJobList(s *Streams) *cobra.Command {
	o := &jobListOptions{streams: s}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List your jobs, the latest first; administrators may see all",
		Long: `List your jobs, the latest first. The last column says why a job waits or failed; on a terminal it is cut to the width,
and "paictl job explain" says everything.

Administrators see the jobs of somebody else with --owner, and those of all with --all-users.`,
		Example: `  paictl job list
  paictl job list --state waiting,running
  paictl job list --storage datasets --tag nightly --order completionTime,DESC
  paictl job list --all-users --state waiting --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runJobList(cmd.Context(), o, cmd) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.states, "state", nil, "in one of these states: waiting, running, stopping, stopped, succeeded, failed")
	f.StringVar(&o.owner, "owner", "", "of this user (administrators)")
	f.BoolVarP(&o.allUsers, "all-users", "A", false, "of all users (administrators)")
	f.StringVar(&o.vc, "vc", "", "in this virtual cluster")
	f.StringVar(&o.keyword, "keyword", "", "with this as a part of their name, their user's or their virtual cluster's")
	f.StringSliceVar(&o.tags, "tag", nil, "with one of these tags")
	f.StringSliceVar(&o.without, "without-tag", nil, "with none of these tags")
	f.StringVar(&o.storage, "storage", "", "that mount this storage")
	f.StringVar(&o.order, "order", "", "sorted by FIELD,ASC or FIELD,DESC, such as completionTime,DESC")
	f.IntVar(&o.limit, "limit", 100, "at most so many")
	cmd.MarkFlagsMutuallyExclusive("owner", "all-users")
	completeFlag(cmd, "owner", userNames)
	completeFlag(cmd, "storage", storageNames)
	completeWords(cmd, "state", stateWords())
	completeWords(cmd, "order", orderWords())
	return cmd
}

// jobStates are the words that --state takes, in the order in which jobs come to them.
var jobStates = []pai.JobState{pai.JobWaiting, pai.JobRunning, pai.JobStopping, pai.JobStopped, pai.JobSucceeded, pai.JobFailed}

func stateWords() (words []string) {
	for _, state := range jobStates {
		words = append(words, strings.ToLower(string(state)))
	}
	return words
}

func orderWords() (words []string) {
	for _, field := range pai.JobFields {
		words = append(words, string(field)+",ASC", string(field)+",DESC")
	}
	return words
}

// query is what the flags ask for.
func (o *jobListOptions) query(user string) (pai.JobQuery, error) {
	q := pai.JobQuery{VirtualCluster: o.vc, Keyword: o.keyword, TagsAny: o.tags, TagsNone: o.without, Limit: o.limit}
	if o.limit < 1 || o.limit > pai.MaxJobLimit {
		return q, usageError{fmt.Errorf("--limit %d: from 1 to %d", o.limit, pai.MaxJobLimit)}
	}
	for _, word := range o.states {
		state, err := parseState(word)
		if err != nil {
			return q, err
		}
		q.States = append(q.States, state)
	}
	var err error
	if q.Order, err = pai.ParseJobOrder(o.order); err != nil {
		return q, usageError{err}
	}
	if o.storage != "" {
		if q.Storage, err = pai.ParseStorageName(o.storage); err != nil {
			return q, usageError{err}
		}
	}
	if !o.allUsers {
		if q.User, err = pai.ParseUserName(firstOf(o.owner, user)); err != nil {
			return q, usageError{err}
		}
	}
	return q, nil
}

func parseState(word string) (pai.JobState, error) {
	for _, state := range jobStates {
		if strings.EqualFold(word, string(state)) {
			return state, nil
		}
	}
	return "", usageError{fmt.Errorf("--state %q: choose of %s", word, strings.Join(stateWords(), ", "))}
}

// jobListResult is a list of jobs, and how many there would be without --limit.
type jobListResult struct {
	Jobs  []client.JobSummary `json:"jobs"`
	Total int                 `json:"total"`
}

func runJobList(ctx context.Context, o *jobListOptions, cmd *cobra.Command) error {
	c, t, err := connect(cmd)
	if err != nil {
		return err
	}
	q, err := o.query(t.user)
	if err != nil {
		return err
	}
	if err := maySeeJobs(ctx, c, t, q.User); err != nil {
		return err
	}
	list, total, err := c.Jobs(ctx, q)
	if err != nil {
		return err
	}
	if list == nil {
		list = []client.JobSummary{}
	}
	if total > len(list) {
		fmt.Fprintf(o.streams.Err, "These are %d of %d; more with: --limit %d\n", len(list), total, min(total, pai.MaxJobLimit))
	}
	return printResult(o.streams, cmd, jobListResult{list, total}, func() error { return o.print(list, q.User != pai.UserName(t.user)) })
}

// maySeeJobs refuses what the server would answer with an empty list, which says something else. The login may be older than the rights.
func maySeeJobs(ctx context.Context, c *client.Client, t target, owner pai.UserName) error {
	if t.admin || string(owner) == t.user {
		return nil
	}
	if self, err := c.Self(ctx); err != nil || self.Admin {
		return err
	}
	return pai.Errorf(pai.ForbiddenUserError, "user %s is not allowed to see the jobs of others", t.user)
}

// print prints the jobs, with their users when they are of several.
func (o *jobListOptions) print(list []client.JobSummary, users bool) error {
	now := time.Now()
	var rows [][]string
	for _, j := range list {
		name := j.Name
		if users {
			name = j.Username + "~" + j.Name
		}
		rows = append(rows, []string{name, string(j.State), submittedAgo(now, j.SubmissionTime), j.VirtualCluster, strconv.Itoa(j.TotalTaskNumber),
			strings.Join(j.Storages, ","), findingLine(j.Finding)})
	}
	return term.CutTable(o.streams.Out, []string{"JOB", "STATE", "AGE", "VC", "TASKS", "STORAGES", "WHY"}, rows)
}

func submittedAgo(now time.Time, t *client.Time) string {
	if t == nil {
		return ""
	}
	return age(now, t.Time)
}

// findingLine is the first line of what was found, "" when nothing was.
func findingLine(f *client.Finding) string {
	if f == nil {
		return ""
	}
	line, _, _ := strings.Cut(f.Line, "\n")
	return line
}

// age says how long ago something was, as roughly as people do.
func age(now, then time.Time) string {
	d := max(now.Sub(then), 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
