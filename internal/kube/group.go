package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
)

func parseGroup(obj any) (pai.Group, error) {
	s, err := secretOf(obj)
	if err != nil {
		return pai.Group{}, err
	}
	g := pai.Group{
		Name:         pai.GroupName(s.Data["groupname"]),
		Description:  string(s.Data["description"]),
		ExternalName: string(s.Data["externalName"]),
		Version:      s.ResourceVersion,
	}
	if objectName(g.Name) != s.Name {
		return g, fmt.Errorf("groupname %q does not belong to this Secret", g.Name)
	}
	if err := decode(s.Data["extension"], &g.Extension); err != nil {
		return g, fmt.Errorf("extension: %w", err)
	}
	if g.Extension == nil {
		g.Extension = map[string]any{}
	}
	return g, nil
}

// groupData is the reverse of parseGroup. What else is in the Secret stays.
func groupData(s *corev1.Secret, g pai.Group) error {
	extension, err := encode(g.Extension)
	if err != nil {
		return err
	}
	s.Data["groupname"] = []byte(g.Name)
	s.Data["description"] = []byte(g.Description)
	s.Data["externalName"] = []byte(g.ExternalName)
	s.Data["extension"] = extension
	return nil
}

// Group finds one. NoGroupError.
func (c *Cluster) Group(_ context.Context, name pai.GroupName) (pai.Group, error) {
	g, ok := c.groups.get(objectName(name))
	if !ok {
		return pai.Group{}, noGroup(name)
	}
	return g, nil
}

func noGroup(name pai.GroupName) *pai.Error {
	return pai.Errorf(pai.NoGroupError, "Group %s is not found.", name)
}

// Groups lists every group.
func (c *Cluster) Groups() []pai.Group { return c.groups.all() }

// CreateGroup adds a group. ConflictGroupError when there is one of that name.
func (c *Cluster) CreateGroup(ctx context.Context, g pai.Group) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: GroupNamespace, Name: objectName(g.Name)},
		Data:       map[string][]byte{},
	}
	if err := groupData(s, g); err != nil {
		return fmt.Errorf("create group %s: %w", g.Name, err)
	}
	written, err := c.createSecret(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		return pai.Errorf(pai.ConflictGroupError, "Group %s already exists.", g.Name).Because(err)
	}
	if err != nil {
		return fmt.Errorf("create group %s: %w", g.Name, err)
	}
	c.groups.await(ctx, written.Name, written.ResourceVersion)
	c.record(ctx, pai.AuditCreate, "group", string(g.Name), nil, groupRecord(g))
	return nil
}

// groupRecord is what the audit trail says of a group.
func groupRecord(g pai.Group) map[string]any {
	return map[string]any{"description": g.Description, "externalName": g.ExternalName, "extension": g.Extension}
}

// ChangeGroup applies a change to a group as it is at that moment. See [pai.GroupService] for the errors.
func (c *Cluster) ChangeGroup(ctx context.Context, change pai.GroupChange) (pai.Group, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	before, written, err := c.changeGroupSecret(ctx, change)
	switch {
	case apierrors.IsNotFound(err):
		return pai.Group{}, noGroup(change.Name).Because(err)
	case apierrors.IsConflict(err), errors.Is(err, errNoTurn):
		return pai.Group{}, pai.Errorf(pai.ConflictGroupError, "Group %s is being changed by others: try again.", change.Name).Because(err)
	case err != nil:
		return pai.Group{}, fmt.Errorf("change group %s: %w", change.Name, err)
	}
	c.groups.await(ctx, written.Name, written.ResourceVersion)
	after, err := parseGroup(written)
	if err == nil && after.Version != before.Version {
		c.record(ctx, pai.AuditChange, "group", string(after.Name), groupRecord(before), groupRecord(after))
	}
	return after, err
}

// errNoTurn is the end of a wait for other group writes of this server.
var errNoTurn = errors.New("too many changes at once")

// changeGroupSecret applies a change when it is its turn. A change that changes nothing is not written.
func (c *Cluster) changeGroupSecret(ctx context.Context, change pai.GroupChange) (before pai.Group, written *corev1.Secret, err error) {
	select {
	case c.groupTurn <- struct{}{}:
		defer func() { <-c.groupTurn }()
	case <-ctx.Done():
		return before, nil, errNoTurn
	}
	written, err = c.changeSecret(ctx, GroupNamespace, objectName(change.Name), func(s *corev1.Secret) (bool, error) {
		if before, err = parseGroup(s); err != nil {
			return false, err
		}
		if change.Version != "" && change.Version != s.ResourceVersion {
			return false, pai.Errorf(pai.OutdatedVersionError, "Group %s has changed since: read it again.", change.Name)
		}
		after, err := before.Apply(change)
		if err != nil {
			return false, err
		}
		return !reflect.DeepEqual(before, after), groupData(s, after)
	})
	return before, written, err
}
