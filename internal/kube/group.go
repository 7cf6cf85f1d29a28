package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"golang.org/x/sync/errgroup"
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

// Groups lists every group, sorted by name.
func (c *Cluster) Groups(context.Context) ([]pai.Group, error) { return c.groups.all(), nil }

// GroupsGeneration grows with every change of a group: what was made of groups holds as long as it is the same before and after.
func (c *Cluster) GroupsGeneration() uint64 { return c.groups.generation.Load() }

// CreateGroup adds a group. ConflictGroupError when there is one of that name. Users who are listed as members of an older group of that
// name are so no more: nobody granted them this one.
func (c *Cluster) CreateGroup(ctx context.Context, g pai.Group) (pai.Group, error) {
	if _, exists := c.groups.get(objectName(g.Name)); !exists && g.Name != pai.DefaultGroup { // everybody is a member of that
		if err := c.dropMembers(ctx, g.Name); err != nil {
			return pai.Group{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: GroupNamespace, Name: objectName(g.Name)},
		Data:       map[string][]byte{},
	}
	if err := groupData(s, g); err != nil {
		return pai.Group{}, fmt.Errorf("create group %s: %w", g.Name, err)
	}
	written, err := c.createSecret(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		return pai.Group{}, pai.Errorf(pai.ConflictGroupError, "Group %s already exists.", g.Name).Because(err)
	}
	if err != nil {
		return pai.Group{}, fmt.Errorf("create group %s: %w", g.Name, err)
	}
	c.groups.await(ctx, written.Name, written.ResourceVersion)
	c.record(ctx, pai.AuditCreate, "group", string(g.Name), nil, groupRecord(g))
	return parseGroup(written)
}

// groupRecord is what the audit trail says of a group.
func groupRecord(g pai.Group) map[string]any {
	return map[string]any{"description": g.Description, "externalName": g.ExternalName, "extension": g.Extension}
}

// ChangeGroup applies a change to a group as it is at that moment. See [pai.GroupService] for the errors.
func (c *Cluster) ChangeGroup(ctx context.Context, change pai.GroupChange) (pai.Group, error) {
	after, _, err := c.changeGroup(ctx, change.Name, change.Version, func(g pai.Group) (pai.Group, error) { return g.Apply(change) })
	return after, err
}

// GrantStorage adds a storage to what a group may mount. See [pai.GroupService] for the errors.
func (c *Cluster) GrantStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName) (pai.GrantResult, error) {
	st, err := c.freshStorage(ctx, storage)
	if err != nil {
		return pai.GrantResult{}, err
	}
	g, changed, err := c.changeGroup(ctx, group, "", func(g pai.Group) (pai.Group, error) {
		g, _ = g.Granted(storage)
		return g, nil
	})
	out := pai.GrantResult{Group: g, Changed: changed}
	if !st.Usable() {
		out.Warning = fmt.Sprintf("storage %s cannot be used yet: %s", storage, st.Reason)
	}
	return out, err
}

// RevokeStorage takes a storage from what a group may mount. See [pai.GroupService] for the errors.
func (c *Cluster) RevokeStorage(ctx context.Context, group pai.GroupName, storage pai.StorageName, _ bool) (pai.GrantResult, error) {
	g, changed, err := c.changeGroup(ctx, group, "", func(g pai.Group) (pai.Group, error) {
		g, _ = g.Revoked(storage)
		return g, nil
	})
	if err == nil && !changed {
		_, err = c.Storage(ctx, storage)
	}
	return pai.GrantResult{Group: g, Changed: changed}, err
}

