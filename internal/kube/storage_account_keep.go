package kube

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	pai "github.com/pai-storage/pai-storage"
	"github.com/pai-storage/pai-storage/internal/kube/specs"
)

// followAccounts has accounts looked after whenever they, their users, or any group changes.
func (c *Cluster) followAccounts() {
	c.accounts.notify = func(a storageAccount) { c.accountKeeper.touch(objectName(a.User)) }
	c.users.notify = func(u pai.User) { c.accountKeeper.touch(objectName(u.Name)) }
	c.groups.notify = func(pai.Group) { c.accountKeeper.touchAll() }
}

// keepAccount brings what an account says of its user up to date, and removes the account of a user who is no more.
//
// The caches say when there is something to do, and the cluster itself what: the account is read before the user and the groups, so that a
// write is refused when another server wrote in between, and a server whose caches are late does not undo what others did.
func (c *Cluster) keepAccount(ctx context.Context, name string) error {
	a, ok := c.accounts.get(name)
	if !ok {
		return nil
	}
	for _, other := range c.accounts.in(pai.StorageAccountKey(a.User)) {
		if other.olderThan(a) { // both were made at once, at two servers
			c.log.WarnContext(ctx, "an SMB account is removed: another user has one whose name differs in case only", "user", a.User, "other", other.User)
			_, err := c.removeStorageAccount(ctx, a.User)
			return err
		}
	}
	if u, exists := c.users.get(name); exists && c.isAdmin(u) == a.Admin {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := c.changeSecret(ctx, StorageAccountNamespace, name, func(s *corev1.Secret) (bool, error) {
		admin, err := c.isAdminNow(ctx, a.User)
		if err != nil {
			return false, err
		}
		value := strconv.FormatBool(admin)
		if string(s.Data[specs.StorageAccountAdmin]) == value {
			return false, nil
		}
		s.Data[specs.StorageAccountAdmin] = []byte(value)
		c.log.InfoContext(ctx, "an SMB account follows its user", "user", a.User, "administrator", admin)
		return true, nil
	})
	switch {
	case pai.CodeOf(err) == pai.NoUserError:
		c.log.InfoContext(ctx, "an SMB account is removed: its user is no more", "user", a.User)
		_, err = c.removeStorageAccount(ctx, a.User)
	case apierrors.IsNotFound(err): // the account went meanwhile
		return nil
	}
	return err
}

// isAdminNow asks the cluster itself whether a user is an administrator. NoUserError. What cannot be read grants nothing.
func (c *Cluster) isAdminNow(ctx context.Context, name pai.UserName) (bool, error) {
	s, err := c.client.CoreV1().Secrets(UserNamespace).Get(ctx, objectName(name), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, pai.NoUser(name)
	}
	if err != nil {
		return false, fmt.Errorf("read user %s: %w", name, err)
	}
	u, err := parseUser(s)
	if err != nil {
		return false, nil
	}
	var groups []pai.Group
	for _, group := range u.Groups {
		s, err := c.client.CoreV1().Secrets(GroupNamespace).Get(ctx, objectName(group), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("read group %s: %w", group, err)
		}
		if g, err := parseGroup(s); err == nil {
			groups = append(groups, g)
		}
	}
	return pai.GrantsOf(groups).Admin, nil
}

// dropOrphanAccount removes the account of a name that nobody has. It would be that of whoever gets the name.
func (c *Cluster) dropOrphanAccount(ctx context.Context, name pai.UserName) error {
	if _, exists := c.accounts.get(objectName(name)); !exists {
		return nil
	}
	_, err := c.isAdminNow(ctx, name)
	if pai.CodeOf(err) != pai.NoUserError { // somebody has it, and creating will fail
		return err
	}
	_, err = c.removeStorageAccount(ctx, name)
	return err
}
