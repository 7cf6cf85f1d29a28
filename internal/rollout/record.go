package rollout

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/auditlog"
	"github.com/pai-storage/pai-storage/internal/clusterconfig"
)

// Kinds of things in the audit trail that this package changes.
const (
	kindConfiguration = "configuration"
	kindService       = "service"
	kindNode          = "node"
)

// recordLimit bounds the writing of an entry.
const recordLimit = 20 * time.Second

// deed is one thing that was done with a kubeconfig.
type deed struct {
	action        pai.AuditAction
	kind, name    string
	before, after any // as of [auditlog.Difference]
}

// record puts what was done into the cluster's audit trail. The deed stands whether or not that succeeds; [Services.Warn] is told when it does not.
func (s *Services) record(ctx context.Context, deeds ...deed) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordLimit) // whoever gives up waiting has done it nevertheless
	defer cancel()
	who := s.whoAmI(ctx)
	var entries []pai.AuditEntry
	for _, d := range deeds {
		now := time.Now().UTC()
		e := pai.AuditEntry{ID: auditlog.ID(now), Time: now, User: who, Action: d.action, Kind: d.kind, Name: d.name}
		var err error
		if e.Before, e.After, err = auditlog.Difference(d.before, d.after); err != nil {
			s.Warn(err.Error())
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return
	}
	if err := auditlog.Append(ctx, s.client, systemNamespace, entries...); err != nil {
		s.Warn("the audit trail does not have this: " + err.Error())
	}
}

// whoAmI is the name that Kubernetes knows the holder of the kubeconfig by. It says so: a user of the REST API may have the same name.
func (s *Services) whoAmI(ctx context.Context) pai.UserName {
	const prefix = "kubernetes:"
	review, err := s.client.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || review.Status.UserInfo.Username == "" {
		return prefix + "(unknown)"
	}
	return pai.UserName(prefix + review.Status.UserInfo.Username)
}

// did is a command on a service, with how it ended.
func did(command, service string, err error) deed {
	after := map[string]any{"command": command}
	if err != nil {
		after["failed"] = err.Error()
	}
	d := deed{action: pai.AuditChange, kind: kindService, name: service, after: after}
	if command == "delete" && err == nil {
		d.action, d.before, d.after = pai.AuditDelete, map[string]any{"command": command}, nil
	}
	return d
}

// pushed is what a push changed, a deed for each file: the lines that went and that came, and where, without passwords.
func pushed(old map[string][]byte, revision string, changed map[string][]byte) []deed {
	var deeds []deed
	for _, name := range unionNames(old, changed) {
		before, had := old[name]
		after, has := changed[name]
		if had && has && bytes.Equal(before, after) {
			continue
		}
		difference := Diff("was", map[string][]byte{name: before}, "is", map[string][]byte{name: after})
		d := deed{action: pai.AuditChange, kind: kindConfiguration, name: name}
		switch {
		case !had:
			d.action, d.after = pai.AuditCreate, map[string]any{"revision": revision, "lines": linesOf(difference, "+")}
		case !has:
			d.action, d.before = pai.AuditDelete, map[string]any{"lines": linesOf(difference, "-")}
		default:
			// What moved to another place went and came: only the context says where.
			d.before = map[string]any{"lines": linesOf(difference, "-")}
			d.after = map[string]any{"revision": revision, "lines": linesOf(difference, "+"), "unified": difference}
		}
		deeds = append(deeds, d)
	}
	return deeds
}

// pushedOver is pushed where the passwords of what was there are lost: all of them count as changed. Where not even the rest can be read, one deed says
// so.
func (s *Services) pushedOver(ctx context.Context, revision string, changed map[string][]byte) []deed {
	m, err := s.client.CoreV1().ConfigMaps(configurationNamespace).Get(ctx, configurationName, metav1.GetOptions{})
	if err != nil && !absent(err) {
		return []deed{{action: pai.AuditChange, kind: kindConfiguration, name: configurationName, after: map[string]any{
			"revision": revision, "files": unionNames(nil, changed), "unknown": "what was there before is not known"}}}
	}
	old := map[string][]byte{}
	if err == nil {
		for name, public := range m.Data {
			lost := slices.Repeat([]string{"(lost)"}, clusterconfig.Placeholders([]byte(public)))
			old[name] = clusterconfig.Join([]byte(public), lost)
		}
	}
	return pushed(old, revision, changed)
}

// linesOf are the lines of a unified diff that have a sign, without it. The two lines with the files' names are none of them.
func linesOf(difference, sign string) []string {
	list := []string{}
	inside := false
	for line := range strings.Lines(difference) {
		inside = inside || strings.HasPrefix(line, "@@")
		if text, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), sign); ok && inside {
			list = append(list, text)
		}
	}
	return list
}

// unionNames are the names of both, sorted.
func unionNames(a, b map[string][]byte) []string {
	var names []string
	for _, files := range []map[string][]byte{a, b} {
		for name := range files {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// prepared is that commands ran on a worker as root.
func prepared(p Preparation, err error) deed {
	after := map[string]any{"command": "prepare", "ran": p.Commands}
	if err != nil {
		after["failed"] = fmt.Sprint(err)
	}
	return deed{action: pai.AuditChange, kind: kindNode, name: p.Node, after: after}
}