// changeGroup changes a group as it is at that moment; change is asked again when someone else wrote in between, and its errors end it.
// With a version it does so while that is the current one only. A change that changes nothing is not written.
func (c *Cluster) changeGroup(
	ctx context.Context, name pai.GroupName, version string, change func(pai.Group) (pai.Group, error),
) (after pai.Group, changed bool, err error) {
	if _, err := pai.ParseGroupName(string(name)); err != nil {
		return pai.Group{}, false, noGroup(name)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	before, written, err := c.changeGroupSecret(ctx, name, version, change)
	switch {
	case apierrors.IsNotFound(err):
		return pai.Group{}, false, noGroup(name).Because(err)
	case apierrors.IsConflict(err), errors.Is(err, errNoTurn):
		return pai.Group{}, false, pai.Errorf(pai.ConflictGroupError, "Group %s is being changed by others: try again.", name).Because(err)
	case err != nil:
		return pai.Group{}, false, fmt.Errorf("change group %s: %w", name, err)
	}
	c.groups.await(ctx, written.Name, written.ResourceVersion)
	if after, err = parseGroup(written); err != nil {
		return after, false, fmt.Errorf("change group %s: %w", name, err)
	}
	if changed = after.Version != before.Version; changed {
		c.record(ctx, pai.AuditChange, "group", string(name), groupRecord(before), groupRecord(after))
	}
	return after, changed, nil
}

// errNoTurn is the end of a wait for other writes of this server to the same group.
var errNoTurn = errors.New("too many changes at once")

// changeGroupSecret applies a change when it is its turn.
func (c *Cluster) changeGroupSecret(
	ctx context.Context, name pai.GroupName, version string, change func(pai.Group) (pai.Group, error),
) (before pai.Group, written *corev1.Secret, err error) {
	done, err := c.turn(ctx, name)
	if err != nil {
		return before, nil, err
	}
	defer done()
	written, err = c.changeSecret(ctx, GroupNamespace, objectName(name), func(s *corev1.Secret) (bool, error) {
		if before, err = parseGroup(s); err != nil {
			return false, err
		}
		if version != "" && version != s.ResourceVersion {
			return false, pai.Errorf(pai.OutdatedVersionError, "Group %s has changed since: read it again.", name)
		}
		after, err := change(before)
		if err != nil {
			return false, err
		}
		return !reflect.DeepEqual(before, after), groupData(s, after)
	})
	return before, written, err
}

// turn waits until no other write of this server to the group is under way: they go one after the other, so that they conflict with
// other servers' only. The caller ends its turn with done.
func (c *Cluster) turn(ctx context.Context, name pai.GroupName) (done func(), err error) {
	key := objectName(name)
	c.turnsLock.Lock()
	t := c.turns[key]
	if t == nil {
		t = &turns{slot: make(chan struct{}, 1)}
		c.turns[key] = t
	}
	t.waiting++
	c.turnsLock.Unlock()
	leave := func() {
		c.turnsLock.Lock()
		defer c.turnsLock.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(c.turns, key)
		}
	}
	select {
	case t.slot <- struct{}{}:
		return func() { <-t.slot; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, errNoTurn
	}
}

// turns is who writes a group, and how many want to.
type turns struct {
	slot    chan struct{}
	waiting int // those who write included
}

// DeleteGroup removes a group and then takes it off its members' lists. See [pai.GroupService] for the errors.
func (c *Cluster) DeleteGroup(ctx context.Context, name pai.GroupName) error {
	if name == pai.DefaultGroup || name == pai.AdminGroup {
		return pai.Errorf(pai.ForbiddenUserError, "Group %s belongs to every cluster and cannot be deleted.", name)
	}
	if _, err := pai.ParseGroupName(string(name)); err != nil {
		return noGroup(name)
	}
	before, exists := c.groups.get(objectName(name))
	if !exists && len(c.members(name)) == 0 {
		return noGroup(name)
	}
	if exists {
		limited, cancel := context.WithTimeout(ctx, writeTimeout)
		defer cancel()
		err := c.client.CoreV1().Secrets(GroupNamespace).Delete(limited, objectName(name), metav1.DeleteOptions{})
		switch {
		case apierrors.IsNotFound(err) && len(c.members(name)) == 0:
			return noGroup(name).Because(err)
		case err != nil && !apierrors.IsNotFound(err):
			return fmt.Errorf("delete group %s: %w", name, err)
		}
		c.groups.awaitGone(limited, objectName(name), before.Version)
		if err == nil {
			c.record(ctx, pai.AuditDelete, "group", string(name), groupRecord(before), nil)
		}
	}
	return c.dropMembers(ctx, name)
}

// members is the users whose lists name a group, sorted by name.
func (c *Cluster) members(name pai.GroupName) []pai.User {
	var out []pai.User
	for _, u := range c.users.all() {
		if slices.Contains(u.Groups, name) {
			out = append(out, u)
		}
	}
	return out
}

// Members lists the users of a group, sorted by name. NoGroupError.
func (c *Cluster) Members(ctx context.Context, name pai.GroupName) ([]pai.Member, error) {
	if _, err := c.Group(ctx, name); err != nil {
		return nil, err
	}
	members := c.members(name)
	out := make([]pai.Member, len(members))
	for i, u := range members {
		out[i] = pai.Member{Name: u.Name, Admin: pai.GrantsOf(c.GroupsOf(u)).Admin}
	}
	return out, nil
}

// writesAtOnce bounds the load of a change that touches many users.
const writesAtOnce = 16

// dropMembers takes a group off the lists of all users.
func (c *Cluster) dropMembers(ctx context.Context, name pai.GroupName) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, u := range c.members(name) {
		group.Go(func() error {
			_, err := c.ChangeUser(ctx, u.Name, "", func(u pai.User) (pai.User, error) {
				u.Groups = slices.DeleteFunc(slices.Clone(u.Groups), func(g pai.GroupName) bool { return g == name })
				return u, nil
			})
			if pai.CodeOf(err) == pai.NoUserError { // gone, and the membership with it
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("take group %s off its members' lists: %w", name, err)
	}
	return nil
}
