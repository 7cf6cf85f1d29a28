package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/client"
	"github.com/pai-storage/pai-storage/internal/term"
)

type auditOptions struct {
	streams *Streams
	by      string
	action  string
	kind    string
	name    string
	last    time.Duration
	limit   int
}

func newAudit(s *Streams) *cobra.Command {
	o := &auditOptions{streams: s}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what (administrators)",
		Long: `Show who changed which group, user, token, storage or SMB password, from what to what, when and from where; the newest first.
What administrators did with a kubeconfig is there too (paictl config push, service, node prepare), by the name that Kubernetes knows them by. Changes are told in words; "--output json" has each
field as it was and is.`,
		Example: `  paictl audit
  paictl audit --kind group --name research --last 24h
  paictl audit --by admin --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAudit(cmd.Context(), o, cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.by, "by", "", "changes by this user")
	f.StringVar(&o.action, "action", "", "create, change or delete")
	f.StringVar(&o.kind, "kind", "", "of this kind of thing: group, user, token, storage, storage-password, job, configuration, service or node")
	f.StringVar(&o.name, "name", "", "of the thing of this name")
	f.DurationVar(&o.last, "last", 0, "not older than this, such as 24h")
	f.IntVar(&o.limit, "limit", 100, "at most so many")
	return cmd
}

func runAudit(ctx context.Context, o *auditOptions, cmd *cobra.Command) error {
	if o.limit < 1 || o.last < 0 {
		return usageError{fmt.Errorf("--limit and --last take what is more than nothing; see %q", cmd.CommandPath()+" --help")}
	}
	q := pai.AuditQuery{User: pai.UserName(o.by), Action: pai.AuditAction(o.action), Kind: o.kind, Name: o.name}
	if o.last > 0 {
		q.Since = time.Now().Add(-o.last)
	}
	c, _, err := connect(cmd)
	if err != nil {
		return err
	}
	list, err := auditPages(ctx, c, q, o.limit)
	if err != nil {
		return err
	}
	return printResult(o.streams, cmd, map[string]any{"entries": list}, func() error {
		var rows [][]string
		for _, e := range list {
			rows = append(rows, []string{
				e.Time.Local().Format("2006-01-02 15:04:05"), firstOf(e.User, "(server)"), e.Address, e.Action, e.Kind + " " + e.Name, changeText(e),
			})
		}
		return term.Table(o.streams.Out, []string{"TIME", "WHO", "FROM", "DID", "WHAT", "CHANGE"}, rows)
	})
}

// auditPages asks for page after page until there are enough.
func auditPages(ctx context.Context, c *client.Client, q pai.AuditQuery, limit int) ([]client.AuditEntry, error) {
	list := []client.AuditEntry{}
	for {
		q.Limit = min(limit-len(list), 1000)
		page, next, err := c.Audit(ctx, q)
		if err != nil {
			return nil, err
		}
		list = append(list, page...)
		if q.Before = next; next == "" || len(list) >= limit {
			return list, nil
		}
	}
}
