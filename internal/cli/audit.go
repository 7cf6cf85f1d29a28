package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
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
What administrators did with a kubeconfig is there too (paictl config push, service, node prepare), by the name that Kubernetes knows them by.`,
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

// changeText is what changed, in one line: each field with what it was and is, of lists what came and went.
func changeText(e client.AuditEntry) string {
	const most = 100
	var before, after any
	for raw, to := range map[*json.RawMessage]*any{&e.Before: &before, &e.After: &after} {
		if len(*raw) > 0 {
			_ = json.Unmarshal(*raw, to) // what cannot be read shows as nothing
		}
	}
	text := strings.Join(changesOf("", before, after), ", ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "..."
	}
	return text
}

// changesOf lists the differences of two JSON values, each with its path.
func changesOf(at string, before, after any) []string {
	was, wasObject := before.(map[string]any)
	is, isObject := after.(map[string]any)
	if (wasObject || before == nil) && (isObject || after == nil) && (wasObject || isObject) {
		keys := maps.Clone(is)
		if keys == nil {
			keys = map[string]any{}
		}
		maps.Copy(keys, was)
		var out []string
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			out = append(out, changesOf(strings.TrimPrefix(at+"."+key, "."), was[key], is[key])...)
		}
		return out
	}
	x, lists1 := before.([]any)
	y, lists2 := after.([]any)
	switch {
	case lists1 && lists2:
		return []string{at + listChange(x, y)}
	case before == nil && isEmpty(after), after == nil && isEmpty(before):
		return nil
	case before == nil:
		return []string{at + " = " + valueText(after)}
	}
	return []string{at + " = " + valueText(before) + " -> " + valueText(after)}
}

// listChange says what came and what went.
func listChange(before, after []any) string {
	text := ""
	for _, sign := range []struct {
		sign      string
		from, not []any
	}{{" -", before, after}, {" +", after, before}} {
		for _, item := range sign.from {
			if !slices.ContainsFunc(sign.not, func(other any) bool { return valueText(other) == valueText(item) }) {
				text += sign.sign + valueText(item)
			}
		}
	}
	if text == "" {
		return " in another order"
	}
	return text
}

// isEmpty: a field without a value is not worth a word where a thing is made or deleted.
func isEmpty(v any) bool {
	list, isList := v.([]any)
	return v == nil || v == "" || v == false || (isList && len(list) == 0)
}

func valueText(v any) string {
	if s, ok := v.(string); ok && s != "" && !strings.ContainsAny(s, " ,") {
		return s
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(text)
}
